"""Leaving an image: when the guard boots golden and when it does not, and the commands that tell it."""

from __future__ import annotations

import pytest
from amaranth.back import rtlil
from amaranth.sim import Simulator
from neuroloom.rtl.link.core import LinkCore
from neuroloom.rtl.link.guard import BootGuard
from neuroloom.rtl.link.protocol import BOOTS, GUARDED, Command, Status

ANSWER, GUARD, LATEST = 16, 90, 150
TAKEN = 96
"""The guard's cycles as a multiple of the answer's."""


def boots_at(strobes: dict[int, str], guard: int | None = GUARD) -> int | None:
    """The first cycle in which the guard boots, with its inputs high in the cycles given."""
    dut = BootGuard(ANSWER, guard)
    seen: list[int] = []

    async def script(ctx) -> None:
        for cycle in range(LATEST):
            for name in ("leave", "confirm"):
                ctx.set(getattr(dut, name), int(strobes.get(cycle) == name))
            *_, warmboot = await ctx.tick().sample(dut.warmboot)
            if warmboot:
                seen.append(cycle)

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(script)
    sim.run()
    assert not seen or seen == list(range(seen[0], LATEST)), "once it boots, it boots"
    return seen[0] if seen else None


@pytest.mark.parametrize(
    ("strobes", "guard", "booted"),
    [
        ({}, GUARD, TAKEN + 1),
        ({}, None, None),
        ({10: "confirm"}, GUARD, None),
        ({TAKEN - 1: "confirm"}, GUARD, None),
        ({10: "leave"}, GUARD, 10 + ANSWER + 2),
        ({10: "leave"}, None, 10 + ANSWER + 2),
        ({10: "leave", 15: "confirm"}, GUARD, 10 + ANSWER + 2),
        ({10: "leave", 20: "leave"}, GUARD, 10 + ANSWER + 2),
        ({10: "confirm", 40: "leave"}, GUARD, 40 + ANSWER + 2),
    ],
)
def test_when_it_boots(strobes: dict[int, str], guard: int | None, booted: int | None) -> None:
    assert boots_at(strobes, guard) == booted


def test_commands_reach_the_guard_once_and_are_answered(play, wire) -> None:
    async def script(line) -> None:
        strobes: list[str] = []
        core = line.bench.core
        await line.ask(Command.SYNC, 7, b"n")
        for sequence, command in ((8, Command.CONFIRM), (9, Command.BOOT), (9, Command.BOOT)):
            frame = wire.frame(command, sequence)
            await line.send(frame[:-1])
            await line.send(frame[-1:], spacing=2)
            for _ in range(400):
                *_, leave, confirm = await line.ctx.tick().sample(core.leave, core.confirm)
                strobes += ["leave"] * leave + ["confirm"] * confirm
            (answer,) = await line.settle()
            assert (answer.status, answer.sequence) == (Status.OK, sequence)
        assert strobes == ["confirm", "leave"]  # the repetition is answered, and does nothing

    play(script, boot=BOOTS | GUARDED)


def test_a_design_that_does_not_boot_refuses_and_has_nothing_of_it(play, wire) -> None:
    async def script(line) -> None:
        await line.ask(Command.SYNC, 7, b"n")
        for sequence, command in ((8, Command.CONFIRM), (9, Command.BOOT)):
            assert (await line.ask(command, sequence)).status == Status.UNKNOWN_COMMAND

    play(script)
    text = rtlil.convert(LinkCore(wire.identity, frame_bytes=256, window=2), emit_src=False)
    assert "leave" not in text and "confirm" not in text
