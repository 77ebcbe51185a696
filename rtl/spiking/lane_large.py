"""The arithmetic of one lane of a large core: as :class:`~.lane.Lane`, with what long paths begin with decoded before."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from neuroloom.compiler.spiking.isa import RND_HALF_UP, RND_SHIFT8, RND_TOWARD_ZERO, SQR_BITS, Op

from .adder import add_up, cut
from .flags import next_flags

DECODED_BITS = 12


def decode(op: Value, rides: Value) -> Value:
    """What an instruction does, for a register: it is RND; A takes the sum, the pool's word, the accumulator, B; B if F,
    if A is larger, if it is smaller. B takes an immediate, the pool's word, A. P takes a product.
    """

    def of(*ops: Op) -> Value:
        return Cat(op == Const(o, 5) for o in ops).any()

    to_a = of(Op.ADD, Op.SUB, Op.RND), of(Op.LDA), of(Op.ACC), of(Op.SWP), of(Op.SEL), of(Op.MIN), of(Op.MAX)
    to_b = of(Op.IMM) | rides, of(Op.LDB), of(Op.MOV, Op.SWP)
    return Cat(of(Op.RND), *to_a, *to_b, of(Op.MUL, Op.SQR))


class LargeLane(wiring.Component):
    """One lane of the microcode engine; executes one instruction in every cycle of ``go``.

    A product is in P from the second cycle after MUL or SQR on, so that the instruction behind them is executed then at the
    earliest (``CoreConfig.multiply_cycles``): multipliers of 18 signed bits give the parts of it in the first cycle.

    Parameters
    ----------
    state_bits : :class:`int`
        Width of A and B.

    Members
    -------
    fresh : In(1), F and K become 0
    moves : In(1), the next instruction is the one of ``coming``
    go, op, imm : In, the instruction; ``hot`` what :func:`decode` says of it, ``adds`` that it is ADD; ``constant`` what B takes of
        an IMM, alone or riding; ``coming``: the low bits of the immediate of the instruction of the next cycle
    state_r : In(32), the pool's word for a load, in the cycle of execution
    acc_r : In(state_bits), the accumulator's value
    before, injected, winner : In(1), what FSP, INJ and WIN ask for
    state_w : Out(32), what a store of this cycle writes
    a, f, k : Out, the registers
    saturated : Out(2), ADD or SUB, RND does not fit in this cycle
    """

    def __init__(self, state_bits: int) -> None:
        self._bits = state_bits
        super().__init__(
            {
                "fresh": In(1),
                "go": In(1),
                "moves": In(1),
                "op": In(5),
                "adds": In(1),
                "hot": In(DECODED_BITS),
                "imm": In(SQR_BITS - 1),
                "constant": In(signed(24)),
                "coming": In(3),
                "state_r": In(32),
                "acc_r": In(signed(state_bits)),
                "before": In(1),
                "injected": In(1),
                "winner": In(1),
                "state_w": Out(signed(32)),
                "a": Out(signed(state_bits)),
                "f": Out(1),
                "k": Out(1),
                "saturated": Out(2),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        bits = self._bits
        a, f, k = self.a, self.f, self.k
        b = Signal(signed(bits))
        op = self.op
        rounds = self.hot[0]
        sums, loads, empties, swaps, selects, least, most, constants, loads_b, moves, multiplies = self.hot[1:]
        wide = bits + 2  # of P, as many bits as tell whether the result fits, when what is above them is looked at too
        shifted, up, far, minus = self._product(m, b, multiplies, wide)

        total = add_up(m, a, b, rounds=rounds, adds=self.adds, shifted=shifted, up=up)
        found = cut(m, total, bits, far=rounds & far, minus=minus)
        result, over, less, equal = found.result, found.over, found.less, found.equal
        m.d.comb += self.state_w.eq(Mux(op == Op.STB, b, a))

        takes_b = swaps | (selects & f) | (least & ~less) | (most & less)
        others = Mux(loads, self.state_r[:bits], Mux(empties, self.acc_r, b))
        m.d.comb += [
            self.saturated[0].eq(self.go & sums & ~rounds & over),
            self.saturated[1].eq(self.go & rounds & over),
        ]
        with m.If(self.go):
            with m.If(sums | loads | empties | takes_b):
                m.d.sync += a.eq(Mux(sums, result, others).as_signed())
            with m.If(constants | loads_b | moves):
                m.d.sync += b.eq(Mux(constants, self.constant, Mux(loads_b, self.state_r[:bits].as_signed(), a)))
            next_flags(
                m, op, f, k, less=less, equal=equal, before=self.before, winner=self.winner, injected=self.injected
            )
        with m.If(self.fresh):
            m.d.sync += [f.eq(0), k.eq(0)]
        return m

    def _product(self, m: Module, b: Signal, multiplies: Value, wide: int) -> tuple[Signal, Signal, Signal, Signal]:
        """What RND makes of P in the next cycle: P shifted, what is added, whether bits above these do not fit, the sign."""
        bits, a = self._bits, self.a
        p = Signal(signed(bits + SQR_BITS))
        operand = Signal(signed(SQR_BITS))
        m.d.comb += operand.eq(Mux(self.op == Op.SQR, b[:SQR_BITS].as_signed(), self.imm))
        narrow = bits < SQR_BITS
        low = Cat(a[: SQR_BITS - 1], a[-1] if narrow else Const(0, 1)).as_signed() * operand
        lower, upper = Signal(signed(2 * SQR_BITS)), Signal(signed(bits + SQR_BITS))
        second = Signal()
        m.d.sync += [lower.eq(low), second.eq(self.go & multiplies)]
        if not narrow:
            m.d.sync += upper.eq((a >> SQR_BITS - 1) * operand)
        product = Signal.like(p)
        m.d.comb += product.eq(Mux(second, lower + (upper << SQR_BITS - 1), p))
        m.d.sync += p.eq(product)
        by8, half_up, toward_zero = (
            self.coming[bit.bit_length() - 1] for bit in (RND_SHIFT8, RND_HALF_UP, RND_TOWARD_ZERO)
        )
        low_bits = Mux(second, lower[:16], p[:16])  # the upper part has nothing to add to them
        dropped = low_bits[:8].any() | (~by8 & low_bits[8:16].any())
        beyond = product[8 + wide - 1 :]  # bits that P by 8 leaves out
        shifted = Signal(signed(wide), reset_less=True)
        up, far, minus = (Signal(name=name, reset_less=True) for name in ("up", "far", "minus"))
        with m.If(self.moves):
            m.d.sync += [
                shifted.eq(Mux(by8, (product >> 8)[:wide].as_signed(), (product >> 16)[:wide].as_signed())),
                up.eq((half_up & Mux(by8, low_bits[7], low_bits[15])) | (toward_zero & product[-1] & dropped)),
                far.eq(by8 & beyond.any() & ~beyond.all()),
                minus.eq(product[-1]),
            ]
        return shifted, up, far, minus
