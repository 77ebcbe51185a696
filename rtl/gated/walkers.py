"""What walks through the memories: the sums of the lanes, and the element-wise sums of the ports."""

from __future__ import annotations

from amaranth.hdl import Array, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from neuroloom.compiler.gated.core import GatedConfig
from neuroloom.compiler.gated.isa import WORD_BITS, Op

from .fields import Fields


class SumWalker(wiring.Component):
    """Addresses of a MAC: ``n1`` times ``n0`` input elements, and as many consecutive weight rows.

    ``start`` with the instruction in ``word`` and its addresses (offsets added) in ``x_addr`` and ``w_addr``; from the next
    cycle on one pair of addresses per cycle, with ``valid``. The next instruction may start in the last of these cycles.
    """

    def __init__(self, config: GatedConfig) -> None:
        self._bits = config.vector_bits
        rows = (config.weight_rows - 1).bit_length()
        super().__init__(
            {
                "start": In(1),
                "word": In(WORD_BITS),
                "x_addr": In(self._bits),
                "w_addr": In(rows),
                "valid": Out(1),
                "x": Out(self._bits),
                "w": Out(rows),
                "first": Out(1),
                "capture": Out(1),
                "same": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        f = Fields(self.word, Op.MAC)
        base = Signal(self._bits, reset_less=True)
        n0, inner, outer = Signal(12, reset_less=True), Signal(12, reset_less=True), Signal(10, reset_less=True)
        s0, s1 = Signal(signed(min(12, self._bits)), reset_less=True), Signal(self._bits, reset_less=True)
        captures = Signal(reset_less=True)
        last = Signal()
        m.d.comb += [last.eq((inner == 0) & (outer == 0)), self.capture.eq(captures & last)]
        with m.If(self.valid):
            m.d.sync += [self.w.eq(self.w + 1), self.first.eq(0)]
            with m.If(inner == 0):
                m.d.sync += [inner.eq(n0), outer.eq(outer - 1), self.x.eq(base + s1), base.eq(base + s1)]
            with m.Else():
                m.d.sync += [inner.eq(inner - 1), self.x.eq(self.x + s0)]
            with m.If(last):
                m.d.sync += self.valid.eq(0)
        with m.If(self.start):
            m.d.sync += [
                self.valid.eq(1),
                self.x.eq(self.x_addr),
                base.eq(self.x_addr),
                self.w.eq(self.w_addr),
                n0.eq(f.n0 - 1),
                inner.eq(f.n0 - 1),
                outer.eq(f.n1 - 1),
                s0.eq(f.s0),
                s1.eq(f.s1),
                captures.eq(f.capture),
                self.first.eq(f.first),
                self.same.eq(f.same),
            ]
        return m


def term_layout(bits: int) -> data.StructLayout:
    """One product of an element-wise sum, with addresses of ``bits`` bits."""
    step = signed(min(12, bits))
    flags = dict.fromkeys(("a_bcast", "b_bcast", "negate", "lift"), 1)
    steps = dict.fromkeys(("a_rs", "a_ks", "b_rs", "b_ks"), step)
    return data.StructLayout({"a": bits, "b": bits, "n": 10, **flags, **steps})


class TermWalker(wiring.Component):
    """Addresses of a VEC: for every row, for every term, ``n`` pairs of operands.

    ``load`` puts the TERM in ``word`` with its addresses (offsets added) into its slot; ``start`` begins the VEC in ``word``.
    Two cycles after ``start`` the first operands' addresses are out, one pair per cycle; in a deep engine three: it counts in one
    cycle, and computes addresses in the next one.

    ``first``: the first operands of a row; ``emit``: the last ones; ``final``: of the last row; ``fresh``: the first of all.
    """

    def __init__(self, config: GatedConfig) -> None:
        self._terms, self._bits, self._deep = config.terms, config.vector_bits, config.deep
        flags = ("first", "emit", "final", "fresh", "a_bcast", "b_bcast", "negate", "lift", "valid")
        super().__init__(
            {
                "load": In(1),
                "start": In(1),
                "word": In(WORD_BITS),
                "a_addr": In(self._bits),
                "b_addr": In(self._bits),
                "a": Out(self._bits),
                "b": Out(self._bits),
                **{flag: Out(1) for flag in flags},
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        f, v = Fields(self.word, Op.TERM), Fields(self.word, Op.VEC)
        bits, layout = self._bits, term_layout(self._bits)
        terms = [Signal(layout, name=f"term{number}", reset_less=True) for number in range(self._terms)]
        active, fresh = Signal(), Signal(reset_less=True)
        rows, number, last_number = Signal(12, reset_less=True), Signal(3, reset_less=True), Signal(3, reset_less=True)
        count, run_a, run_b = Signal(10, reset_less=True), Signal(bits, reset_less=True), Signal(bits, reset_less=True)
        slot, load, address_a, address_b = Signal(layout), self.load, self.a_addr, self.b_addr
        place = f.slot
        m.d.comb += [slot[name].eq(getattr(f, name)) for name in layout.members if name not in ("a", "b")]
        begins, ends, last = Signal(), Signal(), Signal()
        n = Signal(10)
        if self._deep:  # the numbers of pairs, less one, apart from the rest, which is loaded a cycle later
            counts = [Signal(10, name=f"n{number}", reset_less=True) for number in range(self._terms)]
            for each, number_of in enumerate(counts):
                with m.If(load & (f.slot == each)):
                    m.d.sync += number_of.eq(f.n - 1)
            m.d.comb += n.eq(Array(counts)[number])
            later = [
                Signal.like(v, name=f"later_{k}", reset_less=True)
                for k, v in enumerate((slot, address_a, address_b, place))
            ]
            loads = Signal()
            m.d.sync += [
                loads.eq(load),
                *(x.eq(y) for x, y in zip(later, (slot, address_a, address_b, place), strict=True)),
            ]
            slot, address_a, address_b, place = later
            load = loads
        m.d.comb += [begins.eq(count == 0), last.eq(ends & (number == last_number))]

        # what the addresses need to know
        names = ("active", "begins", "ends", "last", "zeroth", "final", "fresh")
        now = dict(zip(names, (active, begins, ends, last, number == 0, rows == 0, fresh), strict=True))
        which = number
        if self._deep:
            step = {name: Signal(name=f"step_{name}", reset_less=name != "active") for name in names}
            m.d.sync += [step[name].eq(now[name]) for name in names]
            which = Signal.like(number, name="step_number", reset_less=True)
            m.d.sync += which.eq(number)
            now = step
        term = Signal(layout)
        m.d.comb += term.as_value().eq(Array(t.as_value() for t in terms)[which])
        m.d.comb += ends.eq(count == (n if self._deep else term.n - 1))

        a, b = Signal(bits), Signal(bits)
        m.d.comb += [a.eq(Mux(now["begins"], term.a, run_a)), b.eq(Mux(now["begins"], term.b, run_b))]
        m.d.sync += [
            self.valid.eq(now["active"]),
            self.a.eq(a),
            self.b.eq(b),
            self.a_bcast.eq(term.a_bcast),
            self.b_bcast.eq(term.b_bcast),
            self.negate.eq(term.negate),
            self.lift.eq(term.lift & now["begins"]),
            self.first.eq(now["begins"] & now["zeroth"]),
            self.emit.eq(now["last"]),
            self.final.eq(now["final"]),
            self.fresh.eq(now["fresh"]),
        ]
        with m.If(now["active"]):
            m.d.sync += [run_a.eq(a + term.a_ks), run_b.eq(b + term.b_ks)]
        with m.If(active):
            m.d.sync += [fresh.eq(0), count.eq(count + 1)]
            with m.If(ends):
                m.d.sync += [count.eq(0), number.eq(number + 1)]
            with m.If(last):
                m.d.sync += [number.eq(0), rows.eq(rows - 1)]
                with m.If(rows == 0):
                    m.d.sync += active.eq(0)
        with m.If(self.start):
            m.d.sync += [active.eq(1), fresh.eq(1), rows.eq(v.rows - 1), last_number.eq(v.terms - 1)]
            m.d.sync += [number.eq(0), count.eq(0)]
        # a slot is loaded only when the rows before need no further step
        new_a, new_b = Signal(bits), Signal(bits)
        m.d.comb += [new_a.eq(term.a + term.a_rs), new_b.eq(term.b + term.b_rs)]
        with m.If(load):
            m.d.comb += [new_a.eq(address_a), new_b.eq(address_b)]
        for number_of, each in enumerate(terms):
            chosen = load & (place == number_of)
            with m.If(chosen | (~load & now["active"] & now["ends"] & (which == number_of))):
                m.d.sync += [each.a.eq(new_a), each.b.eq(new_b)]
            with m.If(chosen):
                m.d.sync += [each[name].eq(slot[name]) for name in layout.members if name not in ("a", "b")]
        return m
