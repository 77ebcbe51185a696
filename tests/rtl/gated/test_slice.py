"""The register between two sides of a stream: every byte once, in order, one per cycle where nobody waits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from amaranth.sim import Simulator
from neuroloom.rtl.gated.slice import Slice

COUNT = 200


def passed(gives: float, takes: float) -> tuple[list[int], int]:
    """What comes out of a slice whose sides are ready in these shares of the cycles, and the cycles that it took."""
    unit, rng = Slice(), np.random.default_rng(3)
    out: list[int] = []
    cycles = 0

    async def bench(ctx: Any) -> None:
        nonlocal cycles
        sent, offered = 0, False
        while len(out) < COUNT:
            offered = offered or (sent < COUNT and rng.random() < gives)  # what is offered stays until it is taken
            ctx.set(unit.i.valid, offered)
            ctx.set(unit.i.payload, sent & 0xFF)
            ctx.set(unit.o.ready, int(rng.random() < takes))
            given = offered and ctx.get(unit.i.ready)
            if ctx.get(unit.o.valid) and ctx.get(unit.o.ready):
                out.append(ctx.get(unit.o.payload))
            await ctx.tick()
            cycles += 1
            if given:
                sent, offered = sent + 1, False

    sim = Simulator(unit)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()
    return out, cycles


@pytest.mark.parametrize(("gives", "takes"), [(1, 1), (0.5, 1), (1, 0.5), (0.4, 0.6)])
def test_every_byte_once_and_in_order(gives: float, takes: float) -> None:
    out, cycles = passed(gives, takes)
    assert out == [n & 0xFF for n in range(COUNT)]
    assert cycles == COUNT + 1 or min(gives, takes) < 1
