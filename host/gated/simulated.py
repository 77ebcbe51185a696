"""Gated devices in this process: the engine's commands over the compiler's model of it, or over its RTL in a simulator."""

from __future__ import annotations

import numpy as np
from neuroloom.compiler.gated.commands import HEADER_BYTES, Command, Memory
from neuroloom.compiler.gated.core import GatedConfig
from neuroloom.compiler.gated.executor import Executor
from neuroloom.compiler.gated.program import Program
from neuroloom.compiler.ir import Graph
from neuroloom.compiler.wire import sample_fields, total_bytes
from neuroloom.host.device import Device
from neuroloom.host.simulated import SimulatedLine
from neuroloom.host.spiking.simulated import ByteEngine, StreamDevice
from neuroloom.rtl.link.protocol import Identity


class ModelEngine:
    """The engine's commands over the compiler's model of it: memories as they were loaded, and a run of whatever is in them.

    Samples have ``sample_bytes``, which the hardware learns from its program.
    """

    def __init__(self, config: GatedConfig, sample_bytes: int) -> None:
        self._config, self._sample_bytes = config, sample_bytes
        self._words: dict[int, int] = {}
        self._tables: dict[int, int] = {}
        self._weights = np.zeros((config.weight_rows, config.lanes), np.int64)
        self._vector = np.zeros(1 << 16, np.int64)
        self._executor: Executor | None = None
        self._cycles = 0
        self._given = bytearray()
        self._pending = bytearray()

    def exchange(self, data: bytes, count: int) -> bytes | None:
        """Take bytes and give the answer's next ``count``; None when there are not so many."""
        self._pending += data
        while self._command():
            pass
        if len(self._given) < count:
            return None
        answer = bytes(self._given[:count])
        del self._given[:count]
        return answer

    def reset(self) -> None:
        """Half a command and half an answer are forgotten."""
        self._pending.clear()
        self._given.clear()

    def _command(self) -> bool:
        """Carry out the next command, if all of it is there."""
        if not self._pending:
            return False
        command, data = self._pending[0], bytes(self._pending)
        if command in (Command.RUN, Command.RUN_FRESH):
            end = 1 + self._sample_bytes
            if len(data) < end:
                return False
            self._run(data[1:end], command == Command.RUN_FRESH)
        elif command in (Command.LOAD, Command.READ):
            if len(data) < HEADER_BYTES:
                return False
            memory = Memory(data[1])
            first, number = (int.from_bytes(data[at : at + 2], "little") for at in (3, 5))
            size = self._config.word_bytes[memory]
            end = HEADER_BYTES + (number * size if command == Command.LOAD else 0)
            if len(data) < end:
                return False
            body = data[HEADER_BYTES:end]
            if command == Command.LOAD:
                words = [int.from_bytes(body[n * size : (n + 1) * size], "little") for n in range(number)]
                self._store(memory, first, words)
            else:
                mask = (1 << self._config.word) - 1
                words = [int(w) & mask for w in self._memory[first : first + number]]
                self._given += b"".join(word.to_bytes(size, "little") for word in words)
        else:
            end = 1
            if command == Command.CYCLES:
                self._given += self._cycles.to_bytes(4, "little")
        del self._pending[:end]
        return True

    @property
    def _memory(self) -> np.ndarray:
        return self._vector if self._executor is None else self._executor.memory

    def _store(self, memory: Memory, first: int, words: list[int]) -> None:
        c = self._config
        if memory == Memory.VECTOR:
            self._memory[first : first + len(words)] = [_signed(w, c.word) for w in words]
            return
        self._vector, self._executor = self._memory, None  # what is run is put together anew
        if memory == Memory.PROGRAM:
            self._words.update(zip(range(first, first + len(words)), words, strict=True))
        elif memory == Memory.TABLES:
            self._tables.update((first + n, _signed(w, c.word)) for n, w in enumerate(words))
        else:
            for n, word in enumerate(words):
                row, column = divmod(first * c.columns + n, c.columns)
                for lane in range(c.column):
                    value = word >> lane * c.weight & (1 << c.weight) - 1
                    self._weights[row, column * c.column + lane] = _signed(value, c.weight)

    def _run(self, sample: bytes, fresh: bool) -> None:
        if self._executor is None:
            words = tuple(self._words.get(n, 0) for n in range(max(self._words, default=-1) + 1))
            tables = tuple(self._tables.get(n, 0) for n in range(max(self._tables, default=-1) + 1))
            self._executor = Executor(Program(self._config, words, self._weights, tables, {}, (), 0, (0, 0)))
            self._executor.memory = self._vector
        run = self._executor.run(sample, fresh=fresh)
        self._cycles = run.cycles
        self._given += run.answer


def _signed(value: int, bits: int) -> int:
    return value - (1 << bits) if value >> bits - 1 & 1 else value


def model_device(graph: Graph, config: GatedConfig, *, board: str = "simulated") -> Device:
    """A device in this process whose engine is the compiler's model, for samples of this graph."""
    return simulated_device(config, ModelEngine(config, total_bytes(sample_fields(graph))), board=board)


def simulated_device(
    config: GatedConfig,
    engine: ByteEngine,
    *,
    board: str = "simulated",
    frame_bytes: int = 1024,
    timeout: float = 600.0,
) -> Device:
    """A device with this engine behind its link."""
    identity = Identity("gated", board, config.hash(), 0, 0, 24_000_000)
    return Device(SimulatedLine(StreamDevice(identity, engine, frame_bytes=frame_bytes)), timeout=timeout)
