"""The gated engine's core: sequencer, walkers, lanes, ports and memories around one pipeline.

Units take an instruction's fields in its own cycle, out of the program memory. An address that a walker gives in cycle b is
read in b, its word is there in b + 1, is an operand of the multipliers in b + 2, their product is there in b + 3, and the sum in
b + 4. Nothing in the core waits for anything: the compiler starts every instruction at a cycle in which all it needs is free and
all it reads is written.
"""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from neuroloom.compiler.gated.core import PROGRAM_COLUMN, GatedConfig
from neuroloom.compiler.gated.isa import WORD_BITS, Op, Source

from .changes import ChangeWalker, Finder, list_memory, spread
from .fields import Fields
from .handed import Load, Stored, delayed
from .lanes import Lanes
from .memories import Vectors, Weights
from .pick import Pick
from .port import Ports
from .sequencer import Sequencer
from .serial_streams import SerialStreamUnit
from .streams import StreamUnit
from .walkers import SumWalker, TermWalker


class GatedCore(wiring.Component):
    """Runs programs.

    Latency is the program's: the compiler says it to the cycle. One sample at a time.

    Members
    -------
    begin, entry : In(1), run the program from word 0 or 1; only while not ``running``
    running : Out(1)
    cycles : Out(32), cycles of the run without those of the streams
    i, o : streams of bytes, samples and answers packed as :mod:`neuroloom.compiler.wire` says
    load : In(4), writes a column of a program word or of a row of weights, a word of the tables, of the vectors (one bit each); not
        while running
    load_addr : In(16), load_column : In(8), load_data : In(config.load_bits)
    peek : In(1), while not running: ``peeked`` has the element of ``load_addr`` one cycle later
    """

    def __init__(self, config: GatedConfig) -> None:
        self.config = config
        super().__init__(
            {
                "begin": In(1),
                "entry": In(1),
                "running": Out(1),
                "cycles": Out(32),
                "i": In(stream.Signature(8)),
                "o": Out(stream.Signature(8)),
                "load": In(4),
                "load_addr": In(16),
                "load_column": In(8),
                "load_data": In(config.load_bits),
                "peek": In(1),
                "peeked": Out(config.word),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        c = self.config
        m.submodules.sequencer = seq = Sequencer(c)
        m.submodules.sums = sums = SumWalker(c)
        m.submodules.terms = terms = TermWalker(c)
        m.submodules.pick = pick = Pick(c)
        m.submodules.streams = streams = SerialStreamUnit(c) if c.serial else StreamUnit(c)
        m.submodules.lanes = lanes = Lanes(c)
        m.submodules.ports = ports = Ports(c)
        m.submodules.weights = weights = Weights(c)
        m.submodules.vectors = vectors = Vectors(c, 2 if c.shared else 3)
        self._changes = self._delta(m, seq) if c.changes else None
        load = self._loader(m)
        m.d.comb += [
            seq.begin.eq(self.begin),
            seq.entry.eq(self.entry),
            self.running.eq(seq.running),
            self.cycles.eq(seq.cycles),
            seq.busy.eq(streams.busy),
            seq.w_addr.eq(load.addr),
            seq.w_data.eq(load.data),
        ]
        with m.If(load.on[0]):
            m.d.comb += seq.write.eq(Const(1, WORD_BITS // PROGRAM_COLUMN) << load.column[:3])
        for unit in (sums, terms, pick, streams):
            m.d.comb += unit.word.eq(seq.word)
        m.d.comb += [
            sums.start.eq(seq.started[Op.MAC]),
            sums.x_addr.eq(seq.address0),
            sums.w_addr.eq(seq.address1),
            terms.load.eq(seq.started[Op.TERM]),
            terms.start.eq(seq.started[Op.VEC]),
            terms.a_addr.eq(seq.address0),
            terms.b_addr.eq(seq.address1),
            pick.start.eq(seq.started[Op.PICK]),
            pick.x_addr.eq(seq.address0),
            streams.start_in.eq(seq.started[Op.IN]),
            streams.start_out.eq(seq.started[Op.OUT]),
            streams.addr.eq(seq.address0),
        ]
        wiring.connect(m, wiring.flipped(self.i), streams.i)
        wiring.connect(m, streams.o, wiring.flipped(self.o))

        low = (c.ports - 1).bit_length()
        element = self._read(m, load, seq, sums, terms, pick, streams, weights, vectors, lanes, low)
        m.d.comb += [seq.element.eq(element), pick.element.eq(element), streams.element.eq(element)]
        m.d.comb += self.peeked.eq(element)
        sum_row = self._sums(m, terms, lanes)
        self._emit(m, seq, terms, lanes, pick, ports, sum_row, low)

        # one write port: ports, IN and the loader never write at once
        word = load.data[: c.word]
        stored = Stored(streams.write, streams.w_addr, streams.w_data)
        if c.deep:  # whether a field is whole is known late in a cycle; what follows an IN reads much later
            stored = delayed(m, "stored", stored)
        address = Mux(stored.write, stored.addr, load.addr)
        hot = Const(1, c.ports) << address[:low] if low else Const(1, 1)
        enable = Mux(stored.write | load.on[3], hot, 0)
        data = Mux(stored.write, stored.data, word)
        written = [
            vectors.w_en.eq(ports.w_en),
            vectors.w_addr.eq(ports.w_addr >> low),
            vectors.w_data.eq(ports.w_data),
        ]
        if c.deep:
            m.d.comb += written
            m.d.sync += [
                ports.other_en.eq(enable),
                ports.other_addr.eq(address),
                ports.other_data.eq(data),
            ]
        else:
            with m.If(ports.w_en.any()):
                m.d.comb += written
            with m.Else():
                m.d.comb += [
                    vectors.w_en.eq(enable),
                    vectors.w_addr.eq(address >> low),
                    vectors.w_data.eq(data.replicate(c.ports)),
                ]
        m.d.comb += [ports.load.eq(load.on[2]), ports.load_addr.eq(load.addr), ports.load_data.eq(word)]
        return m

    def _delta(self, m: Module, seq: Sequencer) -> tuple[Finder, ChangeWalker]:
        """What delta layers need: changes are found, listed, and walked through."""
        m.submodules.finder = finder = Finder(self.config)
        m.submodules.changes = walker = ChangeWalker(self.config)
        list_memory(m, finder, walker, self.config.changes)
        m.d.comb += [
            finder.word.eq(seq.word),
            finder.start.eq(seq.started[Op.DELTA]),
            finder.a_addr.eq(seq.address0),
            finder.b_addr.eq(seq.address1),
            walker.word.eq(seq.word),
            walker.start.eq(seq.started[Op.CMAC]),
            walker.entry.eq(seq.address0),
            walker.w_addr.eq(seq.address1),
            walker.counts.eq(finder.counts),
            seq.left.eq(walker.left),
        ]
        return finder, walker

    def _loader(self, m: Module) -> Load:
        """What is loaded; in a deep engine a cycle later."""
        given = Load(self.load, self.load_addr, self.load_column, self.load_data)
        if not self.config.deep:
            return given
        return delayed(m, "loader", given)

    def _read(
        self,
        m: Module,
        load: Load,
        seq: Sequencer,
        sums: SumWalker,
        terms: TermWalker,
        pick: Pick,
        streams: StreamUnit | SerialStreamUnit,
        weights: Weights,
        vectors: Vectors,
        lanes: Lanes,
        low: int,
    ) -> Signal:
        """Memories to operands; returns the element that was read, one cycle after its address.

        In a deep engine there is a register before the memory, one behind it, and one for the element: four cycles.
        """
        c = self.config

        def behind(names: list[str], values: list[Any], prefix: str = "", holds: str = "") -> list[Any]:
            """The values a cycle later; ``holds`` is what a reset clears."""
            later = [Signal.like(v, name=prefix + n, reset_less=n != holds) for n, v in zip(names, values, strict=True)]
            m.d.sync += [signal.eq(value) for signal, value in zip(later, values, strict=True)]
            return later

        # BR and LDO ask with their word, which stays until they are done
        other = Mux(self.running, Mux(streams.busy, streams.read, Mux(pick.valid, pick.x, seq.address0)), load.addr)
        address_a = Mux(terms.valid, terms.a, Mux(sums.valid, sums.x, other) if c.shared else other)
        addresses = [address_a, terms.b, sums.x]
        w_addr: Value = sums.w
        names = ["valid", "a_bcast", "b_bcast", "first", "emit", "final", "fresh", "negate", "lift"]
        term = [getattr(terms, name) for name in names]
        mac_names = ["mac_valid", "first", "capture", "same"]
        mac = [sums.valid, sums.first, sums.capture, sums.same]
        found_names, found = ["found", "found_left", "found_at"], []
        if self._changes:
            finder, walker = self._changes
            addresses[:2] = [Mux(finder.valid, new, old) for new, old in ((finder.a, address_a), (finder.b, terms.b))]
            found = [finder.valid, finder.left, finder.b]
            w_addr = Mux(walker.valid, walker.w, w_addr)
            mac_names += ["listed", "by", "load", "bank"]
            mac = [
                Mux(walker.valid, new, old) for new, old in zip((1, walker.first, walker.capture, 0), mac, strict=True)
            ]
            mac += [walker.valid, walker.by, walker.load, walker.bank]
        m.d.comb += [
            weights.addr.eq(Mux(self.running, w_addr, load.addr)),
            weights.data.eq(load.data),
        ]
        with m.If(load.on[1]):
            m.d.comb += weights.write.eq(Const(1, c.columns) << load.column)
        if c.deep:
            addresses = behind(["address_a", "address_b", "address_x"], addresses)
            term = behind(names, term, "before_term_", "valid")
            mac = behind(mac_names, mac, "before_", "mac_valid")
            found = behind(found_names[: len(found)], found, "before_", "found")
        address_a, address_b, address_x = addresses
        m.d.comb += [vectors.addr0.eq(address_a >> low), vectors.addr1.eq(address_b >> low)]
        if not c.shared:
            m.d.comb += vectors.addr2.eq(address_x >> low)
        term = behind(names, term, "term_", "valid")
        mac = behind(mac_names, mac, "", "mac_valid")
        found = behind(found_names[: len(found)], found, "", "found")
        at = behind(["at_a", "at_b", "at_x"], [a[: max(low, 1)] for a in addresses])
        rows = [vectors.row0, vectors.row1, vectors.row0 if c.shared else vectors.row2]
        if c.deep:
            rows = behind(["row_a", "row_b", "row_x"], rows)
            at = behind(["row_at_a", "row_at_b", "row_at_x"], at)
            term = behind(names, term, "row_term_", "valid")
            mac = behind(mac_names, mac, "row_", "mac_valid")
            found = behind(found_names[: len(found)], found, "row_", "found")
        (row_a, row_b, row_x), (at_a, at_b, at_x) = rows, at
        same = mac[3]

        def pick_word(row: Value, at: Signal) -> Value:
            return row.word_select(at[:low], c.word) if low else row[: c.word]

        one_a, one_b = pick_word(row_a, at_a), pick_word(row_b, at_b)
        at_x = at_a if c.shared else at_x
        step = (c.groups - 1).bit_length()
        xs = []
        for group in range(c.groups):
            if step:
                apart = Cat(
                    (Const(group, step) & ~same.replicate(step)) | (at_x[:step] & same.replicate(step)), at_x[step:low]
                )
                xs.append(row_x.word_select(apart[:low], c.word))
            else:
                xs.append(pick_word(row_x, at_x))
        tuples = [
            row.word_select(at[step:low], c.groups * c.word) if low > step else row
            for row, at in ((row_a, at_a), (row_b, at_b))
        ]
        if c.deep:
            term = behind(names, term, "operand_term_", "valid")
            mac = behind(mac_names, mac, "operand_", "mac_valid")
            one_a, one_b, row_a, row_b = behind(["one_a", "one_b", "all_a", "all_b"], [one_a, one_b, row_a, row_b])
            xs = behind([f"x{group}" for group in range(c.groups)], xs)
            if found:
                found = behind(found_names, found, "operand_", "found")
                tuples = behind(["new", "old"], tuples)
        if self._changes:
            finder = self._changes[0]
            m.d.comb += [finder.row.eq(found[0]), finder.row_left.eq(found[1]), finder.at.eq(found[2])]
            m.d.comb += [finder.x.eq(tuples[0]), finder.old.eq(tuples[1])]
            m.d.comb += [lanes.keep.eq(mac[4]), lanes.load.eq(mac[6]), lanes.bank.eq(mac[7])]
            xs = [Mux(mac[4], mac[5], Cat(*xs))]
        self._flags = dict(zip(names, term, strict=True))
        element = Signal(signed(c.word))
        m.d.comb += element.eq(one_a)
        m.d.comb += [
            lanes.go.eq(mac[0]),
            lanes.first.eq(mac[1]),
            lanes.capture.eq(mac[2]),
            lanes.x.eq(Cat(*xs)),
            lanes.w.eq(weights.row),
            lanes.vec.eq(self._flags["valid"]),
            lanes.a.eq(Mux(self._flags["a_bcast"], one_a.replicate(c.ports), row_a)),
            lanes.b.eq(Mux(self._flags["b_bcast"], one_b.replicate(c.ports), row_b)),
        ]
        return element

    def _sums(self, m: Module, terms: TermWalker, lanes: Lanes) -> Value:
        """The element-wise sums of a row; the flags come to the stage of the product."""
        c = self.config
        for _ in range(2):
            later = {name: Signal.like(signal, name=f"{signal.name}_") for name, signal in self._flags.items()}
            for name, signal in later.items():
                m.d.sync += signal.eq(self._flags[name])
            self._flags = later
        flags = self._flags
        row = []
        for port in range(c.ports):
            product = lanes.products.word_select(port, 2 * c.word).as_signed()
            total = Signal(signed(c.wide), name=f"sum{port}", reset_less=True)
            base = Mux(flags["first"], 0, Mux(flags["lift"], total << c.digit, total)).as_signed()
            with m.If(flags["valid"]):
                m.d.sync += total.eq(Mux(flags["negate"], base - product, base + product))
            row.append(total)
        return Cat(*row)

    def _emit(
        self,
        m: Module,
        seq: Sequencer,
        terms: TermWalker,
        lanes: Lanes,
        pick: Pick,
        ports: Ports,
        sum_row: Value,
        low: int,
    ) -> None:
        """Rows to the ports: from a VEC as its sums end, or from a DRAIN."""
        c = self.config
        keep = ("d_rs", "shift", "rounding", "wrap", "width", "signed", "table", "tbase", "tail", "element", "rows")

        def registers(name: str, op: Op) -> dict[str, Signal]:
            fields = Fields(seq.word, op)
            shapes = {key: getattr(fields, key).shape() for key in keep} | {"d_rs": signed(min(12, c.vector_bits))}
            return {key: Signal(shape, name=f"{name}_{key}", reset_less=True) for key, shape in shapes.items()} | {
                "d_addr": Signal(c.vector_bits, name=f"{name}_d_addr", reset_less=True)
            }

        def take(into: dict[str, Signal], op: Op) -> None:
            fields = Fields(seq.word, op)
            m.d.sync += [into[key].eq(getattr(fields, key)) for key in keep]
            m.d.sync += into["d_addr"].eq(seq.address0)

        waiting, vec, drain = (registers(name, Op.VEC) for name in ("waiting", "vec", "drain"))
        flags = self._flags
        emits, final = Signal(), Signal(reset_less=True)
        m.d.sync += [emits.eq(flags["emit"] & flags["valid"]), final.eq(flags["final"])]
        with m.If(seq.started[Op.VEC]):
            take(waiting, Op.VEC)
        with m.If(emits):
            m.d.sync += vec["d_addr"].eq(vec["d_addr"] + vec["d_rs"])
        with m.If(flags["fresh"] & flags["valid"]):
            m.d.sync += [vec[key].eq(waiting[key]) for key in vec]

        draining, shown, turns = Signal(), Signal(12, reset_less=True), Signal(range(c.per_group // c.ports + 1))
        source = Signal(2, reset_less=True)
        with m.If(draining):
            m.d.sync += [drain["d_addr"].eq(drain["d_addr"] + drain["d_rs"]), shown.eq(shown + 1), turns.eq(turns - 1)]
            with m.If(turns == 1):
                m.d.sync += draining.eq(0)
        with m.If(seq.started[Op.DRAIN]):
            take(drain, Op.DRAIN)
            f = Fields(seq.word, Op.DRAIN)
            m.d.sync += [draining.eq(1), shown.eq(0), source.eq(f.source)]
            m.d.sync += turns.eq(
                Mux(f.source == Source.HOLD, c.per_group // c.ports, Mux(f.source == Source.LAST, f.rows, 1))
            )
        m.d.comb += lanes.rotate.eq(draining & ((source == Source.HOLD) | (source == Source.LAST)))

        def masked(how: dict[str, Signal], last: Value) -> Value:
            if not low:
                return Const(1, 1)
            tail = Cat(Const(place, 5) < how["tail"] for place in range(c.ports))
            hot = Const(1, c.ports) << how["d_addr"][:low]
            return Mux(how["element"], hot, Mux(last, tail, ~Const(0, c.ports)))[: c.ports]

        def send(how: dict[str, Signal], mask: Value, out: Any, domain: Any) -> None:
            for key in ("shift", "rounding", "wrap", "width", "signed", "table", "tbase"):
                domain += getattr(out, key).eq(how[key])
            domain += [out.addr.eq(how["d_addr"]), out.mask.eq(mask)]

        hold = Cat(_extend(lanes.row.word_select(port, lanes.row_bits), c.wide) for port in range(c.ports))
        shows, last = shown < drain["rows"], shown == drain["rows"] - 1
        if c.deep:  # the turn of the row of sums reaches the lanes a cycle later
            how = Signal(ports.how.shape(), name="drain_how", reset_less=True)
            send(drain, masked(drain, last), how, m.d.sync)
            drains, shows_now, from_now = Signal(), Signal(reset_less=True), Signal.like(source)
            m.d.sync += [drains.eq(draining), shows_now.eq(shows), from_now.eq(source)]
            draining, shows, source = drains, shows_now, from_now
        with m.If(draining):
            m.d.comb += ports.valid.eq(shows)
            if c.deep:
                m.d.comb += ports.how.eq(how)
            else:
                send(drain, masked(drain, last), ports.how, m.d.comb)
            with m.Switch(source):
                with m.Case(Source.VALUE):
                    m.d.comb += ports.values.eq(pick.value.replicate(c.ports))
                with m.Case(Source.INDEX):
                    m.d.comb += ports.values.eq(_extend(Cat(pick.index, Const(0, 1)), c.wide).replicate(c.ports))
                with m.Default():
                    m.d.comb += ports.values.eq(hold)
        if self._changes:
            finder = self._changes[0]
            with m.Elif(finder.changed):
                self._keep_changed(m, finder, ports, low)
        with m.Else():
            m.d.comb += [ports.valid.eq(emits), ports.values.eq(sum_row)]
            send(vec, masked(vec, final), ports.how, m.d.comb)

    def _keep_changed(self, m: Module, finder: Finder, ports: Ports, low: int) -> None:
        """New elements where the old ones were, as they are."""
        c = self.config
        values = [_extend(finder.values.word_select(port % c.groups, c.word), c.wide) for port in range(c.ports)]
        m.d.comb += [
            ports.valid.eq(1),
            ports.values.eq(Cat(*values)),
            ports.how.wrap.eq(1),
            ports.how.width.eq(c.word),
            ports.how.signed.eq(1),
            ports.how.addr.eq(finder.d_addr),
            ports.how.mask.eq(spread(finder.mask, finder.d_addr, c.ports, c.groups)),
        ]


def _extend(value: Value, width: int) -> Value:
    """Two's complement bits of ``value`` at ``width`` bits; what is above is cut."""
    value = value.as_signed()
    if len(value) >= width:
        return value[:width]
    return Cat(value, value[-1].replicate(width - len(value)))
