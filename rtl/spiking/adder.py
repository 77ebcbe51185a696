"""The one adder of a lane: A + B, A - B (also for comparisons), or a shifted product and its rounding."""

from __future__ import annotations

from dataclasses import dataclass

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed


@dataclass(frozen=True)
class Sum:
    """What the adder says: the saturated result, whether it was cut, and of A - B whether it is below 0 and whether it is 0."""

    result: Signal
    over: Signal
    less: Signal
    equal: Signal


def add_up(m: Module, a: Signal, b: Signal, *, rounds: Value, adds: Value, shifted: Value, up: Value) -> Signal:
    """The sum, one bit wider than ``shifted``, which has two bits more than A and B, as many as tell whether it fits.

    rounds : add ``up`` to ``shifted``; adds : else add B to A; else take B from A
    """
    wide = len(a) + 2
    x, y, carry = Signal(signed(wide)), Signal(signed(wide)), Signal()
    m.d.comb += [
        x.eq(Mux(rounds, shifted, a)),
        y.eq(Mux(rounds, 0, Mux(adds, b, ~b))),
        carry.eq(Mux(rounds, up, ~adds)),
    ]
    chain = Signal(wide + 2)
    total = Signal(signed(wide + 1))
    m.d.comb += [
        # the lowest bit makes the carry into the chain
        chain.eq(Cat(Const(1, 1), x, x[-1]) + Cat(carry, y, y[-1])),
        total.eq(chain[1:].as_signed()),
    ]
    return total


def cut(m: Module, total: Signal, bits: int, *, far: Value, minus: Value) -> Sum:
    """The sum as a number of ``bits`` bits, saturated; ``far``: what it leaves out does not fit, and has the sign ``minus``."""
    over, less, equal, negative = Signal(), Signal(), Signal(), Signal()
    result = Signal(signed(bits))
    high = total[bits - 1 :]
    m.d.comb += [
        over.eq((high.any() & ~high.all()) | far),
        less.eq(total[-1]),
        equal.eq(total[: bits + 1] == 0),
        negative.eq(Mux(far, minus, total[-1])),
        result.eq(Mux(over, Cat((~negative).replicate(bits - 1), negative).as_signed(), total[:bits].as_signed())),
    ]
    return Sum(result, over, less, equal)
