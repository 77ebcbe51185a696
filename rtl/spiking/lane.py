"""The arithmetic of one lane: registers A, B, P, F and K, and what each instruction does with them."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from neuroloom.compiler.spiking.isa import RND_HALF_UP, RND_SHIFT8, RND_TOWARD_ZERO, SQR_BITS, Op

from .adder import add_up, cut
from .flags import next_flags

PIECE = 16
"""Operands of multipliers are cut into signed pieces of this width, that of an iCE40 DSP block."""


class Lane(wiring.Component):
    """One lane of the microcode engine; executes one instruction in every cycle of ``go``. Large cores have
    :class:`~.lane_large.LargeLane`.

    The product must be right two cycles before RND uses it: how it is rounded is decided in the cycle before. Multipliers take 16
    signed bits, as an iCE40's.

    Parameters
    ----------
    state_bits : :class:`int`
        Width of A and B.

    Members
    -------
    fresh : In(1), F and K become 0
    go, op, imm : In, the instruction; ``coming``: the immediate's low bits of the one behind it
    rounds, adds : In(1), it is RND, ADD: known early, because the longest paths begin with them
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
                "op": In(5),
                "rounds": In(1),
                "adds": In(1),
                "imm": In(24),
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
        p = Signal(signed(bits + SQR_BITS))
        op, imm = self.op, self.imm

        def is_op(*ops: Op) -> Value:
            return Cat(op == Const(o, 5) for o in ops).any()

        wide = bits + 2  # of P, as many bits as tell whether the result fits, when what is above them is looked at too
        rounds, adds = self.rounds, self.adds
        by8 = imm[RND_SHIFT8.bit_length() - 1]
        up = Signal(reset_less=True)

        def rounds_up(imm: Value) -> Value:
            by8, half_up, toward_zero = (
                imm[bit.bit_length() - 1] for bit in (RND_SHIFT8, RND_HALF_UP, RND_TOWARD_ZERO)
            )
            dropped = p[:8].any() | (~by8 & p[8:16].any())
            return (half_up & Mux(by8, p[7], p[15])) | (toward_zero & p[-1] & dropped)

        m.d.sync += up.eq(rounds_up(self.coming))
        shifted = Mux(by8, (p >> 8)[:wide].as_signed(), p >> 16)
        total = add_up(m, a, b, rounds=rounds, adds=adds, shifted=shifted, up=up)
        beyond = p[8 + wide - 1 :]  # bits of P that the sum leaves out
        far = Signal()
        m.d.comb += far.eq(rounds & by8 & beyond.any() & ~beyond.all())
        found = cut(m, total, bits, far=far, minus=p[-1])
        result, over, less, equal = found.result, found.over, found.less, found.equal
        m.d.comb += self.state_w.eq(Mux(op == Op.STB, b, a))

        operand, product = Signal(signed(SQR_BITS)), Signal(signed(bits + SQR_BITS))
        m.d.comb += operand.eq(Mux(op == Op.SQR, b[:SQR_BITS].as_signed(), imm[: SQR_BITS - 1]))
        self._multiply_pieces(m, operand, product)

        with m.If(self.go):
            with m.Switch(op):
                with m.Case(Op.LDA):
                    m.d.sync += a.eq(self.state_r[:bits].as_signed())
                with m.Case(Op.ACC):
                    m.d.sync += a.eq(self.acc_r)
                with m.Case(Op.ADD, Op.SUB):
                    m.d.sync += a.eq(result)
                    m.d.comb += self.saturated[0].eq(over)
                with m.Case(Op.RND):
                    m.d.sync += a.eq(result)
                    m.d.comb += self.saturated[1].eq(over)
                with m.Case(Op.SWP):
                    m.d.sync += a.eq(b)
                with m.Case(Op.SEL):
                    with m.If(f):
                        m.d.sync += a.eq(b)
                with m.Case(Op.MIN):
                    with m.If(~less):
                        m.d.sync += a.eq(b)
                with m.Case(Op.MAX):
                    with m.If(less):
                        m.d.sync += a.eq(b)
            with m.Switch(op):
                with m.Case(Op.LDB):
                    m.d.sync += b.eq(self.state_r[:bits].as_signed())
                with m.Case(Op.IMM):
                    m.d.sync += b.eq(imm.as_signed())
                with m.Case(Op.MOV, Op.SWP):
                    m.d.sync += b.eq(a)
            with m.If(is_op(Op.MUL, Op.SQR)):
                m.d.sync += p.eq(product)
            next_flags(
                m, op, f, k, less=less, equal=equal, before=self.before, winner=self.winner, injected=self.injected
            )
        with m.If(self.fresh):
            m.d.sync += [f.eq(0), k.eq(0)]
        return m

    def _multiply_pieces(self, m: Module, operand: Signal, product: Signal) -> None:
        """The product of A and an operand of 18 bits from pieces of 16, the lower ones signed: the upper one of the operand is
        then a digit from -2 to 2.
        """
        bits, a = self._bits, self.a
        low_b, low_a = operand[:PIECE].as_signed(), a[:PIECE].as_signed()
        high_a = Signal(signed(max(bits - PIECE, 0) + 1))
        m.d.comb += high_a.eq((a >> PIECE) + a[PIECE - 1] if bits > PIECE else a[PIECE - 1] & 0)
        top = operand[PIECE - 1 :]
        digit_a = Signal(signed(bits + 2))
        with m.Switch(top):
            with m.Case(0b001, 0b010):
                m.d.comb += digit_a.eq(a)
            with m.Case(0b011):
                m.d.comb += digit_a.eq(a << 1)
            with m.Case(0b100):
                m.d.comb += digit_a.eq(~(a << 1))
            with m.Case(0b101, 0b110):
                m.d.comb += digit_a.eq(~a)
        minus = top[2] & ~(top[0] & top[1])
        upper, low = Signal(signed(bits + 3)), Signal(signed(2 * PIECE))
        m.d.comb += [
            low.eq(low_a * low_b),
            upper.eq((Cat(Const(1, 1), high_a * low_b).as_signed() + Cat(minus, digit_a).as_signed()) >> 1),
            product.eq(Cat(low[:PIECE], ((low >> PIECE) + upper)[: bits + SQR_BITS - PIECE]).as_signed()),
        ]
