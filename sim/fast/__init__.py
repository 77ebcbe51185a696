"""The bit-packed engine: 512 samples per instruction, the same bits as the reference interpreter."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue

import numpy as np
from neuroloom.compiler.ir import Graph
from neuroloom.sim.inputs import check

from .kernel import SCRATCH_ROWS, run_samples
from .program import Program, compile_program
from .vm import BLOCK, WORDS

__all__ = ["BLOCK", "Engine", "Program", "compile_program"]

SPAN = 16 * BLOCK
"""Samples per call of the compiled loop: what is copied (inputs that are not bytes) stays this small."""


class Engine:
    """A graph compiled for the virtual machine.

    Memory per thread is one row of 64 bytes per live wire plus the outputs; samples are worked on in blocks of 512, so
    batches of any size run in bounded memory. Raises UnsupportedError for graphs with state or operations without gates.
    """

    def __init__(self, graph: Graph, *, probes: Sequence[str] = ()) -> None:
        self.graph = graph
        self.program = compile_program(graph, tuple(probes))

    def describe(self) -> str:
        """What runs, in half a sentence."""
        return f"{self.program.gates:,} three-input gates per sample"

    def run(
        self,
        inputs: Mapping[str, np.ndarray] | np.ndarray,
        *,
        threads: int = 1,
        progress: Callable[[int, int], None] | None = None,
    ) -> dict[str, np.ndarray]:
        """Outputs (and probes) as int64[N, *shape], equal to the reference interpreter's.

        ``progress(done, total)`` is called in the calling thread with sample counts, every 8,192 samples.
        """
        arrays = check(self.graph, inputs)
        count = len(next(iter(arrays.values())))
        flat = [arrays[i.name].reshape(count, -1) for i in self.graph.inputs]
        decoder = self.program.decoder
        out = np.empty((count, decoder.elements), np.int64)
        parts = [slice(start, min(start + SPAN, count)) for start in range(0, count, SPAN)]
        machines: SimpleQueue[_Machine] = SimpleQueue()
        for _ in range(max(1, min(threads, len(parts)))):
            machines.put(_Machine(self.program))

        def work(part: slice) -> int:
            machine = machines.get()
            machine.run([x[part] for x in flat], out[part])
            machines.put(machine)
            return part.stop - part.start

        done = 0
        with ThreadPoolExecutor(machines.qsize()) as pool:
            finished: Iterator[int] = map(work, parts) if machines.qsize() == 1 else pool.map(work, parts)
            for samples in finished:
                done += samples
                if progress:
                    progress(done, count)
        return {
            name: out[:, first : first + int(np.prod(shape))].reshape(count, *shape)
            for name, shape, first in decoder.outputs
        }


class _Machine:
    """One thread's memory."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.memory = _rows(program.memory_rows)
        self.scratch = _rows(SCRATCH_ROWS)

    def run(self, inputs: Sequence[np.ndarray], out: np.ndarray) -> None:
        """Run samples [n, elements of an input] into ``out`` int64[n, elements of the outputs]."""
        p, e, d = self.program, self.program.encoder, self.program.decoder
        run_samples(
            e.bytes_of(inputs),
            (e.thresholds, e.rows, e.tile_planes),
            (p.kinds, p.starts, p.code),
            (d.bit_rows, d.inverted, d.word, d.shift, d.width, d.signed),
            self.memory,
            self.scratch,
            out,
        )


def _rows(count: int) -> np.ndarray:
    """Zeroed rows uint64[count, WORDS], each one cache line: unaligned, every access would touch two."""
    raw = np.zeros((count + 1) * WORDS, np.uint64)
    skip = (-raw.ctypes.data // 8) % WORDS
    return raw[skip : skip + count * WORDS].reshape(count, WORDS)
