"""The decision unit against its rule: decided, winner, step and cycles, over both modes."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import pytest
from amaranth.sim import Simulator
from neuroloom.compiler.spiking.core import CoreConfig
from neuroloom.compiler.spiking.cycles_learning import decide_cycles
from neuroloom.rtl.spiking.decide import Decide

LIMIT = 5000


@dataclass
class Ask:
    """One command: its fields, the counts, the table, the step, and whether the decision is forgotten before."""

    fields: dict[str, int]
    counts: list[int]
    table: list[int]
    step: int
    clear: bool


def rule(ask: Ask, state: tuple[int, int, int]) -> tuple[int, int, int]:
    """(decided, winner, at) after the command."""
    decided, winner, at = (0, 0, 0) if ask.clear else state
    if decided or not ask.counts:
        return decided, winner, at
    best = max(ask.counts)
    leader = ask.counts.index(best)
    if ask.fields["mode"] == 0:
        others = ask.counts[:leader] + ask.counts[leader + 1 :]
        sure = best - max(others, default=0) >= ask.fields["margin"]
    else:
        sure = sum(ask.table[min(best - c, len(ask.table) - 1)] for c in ask.counts) <= ask.fields["margin"]
    return (1, leader, ask.step) if sure else (0, leader, at)


def random_ask(rng: random.Random) -> Ask:
    n = rng.choice([1, 2, 3, 10, 16, 33])
    top = rng.choice([1, 3, 20, (1 << 23) - 1])
    counts = [rng.randint(0, top) for _ in range(n)]
    if rng.random() < 0.3:
        counts[rng.randrange(n)] += min(top, 30)
    counts = [min(c, (1 << 23) - 1) for c in counts]
    table = sorted((rng.randrange(65536) for _ in range(rng.choice([1, 2, 30]))), reverse=True)
    mode = rng.randrange(2)
    best = max(counts)
    total = sum(table[min(best - c, len(table) - 1)] for c in counts)
    margin = rng.choice([total, total - 1, total + 1]) if mode else rng.choice([1, 2, 5, best or 1])
    if not mode and n > 1:
        margin = rng.choice([margin, max(1, best - sorted(counts)[-2]), best - sorted(counts)[-2] + 1])
    fields = {
        "neurons": n, "mode": mode, "state_base": rng.randrange(1000), "stride": rng.randrange(1, 9),
        "k": rng.randrange(8), "margin": max(0, margin), "table": rng.randrange(300), "entries": len(table),
    }  # fmt: skip
    return Ask(fields, counts, table, rng.getrandbits(32), rng.random() < 0.5)


@pytest.mark.parametrize("lanes", [1, 2, 16])
def test_decision(lanes: int) -> None:
    rng = random.Random(lanes)
    config = CoreConfig("custom", lanes=lanes)
    unit = Decide(config)
    asks = [random_ask(rng) for _ in range(120)]
    pool: dict[int, int] = {}
    program: dict[int, int] = {}
    outcomes: set[tuple[int, bool]] = set()

    async def memories(ctx: Any) -> None:
        signals = unit.pool.addr, unit.pool.write, unit.program.addr
        earlier = [0] * (config.pool_cycles - 1)
        async for _, _, address, write, word in ctx.tick().sample(*signals):
            assert not write
            earlier.append(address)
            address = earlier.pop(0)
            ctx.set(unit.pool.data_r, pool.get(address, rng.getrandbits(32 * lanes)))
            ctx.set(unit.program.data_r, program.get(word, rng.getrandbits(32)))

    async def drive(ctx: Any) -> None:
        state = (0, 0, 0)
        for ask in asks:
            a = ask.fields
            pool.clear()
            program.clear()
            for n in range(-(-len(ask.counts) // lanes) * lanes):
                address = a["state_base"] + n // lanes * a["stride"] + a["k"]
                value = ask.counts[n] if n < len(ask.counts) else rng.getrandbits(24)
                pool[address] = pool.get(address, 0) | value << n % lanes * 32
            program.update({a["table"] + k: v | rng.getrandbits(16) << 16 for k, v in enumerate(ask.table)})
            for name, value in a.items():
                ctx.set(getattr(unit, name), value)
            ctx.set(unit.step, ask.step)
            if ask.clear:
                ctx.set(unit.clear, 1)
                await ctx.tick()
                ctx.set(unit.clear, 0)
                assert not ctx.get(unit.decided)
            spent = decide_cycles(config, a, decided=bool(ctx.get(unit.decided)))
            ctx.set(unit.start, 1)
            await ctx.tick()
            ctx.set(unit.start, 0)
            took = 2
            while not ctx.get(unit.done):
                took += 1
                assert took < LIMIT, "the command hangs"
                await ctx.tick()
            await ctx.tick()
            assert ctx.get(unit.pool.addr) == ctx.get(unit.program.addr) == 0
            state = rule(ask, state)
            assert (ctx.get(unit.decided), ctx.get(unit.winner), ctx.get(unit.at)) == state, ask
            assert took == spent
            outcomes.add((a["mode"], bool(state[0])))

    sim = Simulator(unit)
    sim.add_clock(1e-6)
    sim.add_process(memories)
    sim.add_testbench(drive)
    sim.run()
    assert len(outcomes) == 4
