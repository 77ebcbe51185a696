"""cocotb testbench of a spiking core's Verilog with stream ports, in a loop that is closed outside of it.

A spike of neuron k comes back in the next step as a spike of input ``back[k]`` (-1: none), beside those from outside. The
testbench keeps what it did and saw, and how many cycles things took.
"""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

import cocotb
from cocotb.triggers import Timer

PATIENCE = 100_000


class Core:
    """Clocks the design; inputs hold until changed."""

    def __init__(self, dut, seed: int) -> None:
        self.dut, self.random, self.cycle, self.events, self.lag = dut, random.Random(seed), 0, [], 0
        self.ready_rate = 1.0
        for name in ("i_valid", "i_data", "o_ready", "spike_valid", "spike_source", "advance_valid", "advance_steps"):
            getattr(dut, name).value = 0
        dut.event_ready.value, dut.event_enable.value, dut.rst.value, dut.clk.value = 0, 1, 1, 0

    async def clock(self) -> dict[str, int]:
        """One cycle; what the outputs were in it. Events are taken at the rate asked for."""
        dut = self.dut
        ready = int(self.random.random() < self.ready_rate)
        dut.event_ready.value = ready
        await Timer(4, unit="ns")
        names = ("i_ready", "o_valid", "spike_ready", "advance_ready", "event_valid", "idle")
        seen = {name: int(str(getattr(dut, name).value) == "1") for name in names}
        if seen["event_valid"] and ready:
            self.events.append((dut.event_step.value.to_unsigned(), dut.event_source.value.to_unsigned()))
        if seen["o_valid"]:
            seen["o_data"] = dut.o_data.value.to_unsigned()
        dut.clk.value = 1
        await Timer(5, unit="ns")
        dut.clk.value = 0
        await Timer(1, unit="ns")
        self.cycle += 1
        return seen

    async def offer(self, stream: str, part: str, value: int) -> int:
        """Offer a word until it is taken; the number of cycles that took."""
        valid, start = getattr(self.dut, f"{stream}_valid"), self.cycle
        getattr(self.dut, f"{stream}_{part}").value, valid.value = value, 1
        while not (await self.clock())[f"{stream}_ready"]:
            assert self.cycle - start < PATIENCE, f"{stream} is never ready"
        valid.value = 0
        return self.cycle - start

    async def answer(self, count: int) -> bytes:
        """Bytes of an answer."""
        got, self.dut.o_ready.value = bytearray(), 1
        while len(got) < count:
            seen = await self.clock()
            if seen["o_valid"]:
                got.append(seen["o_data"])
        self.dut.o_ready.value = 0
        return bytes(got)

    async def until_idle(self) -> int:
        """Wait for ``idle``; the number of cycles in which it was 0."""
        waited = 0
        while not (await self.clock())["idle"]:
            waited += 1
            assert waited < PATIENCE, "idle never comes"
        return waited


@cocotb.test()
async def closed_loop(dut):
    folder = Path(os.environ["LOOP_BENCH"])
    job = json.loads((folder / "job.json").read_text())
    core = Core(dut, job["seed"])
    for _ in range(2):
        await core.clock()
    dut.rst.value = 0
    for byte in bytes.fromhex(job["load"]):
        await core.offer("i", "data", byte)
    result = {"inputs": [], "busy": [], "taken": []}
    back, outside, fed = job["back"], job["outside"], []
    for step, spikes in enumerate(outside):
        core.ready_rate = job["rates"][step % len(job["rates"])]
        await core.until_idle()
        sources = sorted({*spikes, *fed})
        result["inputs"].append(sources)
        for source in [*sources, 0xFFF0]:  # no core has that many sources: it is dropped
            result["taken"].append(
                await core.offer("spike", "source", source if source == 0xFFF0 else job["first"] + source)
            )
        before = len(core.events)
        await core.offer("advance", "steps", 1)
        result["busy"].append(await core.until_idle())
        fed = [back[source] for _, source in core.events[before:] if back[source] >= 0]
    for byte in b"S":
        await core.offer("i", "data", byte)
    result["status"] = (await core.answer(24)).hex()
    for byte in b"D\x02\x00":
        await core.offer("i", "data", byte)
    result["drained"] = (await core.answer(8)).hex()
    # steps in one go, events later: with nobody listening the core waits and loses none
    core.ready_rate, many, before = 0.0, job["many"], len(core.events)
    await core.offer("advance", "steps", many)
    for _ in range(200):
        await core.clock()
    core.ready_rate = 0.3
    await core.until_idle()
    result["later"] = core.events[before:]
    result["events"] = core.events[:before]
    (folder / "result.json").write_text(json.dumps(result))
