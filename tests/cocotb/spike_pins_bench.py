"""cocotb testbench of a spiking core with spike pins: a partner with a clock of its own closes the loop by handshakes alone."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

import cocotb
from cocotb.triggers import Timer

MARK, PATIENCE = 0xFFFF, 200_000


class Board:
    """The chip's clock runs at 10 ns; the partner looks and acts between any two edges."""

    def __init__(self, dut, seed: int) -> None:
        self.dut, self.random, self.words = dut, random.Random(seed), []
        for name in ("i__valid", "i__payload", "o__ready", "reset", "spike_data", "spike_req", "event_ack"):
            getattr(dut, name).value = 0
        dut.loop_n.value, dut.rst.value, dut.clk.value = 1, 1, 0

    async def clock(self) -> None:
        self.dut.clk.value = 1
        await Timer(5, unit="ns")
        self.dut.clk.value = 0
        await Timer(5, unit="ns")

    async def byte(self, value: int) -> None:
        dut = self.dut
        dut.i__valid.value, dut.i__payload.value = 1, value
        taken = False
        while not taken:
            await Timer(1, unit="ns")
            taken = str(dut.i__ready.value) == "1"
            await self.clock()
        dut.i__valid.value = 0

    async def wait(self, name: str, level: int) -> None:
        """Run the chip until a pin shows ``level``, and some random time more."""
        for _ in range(PATIENCE):
            if int(str(getattr(self.dut, name).value) == "1") == level:
                break
            await self.clock()
        else:
            raise AssertionError(f"{name} never becomes {level}")
        for _ in range(self.random.choice((0, 0, 1, 2, 7))):
            await self.clock()

    async def put(self, word: int) -> None:
        """One word of 16 bits towards the core."""
        for n in range(4):
            self.dut.spike_data.value = word >> 4 * n & 15
            self.dut.spike_req.value = 1
            await self.wait("spike_ack", 1)
            self.dut.spike_data.value, self.dut.spike_req.value = self.random.getrandbits(4), 0
            await self.wait("spike_ack", 0)

    async def get(self) -> tuple[int, int]:
        """One word of 32 bits from it: step and source."""
        word = 0
        for n in range(8):
            await self.wait("event_req", 1)
            word |= self.dut.event_data.value.to_unsigned() << 4 * n
            self.dut.event_ack.value = 1
            await self.wait("event_req", 0)
            self.dut.event_ack.value = 0
            await self.clock()
        return word & 0xFFFF, word >> 16


@cocotb.test()
async def closed_loop(dut):
    folder = Path(os.environ["LOOP_BENCH"])
    job = json.loads((folder / "job.json").read_text())
    board = Board(dut, job["seed"])
    for _ in range(2):
        await board.clock()
    dut.rst.value = 0
    for value in bytes.fromhex(job["load"]):
        await board.byte(value)
    dut.loop_n.value = 0
    for _ in range(4):
        await board.clock()
    result = {"inputs": [], "events": [], "marks": []}
    back, fed = job["back"], []
    for spikes in job["outside"]:
        sources = sorted({*spikes, *fed})
        result["inputs"].append(sources)
        for source in sources:
            await board.put(job["first"] + source)
        await board.put(MARK)
        fed = []
        while True:
            step, source = await board.get()
            if source == MARK:
                result["marks"].append(step)
                break
            result["events"].append((step, source))
            if back[source] >= 0:
                fed.append(back[source])
    (folder / "result.json").write_text(json.dumps(result))
