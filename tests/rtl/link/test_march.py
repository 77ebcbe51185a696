"""The memory march against a memory with one fault at a time, of every kind that March C- promises to find."""

from __future__ import annotations

import itertools

import pytest
from amaranth.sim import Simulator
from neuroloom.rtl.link.march import MemoryMarch

CELLS = 4


def march(read, write, background=0x0F):
    """Run the march over a memory of 4 bytes given by two functions; returns (address, difference)."""
    unit = MemoryMarch(2)
    result = []

    async def bench(ctx):
        ctx.set(unit.background, background)
        ctx.set(unit.start, 1)
        await ctx.tick()
        ctx.set(unit.start, 0)
        for _ in range(18 * CELLS + 2):
            at, enable, data = ctx.get(unit.at), ctx.get(unit.write_en), ctx.get(unit.write_data)
            busy = ctx.get(unit.busy)
            word = read(at)
            if not busy:
                break
            await ctx.tick()
            if enable:
                write(at, data)
            ctx.set(unit.read_data, word)
        else:
            pytest.fail("the march takes longer than 18 cycles per cell")
        result.append((ctx.get(unit.at), ctx.get(unit.difference)))

    sim = Simulator(unit)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()
    return result[0]


def test_a_good_memory_passes_and_every_cell_sees_both_values():
    cells = [0xAA] * CELLS
    seen = set()

    def write(at, data):
        cells[at] = data
        seen.add((at, data))

    assert march(lambda at: cells[at], write)[1] == 0
    assert seen == set(itertools.product(range(CELLS), (0x0F, 0xF0)))


@pytest.mark.parametrize("cell", range(CELLS))
@pytest.mark.parametrize("value", [0, 1])
def test_stuck_bit(cell, value):
    cells = [0] * CELLS

    def write(at, data):
        cells[at] = (data & ~0x08 | value * 0x08) if at == cell else data

    assert march(lambda at: cells[at], write) == (cell, 0x08)


@pytest.mark.parametrize(("aggressor", "victim"), list(itertools.permutations(range(CELLS), 2)))
def test_coupling_and_address_faults(aggressor, victim):
    """A write to one cell disturbs another: by rising or falling, inverting it or forcing it; or both are one cell."""
    for rising, effect in itertools.product((True, False), ("invert", "set", "clear")):
        cells = [0] * CELLS

        def write(at, data, cells=cells, rising=rising, effect=effect):
            moved = (~cells[at] & data if rising else cells[at] & ~data) & 0x01
            cells[at] = data
            if at == aggressor and moved:
                new = {"invert": cells[victim] ^ 1, "set": cells[victim] | 1, "clear": cells[victim] & ~1}
                cells[victim] = new[effect]

        assert march(lambda at, cells=cells: cells[at], write)[1] == 0x01, (rising, effect)
    cells = [0] * CELLS

    def alias(at):
        return aggressor if at == victim else at

    assert march(lambda at: cells[alias(at)], lambda at, data: cells.__setitem__(alias(at), data))[1] != 0
