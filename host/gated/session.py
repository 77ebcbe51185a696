"""A gated engine on a device: load a network, run it, read its states."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from neuroloom.compiler.errors import DeviceError
from neuroloom.compiler.gated.commands import Command, Memory, header
from neuroloom.compiler.gated.core import GatedConfig
from neuroloom.compiler.gated.program import Program, compile_program
from neuroloom.compiler.ir import Graph
from neuroloom.compiler.wire import answer_fields, pack_samples, total_bytes, unpack_answers
from neuroloom.host.device import Device
from neuroloom.rtl.flash.network import Start
from neuroloom.sim.inputs import prepare

from .loading import load_commands, stamp_at, stamp_words

Progress = Callable[[int, int], None]

CYCLES_BYTES = 4
"""Bytes of a CYCLES answer."""

BATCH = 64
"""Runs that are put into the queue at once."""


class GatedDevice:
    """A session with a gated engine behind an open :class:`~neuroloom.host.device.Device`.

    Raises DeviceError unless the device has the engine ``config``. Attributes: ``program``, what was loaded; ``facts``, what
    :meth:`run` measured: ``cycles`` of every run, without those of the streams.
    """

    def __init__(self, device: Device, config: GatedConfig) -> None:
        identity = device.identity
        if identity.engine != "gated" or identity.model_hash != config.hash():
            raise DeviceError(
                f"the device on {device.name} must have the gated engine {config.profile!r} of {config.lanes} lanes, but it has "
                f"another ({identity.engine} engine, {identity.model_hash.hex()[:12]}); build that engine and flash it"
            )
        self.device, self.config = device, config
        self.graph: Graph | None = None
        self.program: Program | None = None
        self.facts: dict[str, Any] = {}
        self._begun = False

    def call(self, data: bytes, answer: int = 0) -> bytes:
        """Send a command and return its answer; raises DeviceError."""
        return self.device.stream([(data, answer)])

    # ------------------------------------------------------------------ loading

    def _read(self, address: int, words: int) -> bytes:
        return self.call(
            header(Command.READ, Memory.VECTOR, address, words), words * self.config.word_bytes[Memory.VECTOR]
        )

    def has(self, graph: Graph) -> bool:
        """Whether this network is loaded already."""
        program = compile_program(graph, self.config)
        if self._read(*stamp_at(self.config)) != stamp_words(program):
            return False
        start = self.device.network()
        if start == Start.CHANGED:  # it was loaded from the flash, and not as it stood there
            return False
        self.graph, self.program = graph, program
        self._begun = start != Start.LOADED or not program.keeps_sums  # else its banks may not be filled yet
        return True

    def load(self, graph: Graph, *, check: bool = True) -> Program:
        """Load program, weights, tables and constants; raises DoesNotFitError, UnsupportedError, or DeviceError.

        ``check`` reads back what can be read, the vector memory.
        """
        program, self._begun = compile_program(graph, self.config), False
        content, seal = load_commands(program)
        self.device.stream([(command, 0) for command in content])
        if check:
            for memory, address, data, count in program.loads():
                if memory == Memory.VECTOR and self._read(address, count) != data:
                    raise DeviceError(
                        f"the vector memory on {self.device.name} must hold what was written at word {address}, but does not"
                    )
        self.call(seal)
        self.graph, self.program = graph, program
        return program

    # ------------------------------------------------------------------ running

    def run(
        self, inputs: Mapping[str, np.ndarray] | np.ndarray, *, progress: Progress | None = None
    ) -> dict[str, np.ndarray]:
        """Run samples on the loaded network: outputs by name, int64 [N, ...] or [N, T, ...]. Raises DeviceError."""
        if self.graph is None:
            raise DeviceError(f"a network must be loaded into the engine on {self.device.name} first")
        graph = self.graph
        arrays = prepare(graph, inputs)
        count = len(next(iter(arrays.values())))
        steps = next(iter(arrays.values())).shape[1] if graph.clocked else 1
        self._begun = True
        flat = {k: v.reshape(count * steps, *v.shape[2:]) if graph.clocked else v for k, v in arrays.items()}
        packed = pack_samples(graph, flat)
        size = total_bytes(answer_fields(graph))
        answers = np.zeros((count * steps, size), np.uint8)
        cycles = np.zeros(count * steps, np.int64)
        for at in range(0, count * steps, BATCH):
            number = min(BATCH, count * steps - at)
            requests: list[tuple[bytes, int]] = []
            for place in range(at, at + number):
                command = Command.RUN if place % steps else Command.RUN_FRESH
                requests.append((bytes([command]) + packed[place].tobytes(), size))
                requests.append((bytes([Command.CYCLES]), CYCLES_BYTES))
            data = np.frombuffer(self.device.stream(requests), np.uint8).reshape(number, size + CYCLES_BYTES)
            answers[at : at + number] = data[:, :size]
            cycles[at : at + number] = np.ascontiguousarray(data[:, size:]).view("<u4")[:, 0]
            if progress:
                progress((at + number) // steps, count)
        outputs = unpack_answers(graph, answers)
        self.facts = {"cycles": cycles.reshape(count, steps) if graph.clocked else cycles}
        if graph.clocked:
            outputs = {k: v.reshape(count, steps, *v.shape[1:]) for k, v in outputs.items()}
        return outputs

    def step(self, inputs: Mapping[str, np.ndarray] | np.ndarray, *, fresh: bool = False) -> dict[str, np.ndarray]:
        """One run on inputs without samples' and steps' axes, and its outputs by name, as soon as they are there.

        A clocked network goes on from its states, which stay on the device; ``fresh`` resets them first, and so does the first
        run after :meth:`load`, which also fills the banks of delta layers. For loops that make the
        next input of the last output. Raises DeviceError.
        """
        if self.graph is None:
            raise DeviceError(f"a network must be loaded into the engine on {self.device.name} first")
        lead = (None, None) if self.graph.clocked else (None,)
        named = inputs if isinstance(inputs, Mapping) else {self.graph.inputs[0].name: inputs}
        arrays = prepare(self.graph, {name: np.asarray(value)[lead] for name, value in named.items()})
        packed = pack_samples(self.graph, {k: v.reshape(1, *v.shape[len(lead) :]) for k, v in arrays.items()})
        command = Command.RUN_FRESH if fresh or not self._begun else Command.RUN
        self._begun = True
        answer = self.call(bytes([command]) + packed[0].tobytes(), total_bytes(answer_fields(self.graph)))
        outputs = unpack_answers(self.graph, np.frombuffer(answer, np.uint8)[None])
        return {name: values[0] for name, values in outputs.items()}
