"""The multiply-accumulate lanes and the row in which their sums wait to be drained."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from neuroloom.compiler.gated.core import GatedConfig
from neuroloom.rtl.copies import Copies
from neuroloom.rtl.spiking.memories import Ram

from .product import FACTOR_BITS, Product

NEAR = 8
"""Lanes of a group whose element and flags come out of one register, in a deep engine."""


class Lanes(wiring.Component):
    """``lanes`` accumulators: each adds input element times weight in a cycle of ``go``.

    Operands given in one cycle are multiplied in the next and added in the one after. ``capture`` with the last operands of
    a sum copies all sums into the hold row one cycle later still, from where they are taken ``ports`` at a time. A deep engine
    has a register for every few lanes where one would have to reach them all, also for ``rotate``, which counts a cycle later.

    Members
    -------
    go, first, capture : In(1), operands of a sum are there; the sum begins; it ends
    x : In(groups * word), the element of each group
    w : In(lanes * weight), a weight per lane
    vec : In(1), the first ``ports`` multipliers take ``a`` and ``b`` instead (with shared multipliers never with ``go``)
    a, b : In(ports * word)
    products : Out(ports * 2 * word), of a and b, two cycles later
    rotate : In(1), go on to the next ``ports`` sums of every group; after all of a group the first come again
    row : Out(ports * (acc + log2(groups))), the sums of the first ``ports`` lanes of all groups
    load, keep, bank : In, where sums stay in banks: with ``load`` a sum that begins goes on from that bank's; with ``keep`` a
        captured sum is kept in it
    """

    def __init__(self, config: GatedConfig) -> None:
        self._config = config
        self.row_bits = config.acc + (config.groups - 1).bit_length()
        super().__init__(
            {
                "go": In(1),
                "first": In(1),
                "capture": In(1),
                "x": In(config.groups * config.word),
                "w": In(config.lanes * config.weight),
                "vec": In(1),
                "a": In(config.ports * config.word),
                "b": In(config.ports * config.word),
                "products": Out(config.ports * 2 * config.word),
                "rotate": In(1),
                "row": Out(config.ports * self.row_bits),
                **(
                    {"load": In(1), "keep": In(1), "bank": In(max((config.banks - 1).bit_length(), 1))}
                    if config.banks
                    else {}
                ),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        c = self._config
        xs, flags = self._broadcast(m)

        def product(name: str, x: object, y: object, width: int) -> Signal:
            """x * y, two cycles after they are given."""
            left = Signal(signed(c.word), name=f"x_{name}", reset_less=c.deep)
            right = Signal(signed(width), name=f"y_{name}", reset_less=c.deep)
            m.d.sync += [left.eq(x), right.eq(y)]
            return times(name, left, right, f"p_{name}")

        def times(name: str, x: Value, y: Signal, register: str) -> Signal:
            """x * y, in the cycle after they are there."""
            own = c.deep and max(len(x), len(y)) <= FACTOR_BITS
            result = Signal(signed(len(x) + len(y)), name=f"p_{name}" if own else register, reset_less=True)
            if own:
                m.submodules[f"product_{name}"] = unit = Product(len(x), len(y))
                m.d.comb += [unit.a.eq(x), unit.b.eq(y), result.eq(unit.p)]
            else:
                m.d.sync += result.eq(x * y)
            return result

        starts, accs = self._banks(m) if c.banks else ([Const(0)] * c.lanes, [])
        holds: list[Signal] = []
        products: list[Signal] = []
        for lane in range(c.lanes):
            group = lane // c.per_group
            goes, begins, captured, _ = flags[lane]
            weight = self.w.word_select(lane, c.weight).as_signed()
            if c.shared and lane < c.ports:
                a, b = (s.word_select(lane, c.word).as_signed() for s in (self.a, self.b))
                x = self.x.word_select(group, c.word).as_signed()
                part = product(f"lane{lane}", Mux(self.vec, a, x), Mux(self.vec, b, weight), c.word)
                products.append(part)
            else:
                y = Signal(signed(c.weight), name=f"w{lane}", reset_less=True)
                m.d.sync += y.eq(weight)
                part = times(str(lane), xs[lane], y, f"p{lane}")
            acc = Signal(signed(c.acc), name=f"acc{lane}", reset_less=True)
            hold = Signal(signed(c.acc), name=f"hold{lane}", reset_less=True)
            with m.If(goes):
                m.d.sync += acc.eq(Mux(begins, starts[lane], acc) + part)
            if c.banks:
                m.d.comb += accs[lane].eq(acc)
            holds.append(hold)
            with m.If(captured):
                m.d.sync += hold.eq(acc)
        if not c.shared:
            for port in range(c.ports):
                a, b = (s.word_select(port, c.word).as_signed() for s in (self.a, self.b))
                products.append(product(f"port{port}", a, b, c.word))
        m.d.comb += self.products.eq(Cat(*products))
        for lane, hold in enumerate(holds):
            base = lane - lane % c.per_group
            _, _, captured, rotate = flags[lane]
            with m.If(rotate & ~captured):
                m.d.sync += hold.eq(holds[base + (lane - base + c.ports) % c.per_group])
        rows = []
        for port in range(c.ports):
            total = Signal(signed(self.row_bits), name=f"row{port}")
            m.d.comb += total.eq(sum(holds[group * c.per_group + port] for group in range(c.groups)))
            rows.append(total)
        m.d.comb += self.row.eq(Cat(*rows))
        return m

    def _banks(self, m: Module) -> tuple[list[Value], list[Value]]:
        """What a sum begins with, when its first product is there; and where the lanes' sums are given to be kept."""
        c = self._config
        m.submodules.banks = banks = Ram(c.lanes * c.acc, c.banks)
        loads, keeps = Signal(), Signal(3)
        places = [Signal.like(self.bank, name=f"bank{stage}", reset_less=True) for stage in range(3)]
        start = Signal(c.lanes * c.acc, reset_less=True)
        m.d.sync += [
            loads.eq(self.load),
            start.eq(Mux(loads, banks.r_data, 0)),
            keeps.eq(Cat(self.go & self.capture & self.keep, keeps)),
            *(place.eq(before) for place, before in zip(places, [self.bank, *places], strict=False)),
        ]
        m.d.comb += [
            banks.r_addr.eq(self.bank),
            banks.w_en.eq(keeps[2]),
            banks.w_addr.eq(places[2]),
        ]
        values = [banks.w_data.word_select(lane, c.acc) for lane in range(c.lanes)]
        return [start.word_select(lane, c.acc).as_signed() for lane in range(c.lanes)], values

    def _broadcast(self, m: Module) -> tuple[list[Value], list[tuple[Value, Value, Value, Value]]]:
        """What every lane gets: its input element, one cycle after it is given; and whether its sum goes on and begins, when the
        product is there, whether it ends, a cycle later, and the turn to the next sums.
        """
        c = self._config
        go, first, capture = (Signal(2, name=name) for name in ("goes", "firsts", "captures"))
        ends = capture[1] & go[1]
        m.d.sync += [go.eq(Cat(self.go, go)), first.eq(Cat(self.first, first)), capture.eq(Cat(self.capture, capture))]
        if not c.deep:
            captured = Signal()
            m.d.sync += captured.eq(ends)
            xs = []
            for group in range(c.groups):  # one register for all lanes of a group
                x = Signal(signed(c.word), name=f"x{group}", reset_less=True)
                m.d.sync += x.eq(self.x.word_select(group, c.word))
                xs.append(x)
            return [xs[lane // c.per_group] for lane in range(c.lanes)], [
                (go[1], first[1], captured, self.rotate)
            ] * c.lanes
        near = min(NEAR, c.per_group)
        count = -(-c.per_group // near)  # registers of a group
        elements = []
        for group in range(c.groups):
            m.submodules[f"x{group}"] = copies = Copies(c.word, count)
            m.d.comb += copies.i.eq(self.x.word_select(group, c.word))
            elements += [copies.copy(lane // near).as_signed() for lane in range(c.per_group)]
        m.submodules.flags = copies = Copies(4, count * c.groups)
        m.d.comb += copies.i.eq(Cat(go[0], first[0], ends, self.rotate))
        flags = []
        for lane in range(c.lanes):
            each = copies.copy(lane // c.per_group * count + lane % c.per_group // near)
            flags.append((each[0], each[1], each[2], each[3]))
        return elements, flags
