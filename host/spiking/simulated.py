"""Spiking devices in this process: the core's opcodes over the Python model of the core, or over its RTL in a simulator."""

from __future__ import annotations

import struct
from typing import Protocol

import numpy as np
from neuroloom.compiler.spiking import layout
from neuroloom.compiler.spiking.cluster_model import ClusterModel
from neuroloom.compiler.spiking.core import SPIKE_WORD, CoreConfig, CoreProgram
from neuroloom.compiler.spiking.executor import CoreModel
from neuroloom.host.device import Device
from neuroloom.host.simulated import DeviceModel, SimulatedLine
from neuroloom.rtl.link.protocol import Identity, Status
from neuroloom.rtl.spiking.engine import model_hash

from .protocol import ALL, EVENT_BYTES, NO_EVENT, Control, Go, Space

STEPS_PER_LOOK = 8
"""Steps that the model does between two looks at it, so that hosts meet it while it runs."""


class ByteEngine(Protocol):
    """An engine of bytes: takes ``data``, gives ``count`` bytes, or None when it got no further."""

    def exchange(self, data: bytes, count: int) -> bytes | None:
        """Feed all of ``data`` while collecting the answer."""

    def reset(self) -> None:
        """What the link's RESET does."""


class StreamDevice(DeviceModel):
    """The protocol's device side with an engine of bytes behind it."""

    def __init__(self, identity: Identity, engine: ByteEngine, **link: int) -> None:
        self.bytes_engine = engine
        super().__init__(identity, lambda data: b"", reset=engine.reset, **link)

    def _run(self, payload: bytes, arg: int) -> tuple[int, bytes]:
        if arg > self.identity.max_payload:
            return Status.BAD_LENGTH, b""
        self.runs += 1
        answer = self.bytes_engine.exchange(payload, arg)
        if answer is None:
            self._count("engine_timeouts")
            self._reset_engine()
            return Status.ENGINE_TIMEOUT, b""
        return Status.OK, answer


def simulated_device(
    config: CoreConfig,
    engine: ByteEngine | None = None,
    *,
    board: str = "simulated",
    frame_bytes: int = 1024,
    timeout: float = 5.0,
) -> Device:
    """A device with a spiking core in this process; ``engine`` is the Python model of the core unless given."""
    identity = Identity("spiking", board, model_hash(config), 0, 0, 24_000_000)
    if engine is None:
        engine = ClusterEngine(config) if config.cores > 1 else ModelEngine(config)
    model = StreamDevice(identity, engine, frame_bytes=frame_bytes)
    return Device(SimulatedLine(model, "the simulated core"), timeout=timeout)


