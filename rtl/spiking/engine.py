"""The spiking core as an engine behind the link."""

from __future__ import annotations

import hashlib

from amaranth.hdl import Module, Mux, ResetInserter, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from neuroloom.compiler.spiking.core import CoreConfig
from neuroloom.rtl.copies import COPIES_FILE, COPIES_VERILOG
from neuroloom.rtl.link.protocol import Buffers

from .bytes import ByteEngine
from .cluster import Cluster
from .learn_serial import REGISTERS_FILE, registers_verilog
from .memories import POOL_FILE, POOL_VERILOG, RAM_FILE, RAM_VERILOG, ROWS_FILE, ROWS_VERILOG

RTL_VERSION = "2"
LARGE_VERSION = "3"
"""Of cores of one lane or two, and of more. Raise it when programs written for the core before would not do the same on it."""


def model_hash(config: CoreConfig) -> bytes:
    """The 32 bytes that a device with this core states as its model."""
    version = LARGE_VERSION if config.large else RTL_VERSION
    return hashlib.sha256(b"neuroloom spiking core " + version.encode() + config.to_bytes()).digest()


def buffers(config: CoreConfig) -> Buffers:
    """The link's frame buffers beside a core: small boards have little block RAM and logic, none left beside a long history."""
    if config.lanes > 2:
        return Buffers()
    return Buffers(256 if config.sources * config.slots > 1 << 16 else 512, 2)


def memory_files(config: CoreConfig) -> dict[str, str]:
    """Verilog files by name of the memories that a core instantiates."""
    pool = {ROWS_FILE: ROWS_VERILOG, COPIES_FILE: COPIES_VERILOG} if config.large else {POOL_FILE: POOL_VERILOG}
    registers = {REGISTERS_FILE: registers_verilog(config)} if config.serial_learning else {}
    return {**pool, RAM_FILE: RAM_VERILOG, **registers}


class Slice(wiring.Component):
    """A stream of bytes through registers, so that neither side's logic hangs on the other's; a byte takes one cycle more."""

    def __init__(self) -> None:
        super().__init__({"i": In(stream.Signature(8)), "o": Out(stream.Signature(8))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        waits, spare = Signal(), Signal(8, reset_less=True)  # the byte behind the one that is offered
        m.d.comb += self.i.ready.eq(~waits)
        with m.If(~self.o.valid | self.o.ready):
            m.d.sync += [self.o.valid.eq(waits | self.i.valid), waits.eq(0)]
            m.d.sync += self.o.payload.eq(Mux(waits, spare, self.i.payload))
        with m.Elif(self.i.valid & ~waits):
            m.d.sync += [waits.eq(1), spare.eq(self.i.payload)]
        return m


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
    buffers : :class:`Buffers`
        The link's frame buffers that leave enough block RAM for the core.
    extra_files : ``dict[str, str]``
        Verilog files by name that go with the component.
    """

    def __init__(self, config: CoreConfig) -> None:
        self.config = config
        self.bytes_in = self.bytes_out = 0
        self.buffers = buffers(config)
        self.extra_files = memory_files(config)
        super().__init__({"i": In(stream.Signature(8)), "o": Out(stream.Signature(8)), "reset": In(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        inner = Cluster(self.config) if self.config.cores > 1 else ByteEngine(self.config)
        m.submodules.bytes = ResetInserter(self.reset)(inner)
        if self.config.large:
            m.submodules.slice_i = slice_i = ResetInserter(self.reset)(Slice())
            m.submodules.slice_o = slice_o = ResetInserter(self.reset)(Slice())
            wiring.connect(m, wiring.flipped(self.i), slice_i.i)
            wiring.connect(m, slice_i.o, inner.i)
            wiring.connect(m, inner.o, slice_o.i)
            wiring.connect(m, slice_o.o, wiring.flipped(self.o))
        else:
            wiring.connect(m, wiring.flipped(self.i), inner.i)
            wiring.connect(m, inner.o, wiring.flipped(self.o))
        return m
