"""The bit-packed engine: 512 samples per instruction, the same bits as the reference interpreter."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from neuroloom.compiler.ir import Graph
from neuroloom.sim.inputs import check

from .program import Encoder, Program, compile_program
from .vm import BLOCK, WORDS, decode, encode_bytes, run_block

__all__ = ["BLOCK", "Engine", "Program", "compile_program"]


class Engine:
    """A graph compiled for the virtual machine.

    Memory per thread is one row of 64 bytes per live wire plus the outputs; samples are worked on in blocks of 512, so
    batches of any size run in bounded memory. Raises UnsupportedError for graphs with state or operations without gates.
    """

    def __init__(self, graph: Graph, *, probes: Sequence[str] = ()) -> None:
        self.graph = graph
        self.program = compile_program(graph, tuple(probes))

    def run(
        self,
        inputs: Mapping[str, np.ndarray] | np.ndarray,
        *,
        threads: int = 1,
        progress: Callable[[int, int], None] | None = None,
    ) -> dict[str, np.ndarray]:
        """Outputs (and probes) as int64[N, *shape], equal to the reference interpreter's.

        ``progress(done, total)`` is called with sample counts about ten times a second's worth of work.
        """
        arrays = check(self.graph, inputs)
        count = len(next(iter(arrays.values())))
        flat = [arrays[e.name].reshape(count, -1) for e in self.program.encoders]
        outs = [np.empty((count, len(d.rows)), np.int64) for d in self.program.decoders]
        span = 16 * BLOCK
        parts = [(start, min(start + span, count)) for start in range(0, count, span)]
        done = 0
        if threads <= 1 or len(parts) == 1:
            machine = _Machine(self.program)
            for start, stop in parts:
                machine.run([x[start:stop] for x in flat], [o[start:stop] for o in outs])
                done = stop
                if progress:
                    progress(done, count)
        else:
            machines = [_Machine(self.program) for _ in range(threads)]

            def work(number: int) -> None:
                for start, stop in parts[number::threads]:
                    machines[number].run([x[start:stop] for x in flat], [o[start:stop] for o in outs])

            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(work, range(threads)))
            if progress:
                progress(count, count)
        return {d.name: o.reshape(count, *d.shape) for d, o in zip(self.program.decoders, outs, strict=True)}


class _Machine:
    """One thread's memory."""

    def __init__(self, program: Program) -> None:
        self.program = program
        # A row is one cache line: unaligned, every access would touch two.
        raw = np.zeros(program.memory_rows * WORDS + WORDS, np.uint64)
        skip = (-raw.ctypes.data // 8) % WORDS
        self.memory = raw[skip : skip + program.memory_rows * WORDS].reshape(program.memory_rows, WORDS)
        self.scratch = np.zeros((64, WORDS), np.uint64)

    def run(self, inputs: Sequence[np.ndarray], outs: Sequence[np.ndarray]) -> None:
        """Run samples [n, F] block by block into ``outs`` [n, elements]."""
        p = self.program
        for start in range(0, len(inputs[0]), BLOCK):
            stop = min(start + BLOCK, len(inputs[0]))
            for encoder, x in zip(p.encoders, inputs, strict=True):
                _encode(self.memory, encoder, x[start:stop], self.scratch)
            run_block(self.memory, p.kinds, p.starts, p.dst, p.a, p.b, p.c)
            for decoder, out in zip(p.decoders, outs, strict=True):
                for element in range(len(decoder.rows)):
                    decode(
                        self.memory,
                        decoder.rows[element],
                        decoder.inverted[element],
                        decoder.signed,
                        out[start:stop, element],
                    )


def _encode(memory: np.ndarray, encoder: Encoder, x: np.ndarray, scratch: np.ndarray) -> None:
    """Enter one block of an input's integers into the machine's rows."""
    padded = encoder.rows.shape[1] if len(encoder.rows) else 0
    if not padded:
        return
    if not encoder.wide:
        encode_bytes(memory, _as_bytes(x, encoder.lo, padded), encoder.thresholds, encoder.rows, scratch)
        return
    offset = x.astype(np.int64) - encoder.lo
    for p in range(len(encoder.rows)):
        plane = _as_bytes(offset >> p & 1, 0, padded)
        encode_bytes(memory, plane, encoder.thresholds[p : p + 1], encoder.rows[p : p + 1], scratch)


def _as_bytes(x: np.ndarray, lo: int, padded: int) -> np.ndarray:
    """x - lo as uint8[n, padded], without a copy where the array is already that."""
    if lo:
        x = x.astype(np.int64) - lo
    if x.dtype == np.uint8 and x.shape[1] == padded and x.flags.c_contiguous:
        return x
    out = np.zeros((len(x), padded), np.uint8)
    out[:, : x.shape[1]] = x
    return out
