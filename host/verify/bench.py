"""Runs the stream testbench on Verilog files and turns what it found into a result or an error."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from neuroloom.boards.toolchain import ToolFailedError
from neuroloom.compiler.wire import Field, total_bits, total_bytes

from .result import first_difference, mismatch
from .simulators import SIMULATORS
from .stream_bench import JOB_VARIABLE

PORTS = ("clk", "rst", "i_valid", "i_ready", "i_data", "o_valid", "o_ready", "o_data")
"""Ports of every pipeline."""

GAP_SAMPLES = 256
"""Samples that are sent a second time with random gaps and back-pressure."""


@dataclass(frozen=True)
class Job:
    """What the testbench compares: packed samples and answers uint8[N, bytes], and the latency promised in clock cycles."""

    samples: np.ndarray
    answers: np.ndarray
    latency: int
    inputs: Sequence[Field]
    outputs: Sequence[Field]
    seed: int


def run_bench(rung: str, simulator: str, files: Mapping[str, str | Path], top: str, job: Job) -> int:
    """Run the job on module ``top`` of the Verilog ``files`` (texts or paths by name) and return the clock cycles simulated.

    Raises MismatchError with the first difference, MissingToolError, or ToolFailedError when a simulator fails.
    """
    with tempfile.TemporaryDirectory(prefix="neuroloom-bench-") as temporary:
        folder = Path(temporary)
        for name, content in files.items():
            text = content.read_text(encoding="utf-8") if isinstance(content, Path) else content
            (folder / name).write_text(text, encoding="utf-8")
        np.savez(folder / "job.npz", samples=job.samples, answers=job.answers)
        told = {
            "latency": job.latency,
            "seed": job.seed,
            "input_bits": total_bits(job.inputs),
            "gap_samples": GAP_SAMPLES,
        }
        (folder / "job.json").write_text(json.dumps(told), encoding="utf-8")
        SIMULATORS[simulator](
            *(list(files), top, "neuroloom.host.verify.stream_bench", folder),
            seed=job.seed,
            env={JOB_VARIABLE: str(folder)},
            ports=PORTS,
        )
        try:
            result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
        except OSError:
            tail = (folder / "run.log").read_text(encoding="utf-8").strip().splitlines()[-3:]
            raise ToolFailedError(f"{simulator} ended without a result: {' | '.join(tail)}") from None
    found = result["difference"]
    if found is None:
        return int(result["cycles"])
    where = f"port {found['port']} at cycle {found['cycle']}, {found['phase']}, latency {job.latency}"
    sample = found["sample"]
    difference = f"{found['port']} is {found['got']}, expected {found['want']}"
    if found["port"] == "o_data" and found["got"].startswith("0x"):
        size = total_bytes(job.outputs)
        want, got = (int(found[k], 16).to_bytes(size, "little") for k in ("want", "got"))
        difference = first_difference(job.outputs, want, got)
    raise mismatch(rung, simulator, difference, -1 if sample is None else sample, job.seed, where)
