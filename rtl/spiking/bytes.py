"""The opcodes of the core, byte by byte."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import enum, stream, wiring
from amaranth.lib.wiring import In, Out
from neuroloom.compiler.spiking.core import CoreConfig

from .core import BYTE_CYCLES, Core
from .joins import Space
from .ports import several_members


class Code(enum.Enum, shape=3):  # type: ignore[call-arg]
    """Opcodes as the engine keeps them."""

    WRITE = 0
    READ = 1
    GO = 2
    INJECT = 3
    STATUS = 4
    DRAIN = 5
    ZERO = 6
    QUERY = 7


LETTERS = {
    "W": Code.WRITE,
    "R": Code.READ,
    "G": Code.GO,
    "I": Code.INJECT,
    "S": Code.STATUS,
    "D": Code.DRAIN,
    "Z": Code.ZERO,
    "Q": Code.QUERY,
}
WHILE_RUNNING = (Code.STATUS, Code.DRAIN)
GO_ON = 4
"""The flags of G with bit 2: step numbers go on."""
STATUS_BYTES = 24
RECORD_BYTES = 32


class ByteEngine(wiring.Component):
    """Takes opcodes, works the core, gives answers. A byte that is no opcode is dropped.

    Parameters
    ----------
    ports : whether spikes, steps and events also have streams of their own, see :mod:`.component`

    Members
    -------
    i, o : ``In(stream.Signature(8))``, ``Out(stream.Signature(8))``
    spike : ``In(stream.Signature(16))``, source of a spike for the next step; others than the core's are dropped
    advance : ``In(stream.Signature(16))``, so many steps; taken when no spike is offered
    event : ``Out(stream.Signature(32))``, step in the low half, source in the high half, while ``event_enable``
    event_enable : ``In(1)``, events go to ``event`` and ``D`` finds none
    step : ``Out(16)``, number of the next step, of its low bits
    idle : ``Out(1)``, no opcode and no step is under way, and no event waits; the members from ``spike`` on with ``ports`` only
    between : ``Out(1)``, no opcode is under way; ``stalled``, ``decided`` : ``Out(1)``; these, and those of
        :func:`.ports.several_members`, when there are several cores
    """

    def __init__(self, config: CoreConfig, *, ports: bool = False) -> None:
        self._config, self._ports = config, ports
        members = {"i": In(stream.Signature(8)), "o": Out(stream.Signature(8)), **several_members(config)}
        if config.cores > 1:
            members |= {"between": Out(1), "stalled": Out(1), "decided": Out(1)}
        if ports:
            members |= {
                "spike": In(stream.Signature(16)),
                "advance": In(stream.Signature(16)),
                "event": Out(stream.Signature(32)),
                "event_enable": In(1),
                "step": Out(16),
                "idle": Out(1),
            }
        super().__init__(members)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self._config
        m.submodules.core = core = Core(config)

        code = Signal(Code, reset_less=True)
        tag = Signal(8, reset_less=True)  # space, or flags of a run
        address = Signal(32, reset_less=True)  # or steps
        count = Signal(16, reset_less=True)
        data = Signal(32, reset_less=True)  # bytes come in at the top
        empty = Signal(reset_less=True)  # no event waited
        at = Signal(5, reset_less=True)  # byte of a field, of a record
        byte = self.i.payload
        taken = Signal()
        m.d.comb += taken.eq(self.i.valid & self.i.ready)

        m.d.comb += [
            core.steps.eq(address),
            core.raster.eq(tag[0]),
            core.stop.eq(tag[1]),
            core.restart.eq(~tag[2]),
            core.space.eq(tag),
            core.address.eq(address),
            core.data_w.eq(data),
            core.stage_word.eq(data[20:]),
        ]
        units_of_2 = tag[:2] == Space.HIST
        status = Cat(
            ~core.idle, core.stalled, core.stopped, core.decided, Const(0, 4), core.saturated, Const(0, 4), core.events,
            core.step, core.cycles, core.stalls, core.decided_at, core.winner, Const(0, 16),
        )  # fmt: skip
        record = Const(int.from_bytes(self._config.to_bytes(), "little"), 8 * RECORD_BYTES)

        def offer(value: Value) -> Value:
            m.d.comb += [self.o.valid.eq(1), self.o.payload.eq(value)]
            return self.o.ready

        onward = Signal(3)  # one adder moves the address; more bits than the largest space needs never change
        largest = max(4 * config.lanes * config.pool_words, 4 * config.program_words, 2 << core.sweep_bits)
        moving = Signal((largest - 1).bit_length())
        m.d.comb += moving.eq(address[: len(moving)] + onward)
        with m.If(onward != 0):
            m.d.sync += address[: len(moving)].eq(moving)

        event: Value = core.event
        if config.large:  # which stands since the last cycle: the byte chosen from it is far from the memory
            event = Signal(32, name="oldest", reset_less=True)
            m.d.sync += event.eq(core.event)
        no_event: Value = core.events == 0
        if self._ports:
            no_event = no_event | self.event_enable

        with m.FSM(name="bytes") as fsm:
            with m.State("OPCODE"):
                m.d.comb += self.i.ready.eq(1)
                m.d.sync += at.eq(0)
                with m.If(self.i.valid):
                    with m.Switch(byte):
                        for letter, value in LETTERS.items():
                            with m.Case(ord(letter)):
                                m.d.sync += code.eq(value)
                                m.next = "BEGIN"
                if self._ports:
                    with m.Elif(core.idle & self.spike.valid):  # as I with one source
                        m.d.comb += self.spike.ready.eq(1)
                        m.d.sync += [data.eq(Cat(Const(0, 16), self.spike.payload)), count.eq(1)]
                        with m.If(self.spike.payload < config.sources):
                            m.next = "STAGE"
                    with m.Elif(core.idle & self.advance.valid):  # as G that goes on
                        m.d.comb += self.advance.ready.eq(1)
                        m.d.sync += [address.eq(self.advance.payload), tag.eq(GO_ON), code.eq(Code.GO)]
                        m.next = "CHECK"
            with m.State("BEGIN"):
                # What is needed while a run goes on must not be overwritten: `address` and `tag` are the core's then.
                with m.Switch(code):
                    with m.Case(*WHILE_RUNNING):
                        m.next = "FIELDS"
                        with m.If(code == Code.STATUS):
                            m.next = "STATUS"
                    with m.Default():
                        with m.If(core.idle):
                            m.next = "FIELDS"
                            with m.If(code == Code.ZERO):
                                m.d.sync += address.eq(0)
                                m.next = "SWEEP"
                            with m.If(code == Code.QUERY):
                                m.next = "QUERY"

            with m.State("FIELDS"):
                # W, R: tag, address, count; G: address, tag; I: count (one byte); D: count.
                first = Signal(4)
                last = Signal(4)
                m.d.comb += [first.eq(0), last.eq(6)]
                with m.Switch(code):
                    with m.Case(Code.GO):
                        m.d.comb += [first.eq(1), last.eq(5)]
                    with m.Case(Code.INJECT, Code.DRAIN):
                        m.d.comb += first.eq(5)
                with m.If(code == Code.INJECT):
                    m.d.comb += last.eq(5)
                field = Signal(4)
                m.d.comb += [field.eq(at + first), self.i.ready.eq(1)]
                with m.If(self.i.valid):
                    m.d.sync += at.eq(at + 1)
                    with m.Switch(field):
                        with m.Case(1, 2, 3, 4):
                            m.d.sync += address.eq(Cat(address[8:], byte))
                        with m.Case(5):
                            m.d.sync += count.eq(byte)
                        with m.Case(6):
                            m.d.sync += count[8:].eq(byte)
                    with m.If((field == 0) | ((field == 5) & (code == Code.GO))):
                        m.d.sync += tag.eq(byte)
                    with m.If(field == last):
                        m.d.sync += at.eq(0)
                        m.next = "CHECK"
            with m.State("CHECK"):
                m.d.sync += at.eq(0)
                with m.If(code == Code.GO):
                    m.d.comb += core.run.eq(address != 0)
                    m.next = "OPCODE"
                with m.Elif(count == 0):
                    m.next = "OPCODE"
                with m.Else():
                    with m.Switch(code):
                        with m.Case(Code.WRITE):
                            m.next = "COLLECT"
                        with m.Case(Code.READ):
                            m.next = "READ"
                        with m.Case(Code.INJECT):
                            m.next = "SOURCE"
                        with m.Default():
                            m.next = "EVENT"

            with m.State("COLLECT"):
                m.d.comb += self.i.ready.eq(1)
                if config.large:  # what stands beside the 32 bits is written again
                    m.d.comb += core.access.eq(1)
                with m.If(taken):
                    m.d.sync += [data.eq(Cat(data[8:], byte)), at.eq(at + 1), count.eq(count - 1)]
                    with m.If((at[:2] == 3) | (units_of_2 & at[0])):
                        m.next = "STORE"
            with m.State("STORE"):
                m.d.comb += [core.access.eq(1), core.write.eq(1), onward.eq(Mux(units_of_2, 2, 4))]
                m.next = "COLLECT"
                with m.If(count == 0):
                    m.next = "OPCODE"

            with m.State("READ"):
                m.d.comb += core.access.eq(1)
                m.next = f"WAIT{BYTE_CYCLES - 1}" if config.large else "KEEP"
            if config.large:
                for left in range(BYTE_CYCLES - 1, 0, -1):
                    with m.State(f"WAIT{left}"):
                        m.d.comb += core.access.eq(1)
                        m.next = f"WAIT{left - 1}" if left > 1 else "KEEP"
            shown = Signal(8, reset_less=True)  # a byte of a memory comes late, and the link's checksum hangs on it
            with m.State("KEEP"):
                m.d.comb += core.access.eq(1)
                m.d.sync += shown.eq(core.byte_r)
                m.next = "SHOW"
            with m.State("SHOW"):
                m.d.comb += core.access.eq(1)
                with m.If(offer(shown)):
                    m.d.comb += onward.eq(1)
                    m.d.sync += count.eq(count - 1)
                    m.next = "READ"
                    with m.If(count == 1):
                        m.next = "OPCODE"

            with m.State("SOURCE"):
                m.d.comb += [self.i.ready.eq(1), core.stage.eq(1)]
                with m.If(taken):
                    m.d.sync += [data.eq(Cat(data[8:], byte)), at.eq(at + 1)]
                    with m.If(at[0]):
                        m.next = "STAGE"
            with m.State("STAGE"):
                m.d.comb += core.stage.eq(1)
                m.next = "STAGED"
            with m.State("STAGED"):
                m.d.comb += [
                    core.stage.eq(1),
                    core.stage_write.eq(1),
                    core.stage_data_w.eq(core.stage_data_r | (Const(1, 16) << data[16:20])),
                ]
                m.d.sync += count.eq(count - 1)
                m.next = "SOURCE"
                with m.If(count == 1):
                    m.next = "OPCODE"

            with m.State("STATUS"):
                with m.If(offer(status.word_select(at, 8))):
                    m.d.sync += at.eq(at + 1)
                    with m.If(at == STATUS_BYTES - 1):
                        m.next = "OPCODE"
            with m.State("QUERY"):
                with m.If(offer(record.word_select(at, 8))):
                    m.d.sync += at.eq(at + 1)
                    with m.If(at == RECORD_BYTES - 1):
                        m.next = "OPCODE"

            with m.State("EVENT"):
                # Whether there is an event is decided before its first byte; it stays the oldest one until its last byte.
                m.d.sync += empty.eq(no_event)
                m.next = "SEND"
            with m.State("SEND"):
                with m.If(offer(event.word_select(at[:2], 8) | empty.replicate(8))):
                    m.d.sync += at.eq(at + 1)
                    with m.If(at[:2] == 3):
                        m.d.comb += core.event_next.eq(~empty)
                        m.d.sync += count.eq(count - 1)
                        m.next = "TURN"
                        with m.If(count == 1):
                            m.next = "OPCODE"
            with m.State("TURN"):  # the next event comes up, and the number of them
                m.next = "TURNED"
            with m.State("TURNED"):
                m.next = "EVENT"

            with m.State("SWEEP"):
                m.d.comb += [core.sweep.eq(1), onward.eq(1)]
                with m.If(address[: core.sweep_bits].all()):
                    m.d.comb += core.reset_run.eq(1)
                    m.next = "OPCODE"
        if config.cores > 1:
            m.d.comb += [
                *(self.between.eq(fsm.ongoing("OPCODE")), self.stalled.eq(core.stalled), self.decided.eq(core.decided)),
                *(
                    self.waits.eq(core.waits),
                    self.word_o.eq(core.word_o),
                    core.go.eq(self.go),
                    core.word_i.eq(self.word_i),
                ),
                *(core.any_stalled.eq(self.any_stalled), core.any_decided.eq(self.any_decided)),
            ]
        if self._ports:
            self._events(m, core, fsm.ongoing("OPCODE"))
        return m

    def _events(self, m: Module, core: Core, between: Value) -> None:
        """The stream of events, one in two cycles at most, and ``idle``."""
        turn, rested = Signal(), Signal()  # the next event comes up; the core was idle a cycle ago
        m.d.comb += [
            self.event.valid.eq(self.event_enable & (core.events != 0) & ~turn),
            self.event.payload.eq(core.event),
            self.step.eq(core.step),
            self.idle.eq(between & core.idle & rested & ((core.events == 0) | ~self.event_enable) & ~turn),
        ]
        m.d.sync += [turn.eq(self.event.valid & self.event.ready), rested.eq(core.idle)]
        with m.If(self.event.valid & self.event.ready):
            m.d.comb += core.event_next.eq(1)
