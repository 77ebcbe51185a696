"""cocotb testbench of a component with byte streams i and o and a reset: bytes of samples in, bytes of answers out."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

import cocotb
from cocotb.triggers import Timer


class Line:
    """Clocks the design and moves bytes."""

    def __init__(self, dut, seed: int) -> None:
        self.dut, self.random, self.cycle = dut, random.Random(seed), 0

    async def clock(self, byte: int | None, ready: bool, reset: bool = False, rst: bool = False):
        """One cycle offering ``byte``; returns (taken, byte that came out or None)."""
        dut = self.dut
        dut.rst.value, dut.reset.value = int(rst), int(reset)
        dut.i__valid.value, dut.o__ready.value = int(byte is not None), int(ready)
        dut.i__payload.value = self.random.getrandbits(8) if byte is None else byte
        await Timer(4, unit="ns")
        taken = byte is not None and str(dut.i__ready.value) == "1"
        out = dut.o__payload.value.to_unsigned() if str(dut.o__valid.value) == "1" and ready else None
        dut.clk.value = 1
        await Timer(5, unit="ns")
        dut.clk.value = 0
        await Timer(1, unit="ns")
        self.cycle += 1
        return taken, out


async def transfer(line: Line, data: bytes, count: int, rate_in: float, rate_out: float) -> bytes:
    """Send ``data`` and receive ``count`` bytes; gives up after a while without a byte."""
    sent, got, idle = 0, bytearray(), 0
    while (len(got) < count or sent < len(data)) and idle < 2000:
        offer = sent < len(data) and line.random.random() < rate_in
        taken, out = await line.clock(data[sent] if offer else None, line.random.random() < rate_out)
        sent += taken
        if out is not None:
            got.append(out)
        idle = 0 if taken or out is not None else idle + 1
    return bytes(got)


@cocotb.test()
async def byte_streams(dut):
    folder = Path(os.environ["BYTE_BENCH"])
    job = json.loads((folder / "job.json").read_text())
    samples, answers = [bytes(s) for s in job["samples"]], [bytes(a) for a in job["answers"]]
    line, result = Line(dut, job["seed"]), {}
    dut.clk.value = 0
    for _ in range(2):
        await line.clock(None, True, rst=True)
    joined, wanted = b"".join(samples), b"".join(answers)

    got = await transfer(line, joined, len(wanted), 1.0, 1.0)
    result["full speed"] = got == wanted
    for name, rate_in, rate_out in (("slow reader", 1.0, 0.02), ("slow writer", 0.1, 1.0), ("both", 0.5, 0.5)):
        result[name] = await transfer(line, joined, len(wanted), rate_in, rate_out) == wanted

    # latency: last byte taken at one edge, first byte of the answer to be taken so many edges later
    for byte in samples[0]:
        assert (await line.clock(byte, True))[0]
    waited, out = 0, None
    while out is None and waited < 1000:
        waited += 1
        _, out = await line.clock(None, True)
    result["latency"] = waited
    await transfer(line, b"", len(answers[0]) - 1, 0, 1.0)

    # reset in mid-sample, in mid-flight and in mid-answer: the next sample is answered as if nothing had been
    fine = True
    for cut in (1, len(samples[0]) - 1, len(samples[0])):
        for later in (0, 1, 2, waited, waited + 1):
            for byte in samples[1][:cut]:
                await line.clock(byte, True)
            for _ in range(later):
                await line.clock(None, False)
            await line.clock(None, False, reset=True)
            fine &= await transfer(line, samples[2], len(answers[2]), 1.0, 1.0) == answers[2]
    result["reset"] = fine
    (folder / "result.json").write_text(json.dumps(result))
