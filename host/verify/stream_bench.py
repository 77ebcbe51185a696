"""The cocotb testbench of a pipeline with stream ports; runs inside the simulator, told what to do by a job file.

It keeps its own model of the valid bits and compares every port at every clock edge: answers bit for bit, and
``o_valid`` and ``i_ready`` cycle for cycle.
"""

from __future__ import annotations

import json
import os
import random
from pathlib import Path
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import Timer

JOB_VARIABLE = "NEUROLOOM_BENCH_JOB"
"""Environment variable with the folder of job.npz, job.json and result.json."""


class Difference(Exception):
    """The first difference found; ``args[0]`` is what goes to result.json."""


class Bench:
    """Drives the ports of one design and compares them with the model."""

    def __init__(self, dut: Any, latency: int, samples: list[int], answers: list[int], width: int, seed: int) -> None:
        self.dut, self.samples, self.answers = dut, samples, answers
        self.width = width
        self.random = random.Random(seed)
        self.pipe: list[int | None] = [None] * latency
        self.cycle = 0
        self.phase = ""

    async def clock(
        self, *, take: int | None, ready: bool, reset: bool = False, check: bool = True
    ) -> tuple[bool, int | None]:
        """One clock cycle offering sample ``take`` (None: none, garbage on the data); returns (taken, answer handed over)."""
        dut = self.dut
        dut.rst.value = int(reset)
        dut.i_valid.value = int(take is not None)
        dut.i_data.value = self.random.getrandbits(self.width) if take is None else self.samples[take]
        dut.o_ready.value = int(ready)
        await Timer(4, unit="ns")
        last = self.pipe[-1]
        moves = last is None or ready
        if check:
            self.compare("o_valid", str(dut.o_valid.value), str(int(last is not None)), last)
            self.compare("i_ready", str(dut.i_ready.value), str(int(moves)), last)
            if last is not None:
                self.compare_answer(last)
        dut.clk.value = 1
        await Timer(5, unit="ns")
        dut.clk.value = 0
        await Timer(1, unit="ns")
        self.cycle += 1
        if reset:
            self.pipe = [None] * len(self.pipe)
            return False, None
        if moves:
            self.pipe = [take, *self.pipe[:-1]]
        return moves and take is not None, last if ready else None

    def compare(self, port: str, got: str, want: str, sample: int | None) -> None:
        """One control port."""
        if got != want:
            raise Difference(self.report(port, sample, want=want, got=got))

    def compare_answer(self, sample: int) -> None:
        """The answer shown."""
        value = self.dut.o_data.value
        try:
            got = value.to_unsigned()
        except ValueError:
            raise Difference(self.report("o_data", sample, want=hex(self.answers[sample]), got=str(value))) from None
        if got != self.answers[sample]:
            raise Difference(self.report("o_data", sample, want=hex(self.answers[sample]), got=hex(got)))

    def report(self, port: str, sample: int | None, **both: str) -> dict[str, Any]:
        """What result.json tells of a difference."""
        return {"port": port, "sample": sample, "cycle": self.cycle, "phase": self.phase, **both}

    async def reset(self) -> None:
        """Two cycles of reset; the ports are unknown before."""
        for _ in range(2):
            await self.clock(take=None, ready=True, reset=True, check=False)

    async def stream(self) -> None:
        """Every sample back to back: exactly one per clock, exactly the latency promised."""
        self.phase = "back to back"
        count = len(self.samples)
        for number in range(count):
            taken, _ = await self.clock(take=number, ready=True)
            assert taken  # the model's own property: nothing stalls here
        for _ in range(len(self.pipe) + 2):
            await self.clock(take=None, ready=True)

    async def gaps(self, count: int) -> None:
        """The first ``count`` samples with random gaps and random back-pressure, in bursts and single cycles."""
        self.phase = "gaps and back-pressure"
        sent, done, rate_in, rate_out = 0, 0, 0.5, 0.5
        while done < count:
            if self.random.random() < 0.05:
                rate_in, rate_out = (
                    self.random.choice([0.05, 0.5, 0.95, 1.0]),
                    self.random.choice([0.05, 0.5, 0.95, 1.0]),
                )
            offer = sent < count and self.random.random() < rate_in
            taken, answer = await self.clock(take=sent if offer else None, ready=self.random.random() < rate_out)
            sent += taken
            done += answer is not None

    async def resets(self, count: int) -> None:
        """Reset with samples on their way: none of them may come out."""
        self.phase = "reset on the way"
        for _ in range(3):
            for number in range(min(count, self.random.randint(1, len(self.pipe) + 1))):
                await self.clock(take=number, ready=True)
            await self.clock(take=None, ready=False, reset=True)
            for _ in range(self.random.randint(0, len(self.pipe) + 1)):
                await self.clock(take=None, ready=True)


def _integers(rows: np.ndarray) -> list[int]:
    return [int.from_bytes(row.tobytes(), "little") for row in rows]


@cocotb.test()
async def stream_ports(dut: Any) -> None:
    """Run all phases of the job and write result.json."""
    folder = Path(os.environ[JOB_VARIABLE])
    job = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    arrays = np.load(folder / "job.npz")
    samples, answers = _integers(arrays["samples"]), _integers(arrays["answers"])
    bench = Bench(dut, job["latency"], samples, answers, job["input_bits"], job["seed"])
    dut.clk.value = 0
    difference = None
    try:
        await bench.reset()
        await bench.stream()
        await bench.gaps(min(len(samples), job["gap_samples"]))
        await bench.resets(len(samples))
        await bench.stream()
    except Difference as e:
        difference = e.args[0]
    result = {"difference": difference, "cycles": bench.cycle}
    (folder / "result.json").write_text(json.dumps(result), encoding="utf-8")
