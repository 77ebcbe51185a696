"""The flags F and K of a lane: what an instruction makes of them."""

from __future__ import annotations

from amaranth.hdl import Module, Signal, Value
from neuroloom.compiler.spiking.isa import Op


def next_flags(
    m: Module,
    op: Value,
    f: Signal,
    k: Signal,
    *,
    less: Value,
    equal: Value,
    before: Value,
    winner: Value,
    injected: Value,
) -> None:
    """Set F and K, one bit each, for the instruction ``op`` in the clocked domain, under the conditions of the caller.

    less, equal : what comparing A with B says; before : the neuron spiked in the step before; winner : it wins the competition;
    injected : a spike was injected into it
    """
    with m.Switch(op):
        with m.Case(Op.CGT):
            m.d.sync += f.eq(~less & ~equal)
        with m.Case(Op.CGE):
            m.d.sync += f.eq(~less)
        with m.Case(Op.CEQ):
            m.d.sync += f.eq(equal)
        with m.Case(Op.NOT):
            m.d.sync += f.eq(~f)
        with m.Case(Op.FSP):
            m.d.sync += f.eq(before)
        with m.Case(Op.FK):
            m.d.sync += f.eq(k)
        with m.Case(Op.FAK):
            m.d.sync += f.eq(f & k)
        with m.Case(Op.FOK):
            m.d.sync += f.eq(f | k)
        with m.Case(Op.WIN):
            m.d.sync += f.eq(winner)
        with m.Case(Op.INJ):
            m.d.sync += f.eq(injected)
    with m.Switch(op):
        with m.Case(Op.KF):
            m.d.sync += k.eq(f)
        with m.Case(Op.KAF):
            m.d.sync += k.eq(k & f)
