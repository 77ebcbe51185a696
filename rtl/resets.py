"""The reset of an engine that fills its chip: one register for the link's reset and for that of all logic."""

from __future__ import annotations

from amaranth.hdl import ClockDomain, ClockSignal, DomainRenamer, Module, ResetSignal, Signal, ValueLike


def behind_a_register(m: Module, reset: ValueLike, name: str = "engine") -> DomainRenamer:
    """A clock domain ``name`` for submodules of ``m``: the clock of ``sync``, reset a cycle after ``sync`` is or ``reset`` is 1.

    A ResetInserter makes the two resets meet in a look-up table between two long ways: from the clock's reset or the link to it,
    and from it to all of the chip's registers that are reset. Here the second way begins at a register.
    """
    late = Signal(name=f"{name}_reset", init=1)
    m.domains += ClockDomain(name, local=True)
    m.d.sync += late.eq(reset)
    m.d.comb += [ClockSignal(name).eq(ClockSignal()), ResetSignal(name).eq(late)]
    return DomainRenamer(name)
