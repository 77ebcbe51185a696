"""The gated engine's core: sequencer, walkers, lanes, ports and memories around one pipeline.

Units take an instruction's fields in its own cycle, out of the program memory. An address that a walker gives in cycle b is
read in b, its word is there in b + 1, is an operand of the multipliers in b + 2, their product is there in b + 3, and the sum in
b + 4. Nothing in the core waits for anything: the compiler starts every instruction at a cycle in which all it needs is free and
all it reads is written.
"""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from neuroloom.compiler.gated.core import PROGRAM_COLUMN, GatedConfig
from neuroloom.compiler.gated.isa import WORD_BITS, Op, Source

from .fields import Fields
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
        m.d.comb += [
            seq.begin.eq(self.begin),
            seq.entry.eq(self.entry),
            self.running.eq(seq.running),
            self.cycles.eq(seq.cycles),
            seq.busy.eq(streams.busy),
            seq.w_addr.eq(self.load_addr),
            seq.w_data.eq(self.load_data),
        ]
        with m.If(self.load[0]):
            m.d.comb += seq.write.eq(Const(1, WORD_BITS // PROGRAM_COLUMN) << self.load_column[:3])
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
        element = self._read(m, seq, sums, terms, pick, streams, weights, vectors, lanes, low)
        m.d.comb += [seq.element.eq(element), pick.element.eq(element), streams.element.eq(element)]
        m.d.comb += self.peeked.eq(element)
        sum_row = self._sums(m, terms, lanes)
        self._emit(m, seq, terms, lanes, pick, ports, sum_row, low)

        # one write port: ports, IN and the loader never write at once
        word = self.load_data[: c.word]
        with m.If(ports.w_en.any()):
            m.d.comb += [
                vectors.w_en.eq(ports.w_en),
                vectors.w_addr.eq(ports.w_addr >> low),
                vectors.w_data.eq(ports.w_data),
            ]
        with m.Else():
            address = Mux(streams.write, streams.w_addr, self.load_addr)
            hot = Const(1, c.ports) << address[:low] if low else Const(1, 1)
            m.d.comb += [
                vectors.w_en.eq(Mux(streams.write | self.load[3], hot, 0)),
                vectors.w_addr.eq(address >> low),
                vectors.w_data.eq(Mux(streams.write, streams.w_data, word).replicate(c.ports)),
            ]
        m.d.comb += [ports.load.eq(self.load[2]), ports.load_addr.eq(self.load_addr), ports.load_data.eq(word)]
        return m

    def _read(
        self,
        m: Module,
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
        """Memories to operands; returns the element that was read, one cycle after its address."""
        c = self.config
        # BR and LDO ask with their word, which stays until they are done
        other = Mux(
            self.running, Mux(streams.busy, streams.read, Mux(pick.valid, pick.x, seq.address0)), self.load_addr
        )
        address_a = Mux(terms.valid, terms.a, Mux(sums.valid, sums.x, other) if c.shared else other)
        m.d.comb += [
            vectors.addr0.eq(address_a >> low),
            vectors.addr1.eq(terms.b >> low),
            weights.addr.eq(Mux(self.running, sums.w, self.load_addr)),
            weights.data.eq(self.load_data),
        ]
        with m.If(self.load[1]):
            m.d.comb += weights.write.eq(Const(1, c.columns) << self.load_column)
        if not c.shared:
            m.d.comb += vectors.addr2.eq(sums.x >> low)

        names = ("valid", "a_bcast", "b_bcast", "first", "emit", "final", "fresh", "negate", "lift")
        self._flags = {name: Signal(name=f"term_{name}", reset_less=name != "valid") for name in names}
        for name, signal in self._flags.items():
            m.d.sync += signal.eq(getattr(terms, name))
        at_a, at_b, at_x = (Signal(max(low, 1), name=f"at_{n}", reset_less=True) for n in "abx")
        mac_valid, first, capture, same = Signal(), Signal(), Signal(), Signal()
        m.d.sync += [
            at_a.eq(address_a[:low]),
            at_b.eq(terms.b[:low]),
            at_x.eq(sums.x[:low]),
            mac_valid.eq(sums.valid),
            first.eq(sums.first),
            capture.eq(sums.capture),
            same.eq(sums.same),
        ]

        def pick_word(row: Value, at: Signal) -> Value:
            return row.word_select(at[:low], c.word) if low else row[: c.word]

        one_a, one_b = pick_word(vectors.row0, at_a), pick_word(vectors.row1, at_b)
        row_x = vectors.row0 if c.shared else vectors.row2
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
        element = Signal(signed(c.word))
        m.d.comb += element.eq(one_a)
        m.d.comb += [
            lanes.go.eq(mac_valid),
            lanes.first.eq(first),
            lanes.capture.eq(capture),
            lanes.x.eq(Cat(*xs)),
            lanes.w.eq(weights.row),
            lanes.vec.eq(self._flags["valid"]),
            lanes.a.eq(Mux(self._flags["a_bcast"], one_a.replicate(c.ports), vectors.row0)),
            lanes.b.eq(Mux(self._flags["b_bcast"], one_b.replicate(c.ports), vectors.row1)),
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

        def send(how: dict[str, Signal], mask: Value) -> None:
            out = ports.how
            for key in ("shift", "rounding", "wrap", "width", "signed", "table", "tbase"):
                m.d.comb += getattr(out, key).eq(how[key])
            m.d.comb += [out.addr.eq(how["d_addr"]), out.mask.eq(mask)]

        hold = Cat(_extend(lanes.row.word_select(port, lanes.row_bits), c.wide) for port in range(c.ports))
        with m.If(draining):
            m.d.comb += ports.valid.eq(shown < drain["rows"])
            send(drain, masked(drain, shown == drain["rows"] - 1))
            with m.Switch(source):
                with m.Case(Source.VALUE):
                    m.d.comb += ports.values.eq(pick.value.replicate(c.ports))
                with m.Case(Source.INDEX):
                    m.d.comb += ports.values.eq(_extend(Cat(pick.index, Const(0, 1)), c.wide).replicate(c.ports))
                with m.Default():
                    m.d.comb += ports.values.eq(hold)
        with m.Else():
            m.d.comb += [ports.valid.eq(emits), ports.values.eq(sum_row)]
            send(vec, masked(vec, final))


def _extend(value: Value, width: int) -> Value:
    """Two's complement bits of ``value`` at ``width`` bits; what is above is cut."""
    value = value.as_signed()
    if len(value) >= width:
        return value[:width]
    return Cat(value, value[-1].replicate(width - len(value)))