class ModelEngine:
    """The core's opcodes over :class:`~neuroloom.compiler.spiking.executor.CoreModel`.

    A run goes on with every look at the core, :data:`STEPS_PER_LOOK` steps at a time, and pauses while the FIFO has no room for
    what a step may fire. (A real core stalls inside the step.)
    """

    def __init__(self, config: CoreConfig) -> None:
        self.config = config
        self.program = np.zeros(config.program_words, np.uint32)
        self.core = CoreModel(CoreProgram(config, self.program, np.zeros((0, config.lanes), np.uint32)))
        self.staged = np.zeros(config.inputs, bool)
        self.reset()

    def reset(self) -> None:
        """Forget half an opcode, half an answer, and the run."""
        self.pending = self.given = b""
        self.left = self.flags = 0
        self.stopped = False

    @property
    def running(self) -> bool:
        """Whether steps of a run are left."""
        return self.left > 0

    def exchange(self, data: bytes, count: int) -> bytes | None:
        """Execute opcodes; None when one would have to wait for a core that waits for the host, or too little was asked."""
        out = self.execute(data)
        if out is None or len(self.given) + len(out) < count:
            return None
        out = self.given + out
        self.given = out[count:]
        return out[:count]

    def execute(self, data: bytes) -> bytes | None:
        """The answers to opcodes, some of which may be under way."""
        self.pending += data
        out = b""
        while self.pending:
            size = self._size()
            if size is None or len(self.pending) < size:
                break
            call, self.pending = self.pending[:size], self.pending[size:]
            if call[:1] not in b"SD":
                while self.running:
                    if not self._steps():
                        return None
            out += getattr(self, _OPCODES[call[:1]])(call[1:])
        return out

    def _size(self) -> int | None:
        """Bytes of the opcode that comes next, None when too few are here to tell."""
        head = self.pending
        if head[:1] == b"W":
            return 8 + int.from_bytes(head[6:8], "little") if len(head) >= 8 else None
        if head[:1] == b"I":
            return 2 + 2 * head[1] if len(head) >= 2 else None
        return {b"R": 8, b"G": 6, b"D": 3}.get(head[:1], 1)

    def _steps(self) -> bool:
        """Go on with the run; False when no step has room for its events."""
        for number in range(STEPS_PER_LOOK):
            if not self.left:
                break
            if not self.has_room():
                return number > 0
            self.core.run_step(self.staged, raster=self.raster)
            self.step_done(self.core.decided)
        return True

    @property
    def raster(self) -> bool:
        """Whether the run's inputs come from the raster."""
        return bool(self.flags & Go.RASTER)

    def has_room(self) -> bool:
        """Whether the events of a step have room."""
        return self.config.event_depth - len(self.core.events) >= self._most()

    def step_done(self, decided: bool) -> None:
        """Behind a step of the run."""
        self.staged = np.zeros(self.config.inputs, bool)
        self.left -= 1
        self.stopped = bool(self.flags & Go.STOP) and decided
        if self.stopped:
            self.left = 0

    def _most(self) -> int:
        """Events that a step may have, at most what the FIFO takes (the model cannot stop inside a step)."""
        watched = sum(f["neurons"] for _, f in self.core.commands if f.get("watch"))
        return min(watched, self.config.event_depth)

    # opcodes

    def _write(self, fields: bytes) -> bytes:
        space, address, _ = struct.unpack("<BIH", fields[:7])
        data = fields[7:]
        if space == Space.PROGRAM:
            self.program.view(np.uint8)[address : address + len(data)] = np.frombuffer(data, np.uint8)
        elif space == Space.POOL:
            self._pool()[address : address + len(data)] = np.frombuffer(data, np.uint8)
        elif space == Space.CONTROL:
            self._control(Control(address), int.from_bytes(data, "little"))
        return b""

    def _control(self, where: Control, value: int) -> None:
        if where == Control.REWARD:
            self.core.reward = (value & 255) - ((value & 128) << 1)
        elif where == Control.LFSR:
            self.core.lfsr = value
        else:
            self.core.position = value & 0xFFFF

    def _pool(self) -> np.ndarray:
        return self.core.pool.reshape(-1).view(np.uint8)

    def _read(self, fields: bytes) -> bytes:
        space, address, count = struct.unpack("<BIH", fields)
        if space == Space.PROGRAM:
            memory = self.program.tobytes()
        elif space == Space.POOL:
            memory = layout.pool_bytes(self.core.pool)
        elif space == Space.HIST:
            bits = self.core.history.reshape(self.config.slots, -1, SPIKE_WORD)
            memory = np.packbits(bits.transpose(1, 0, 2), axis=2, bitorder="little").tobytes()
        else:
            memory = struct.pack("<iIHH", self.core.reward, self.core.lfsr, self.core.position, 0)
        return memory[address : address + count].ljust(count, b"\0")

    def _go(self, fields: bytes) -> bytes:
        steps, self.flags = struct.unpack("<IB", fields)
        self.core.program = [int(w) for w in self.program]
        self.core.commands = self.core._decode()
        if not self.flags & Go.CONTINUE:
            self.core.step = 0
        self.left = steps
        return b""

    def _inject(self, fields: bytes) -> bytes:
        sources = np.frombuffer(fields[1:], "<u2").astype(np.int64) - self.config.neurons
        self.staged[sources] = True
        return b""

    def _status(self, fields: bytes) -> bytes:
        waits = self.running and not self._steps()
        core = self.core
        flags = self.running | waits << 1 | self.stopped << 2 | core.decided << 3
        at = core.at if core.decided else 0
        counters = struct.pack("<IIIIHH", core.step, core.cycles & 0xFFFFFFFF, 0, at, core.winner, 0)
        return struct.pack("<BBH", flags, core.saturated, len(core.events)) + counters

    def _drain(self, fields: bytes) -> bytes:
        count = int.from_bytes(fields, "little")
        taken, self.core.events = self.core.events[:count], self.core.events[count:]
        data = b"".join(struct.pack("<HH", *event) for event in taken)
        return data + NO_EVENT.to_bytes(EVENT_BYTES, "little") * (count - len(taken))

    def _zero(self, fields: bytes) -> bytes:
        self.core.clear()
        self.staged[:] = False
        return b""

    def _query(self, fields: bytes) -> bytes:
        return self.config.to_bytes()


class ClusterEngine:
    """Several cores over :class:`~neuroloom.compiler.spiking.cluster_model.ClusterModel`: envelopes of opcodes, and joint steps."""

    def __init__(self, config: CoreConfig) -> None:
        self.members = [_Member(config, self) for _ in range(config.cores)]
        self.model = ClusterModel([member.core for member in self.members])
        self.reset()

    def reset(self) -> None:
        """Forget half an envelope, half an answer, and the run."""
        self.pending = self.given = b""
        for member in self.members:
            member.reset()

    def exchange(self, data: bytes, count: int) -> bytes | None:
        """Pass on the opcodes of envelopes; None when one would have to wait for cores that wait for the host."""
        self.pending += data
        out = self.given
        while self.pending:
            head, number, size = self.pending[:1], 0, 1
            if head == b"C":
                if len(self.pending) < 4:
                    break
                number, size = self.pending[1], int.from_bytes(self.pending[2:4], "little")
                if len(self.pending) < 4 + size:
                    break
                inner, self.pending = self.pending[4 : 4 + size], self.pending[4 + size :]
            else:
                inner, self.pending = (head if head == b"Q" else b""), self.pending[1:]
            answers = [m.execute(inner) for k, m in enumerate(self.members) if number in (k, ALL)]
            if None in answers:
                return None
            out += (answers or [b""])[0] or b""
        if len(out) < count:
            return None
        self.given = out[count:]
        return out[:count]

    def steps(self) -> bool:
        """Go on with the run of all cores; False when a step's events have no room."""
        for number in range(STEPS_PER_LOOK):
            if not self.members[0].left:
                break
            if not all(member.has_room() for member in self.members):
                return number > 0
            self.model.run_step([member.staged for member in self.members], raster=self.members[0].raster)
            for member in self.members:
                member.step_done(self.model.decided)
        return True


class _Member(ModelEngine):
    """One of several cores: it steps with the others."""

    def __init__(self, config: CoreConfig, cluster: ClusterEngine) -> None:
        super().__init__(config)
        self.cluster = cluster

    def _steps(self) -> bool:
        return self.cluster.steps()


_OPCODES = {
    b"W": "_write",
    b"R": "_read",
    b"G": "_go",
    b"I": "_inject",
    b"S": "_status",
    b"D": "_drain",
    b"Z": "_zero",
    b"Q": "_query",
}
