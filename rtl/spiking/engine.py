"""The spiking core as an engine behind the link."""

from __future__ import annotations

import hashlib

from amaranth.hdl import Module, ResetInserter
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from neuroloom.compiler.spiking.core import CoreConfig

from .bytes import ByteEngine
from .cluster import Cluster
from .memories import POOL_FILE, POOL_VERILOG, RAM_FILE, RAM_VERILOG, ROWS_FILE, ROWS_VERILOG

RTL_VERSION = "2"
"""Raise it when programs written for the core before would not do the same on it."""


def model_hash(config: CoreConfig) -> bytes:
    """The 32 bytes that a device with this core states as its model."""
    return hashlib.sha256(b"neuroloom spiking core " + RTL_VERSION.encode() + config.to_bytes()).digest()


def frame_bytes(config: CoreConfig) -> int:
    """Size of the link's frame buffers beside a core: the boards of small cores have little block RAM."""
    return 512 if config.lanes <= 2 else 1024


def memory_files(config: CoreConfig) -> dict[str, str]:
    """Verilog files by name of the memories that a core instantiates."""
    pool = {ROWS_FILE: ROWS_VERILOG} if config.fast_learning else {POOL_FILE: POOL_VERILOG}
    return {**pool, RAM_FILE: RAM_VERILOG}


class SpikingEngine(wiring.Component):
    """A spiking core, or several, that take opcodes and give answers, see "Bytes of the engine" in ``docs/spiking-core.md``.

    Members
    -------
    i : ``In(stream.Signature(8))``
        Opcodes with their fields. S and D are taken at any time, the others wait until the core is idle.
    o : ``Out(stream.Signature(8))``
        Answers.
    reset : ``In(1)``
        Synchronous: the core stops, half an opcode and half an answer are forgotten; the memories stay as they are (send Z).

    Attributes
    ----------
    bytes_in, bytes_out : :class:`int`
        0: the core has no samples.
    frame_bytes : :class:`int`
        Size of the link's frame buffers that leaves enough block RAM for the core.
    extra_files : ``dict[str, str]``
        Verilog files by name that go with the component.
    """

    def __init__(self, config: CoreConfig) -> None:
        self.config = config
        self.bytes_in = self.bytes_out = 0
        self.frame_bytes = frame_bytes(config)
        self.extra_files = memory_files(config)
        super().__init__({"i": In(stream.Signature(8)), "o": Out(stream.Signature(8)), "reset": In(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        inner = Cluster(self.config) if self.config.cores > 1 else ByteEngine(self.config)
        m.submodules.bytes = ResetInserter(self.reset)(inner)
        wiring.connect(m, wiring.flipped(self.i), inner.i)
        wiring.connect(m, inner.o, wiring.flipped(self.o))
        return m
