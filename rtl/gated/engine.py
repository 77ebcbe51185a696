"""The gated engine behind the link: it takes commands and samples as bytes."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, ResetInserter, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from neuroloom.compiler.gated.commands import Command, Memory
from neuroloom.compiler.gated.core import PROGRAM_COLUMN, GatedConfig
from neuroloom.compiler.gated.isa import WORD_BITS
from neuroloom.rtl.link.protocol import Buffers
from neuroloom.rtl.resets import behind_a_register

from .core import GatedCore
from .memories import memory_files
from .slice import Slice


class GatedEngine(wiring.Component):
    """A core that takes the commands of :mod:`neuroloom.compiler.gated.commands`.

    Members
    -------
    i : ``In(stream.Signature(8))``
        Commands with their fields and data.
    o : ``Out(stream.Signature(8))``
        Answers.
    reset : ``In(1)``
        Synchronous: the core stops, half a command and half an answer are forgotten; the memories stay as they are.

    Attributes
    ----------
    bytes_in, bytes_out : :class:`int`
        0: samples are as long as the loaded program says.
    buffers : :class:`Buffers`
        The link's frame buffers that leave enough block RAM for the engine.
    standalone_buffers : :class:`Buffers`
        Those that leave logic cells for a starter, too (each one takes some 15).
    extra_files : ``dict[str, str]``
        Verilog files by name that go with the component.
    """

    def __init__(self, config: GatedConfig) -> None:
        self.config = config
        self.bytes_in = self.bytes_out = 0
        few = Buffers(256, 2) if config.spram else Buffers(registered=config.deep)
        # as many as the tables leave block RAM for: with 3,072 words all of it is taken, and streams of long answers wait
        self.buffers = Buffers(256, 4) if config.spram and config.table_words <= 2048 else few
        self.standalone_buffers = few
        self.extra_files = memory_files(config)
        super().__init__({"i": In(stream.Signature(8)), "o": Out(stream.Signature(8)), "reset": In(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        # of a deep engine about a thousand registers, all over the chip; no byte comes with the reset
        again = behind_a_register(m, self.reset) if self.config.deep else ResetInserter(self.reset)
        m.submodules.bytes = inner = again(_Bytes(self.config))
        given, answered = inner.i, inner.o
        if self.config.deep:  # the link's memory and logic are far away
            m.submodules.given, m.submodules.answered = before, behind = again(Slice()), again(Slice())
            wiring.connect(m, before.o, inner.i)
            wiring.connect(m, inner.o, behind.i)
            given, answered = before.i, behind.o
        wiring.connect(m, wiring.flipped(self.i), given)
        wiring.connect(m, answered, wiring.flipped(self.o))
        return m


class _Bytes(wiring.Component):
    """The commands."""

    def __init__(self, config: GatedConfig) -> None:
        self.config = config
        super().__init__({"i": In(stream.Signature(8)), "o": Out(stream.Signature(8))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        c = self.config
        m.submodules.core = core = GatedCore(c)
        command, memory = Signal(8, reset_less=True), Signal(2, reset_less=True)
        header = Signal(40, reset_less=True)  # column, address, count, as they come
        column, address, count = header[0:8], header[8:24], header[24:40]
        wanted = Signal(4, reset_less=True)
        data = Signal(c.load_bits, reset_less=True)
        shifted = Signal(c.load_bits)
        m.d.comb += shifted.eq(Cat(data[8:], self.i.payload))
        sizes = (PROGRAM_COLUMN // 8, *c.word_bytes[1:])  # words of the program are stored column by column
        size, last_column, last_program = Signal(4), Signal(), Signal()
        word = Signal(c.load_bits)
        with m.Switch(memory):
            for each in Memory:
                with m.Case(each):
                    m.d.comb += [size.eq(sizes[each]), word.eq(data[c.load_bits - 8 * sizes[each] :])]
        m.d.comb += [
            last_program.eq((memory != Memory.PROGRAM) | (column == WORD_BITS // PROGRAM_COLUMN - 1)),
            last_column.eq(last_program & ((memory != Memory.WEIGHTS) | (column == c.columns - 1))),
            core.load_addr.eq(address),
            core.load_column.eq(column),
            core.load_data.eq(word),
        ]

        def next_word() -> None:
            m.d.sync += [address.eq(address + last_column), count.eq(count - last_program)]
            m.d.sync += column.eq(Mux(last_column, 0, column + 1))

        waited = Signal(3)
        answer = Signal(32, reset_less=True)
        with m.FSM():
            with m.State("COMMAND"):
                m.d.comb += self.i.ready.eq(1)
                m.d.sync += [command.eq(self.i.payload), wanted.eq(0), waited.eq(0)]
                with m.If(self.i.valid):
                    with m.Switch(self.i.payload):
                        with m.Case(Command.LOAD, Command.READ):
                            m.next = "HEADER"
                        with m.Case(Command.RUN, Command.RUN_FRESH):
                            m.next = "BEGIN"
                        with m.Case(Command.CYCLES):
                            m.d.sync += [answer.eq(core.cycles), wanted.eq(4)]
                            m.next = "ANSWER"
            with m.State("HEADER"):  # memory, column, address, count: six bytes
                m.d.comb += self.i.ready.eq(1)
                with m.If(self.i.valid):
                    m.d.sync += [header.eq(Cat(header[8:], self.i.payload)), wanted.eq(wanted + 1)]
                    with m.If(wanted == 0):
                        m.d.sync += memory.eq(self.i.payload)
                    with m.If(wanted == 5):
                        m.d.sync += wanted.eq(0)
                        m.next = "NEXT"
            with m.State("NEXT"):
                with m.If(count == 0):
                    m.next = "COMMAND"
                with m.Elif(command == Command.LOAD):
                    m.next = "BYTES"
                with m.Else():
                    m.next = "PEEK"
            with m.State("BYTES"):
                m.d.comb += self.i.ready.eq(1)
                with m.If(self.i.valid):
                    m.d.sync += [data.eq(shifted), wanted.eq(wanted + 1)]
                    with m.If(wanted == size - 1):
                        m.next = "STORE"
            with m.State("STORE"):
                m.d.sync += wanted.eq(0)
                for each in Memory:
                    m.d.comb += core.load[each].eq(memory == each)
                next_word()
                m.next = "NEXT"
            with m.State("PEEK"):  # the vector memory, whatever memory is named
                m.d.comb += core.peek.eq(1)
                m.d.sync += waited.eq(waited + 1)
                with m.If(waited == (7 if c.deep else 3)):
                    m.d.sync += [answer.eq(core.peeked), wanted.eq(sizes[Memory.VECTOR]), waited.eq(0)]
                    next_word()
                    m.next = "ANSWER"
            with m.State("ANSWER"):
                m.d.comb += [self.o.valid.eq(1), self.o.payload.eq(answer[:8])]
                with m.If(self.o.ready):
                    m.d.sync += [answer.eq(answer >> 8), wanted.eq(wanted - 1)]
                    with m.If(wanted == 1):
                        m.next = "AGAIN"
            with m.State("AGAIN"):
                m.d.sync += wanted.eq(0)
                with m.If(command == Command.READ):
                    m.next = "NEXT"
                with m.Else():
                    m.next = "COMMAND"
            with m.State("BEGIN"):
                m.d.comb += [core.begin.eq(1), core.entry.eq(command == Command.RUN_FRESH)]
                m.next = "RUN"
            with m.State("RUN"):
                m.d.comb += [
                    core.i.valid.eq(self.i.valid),
                    core.i.payload.eq(self.i.payload),
                    self.i.ready.eq(core.i.ready),
                    self.o.valid.eq(core.o.valid),
                    self.o.payload.eq(core.o.payload),
                    core.o.ready.eq(self.o.ready),
                ]
                m.d.sync += waited.eq(1)
                with m.If((waited == 1) & ~core.running):
                    m.d.sync += waited.eq(0)
                    m.next = "COMMAND"
        return m
