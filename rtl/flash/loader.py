"""The golden image's engine: takes the loader's opcodes, works on the flash, and boots slots.

What it promises: golden's own bytes are never erased or programmed; a slot is booted only after its image's CRC-32 was found
right and, unless the image is known to be good, after the attempt was written down. The flash's own protection of golden is set
before anything else, where the chip has one (:mod:`.protection`).
"""

from __future__ import annotations

from collections.abc import Callable

from amaranth.hdl import Cat, Const, Module, ResetInserter, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from neuroloom.rtl.link.crc import SerialCrc32
from neuroloom.rtl.link.protocol import CRC_RESIDUE

from .layout import ERASED, FLAGS, LABEL_BYTES, LABEL_MAGIC, OPCODES, PAGE_BYTES, STATUS_AT, Layout
from .nor import NorMaster
from .protection import ENABLE, WRITE, protection

WAKE_SECONDS = 50e-6
"""After command 0xAB; the slowest usual tRES1 is 35 us."""

BUSY_SECONDS = 4.0
"""A flash that stays busy longer is given up: erasing a block takes up to 2 s by the W25Q128JV's data sheet."""

ANSWER_SECONDS = 0.02
"""Between BOOT's answer and the boot, so that it reaches the host at any baud rate from 9,600 on."""

START_SECONDS = 1.0
"""What a host has to say its first word after power-up before golden boots a slot by itself."""

PINS = {"flash_sck": Out(1), "flash_cs_n": Out(1, init=1), "flash_mosi": Out(1), "flash_miso": In(1)}
MEMBERS = {
    "i": In(stream.Signature(8)),
    "o": Out(stream.Signature(8)),
    "warmboot": Out(1),
    "warmboot_image": Out(2),
    **PINS,
}

CODE = {opcode.name: opcode.code for opcode in OPCODES}
FIELD_BYTES = {opcode.code: sum(size for _, size in opcode.fields) for opcode in OPCODES}


class Loader(wiring.Component):
    """The engine, as :class:`LoaderCore`, with a reset.

    Members
    -------
    reset : In(1), forgets the opcode under way; the flash's own work goes on and is waited for. A boot that was answered takes
        place all the same.
    """

    def __init__(self, layout: Layout, clock_hz: int, start_seconds: float = START_SECONDS) -> None:
        self._core = LoaderCore(layout, clock_hz, start_seconds)
        self.bytes_in = self.bytes_out = 0
        self.pins = dict(PINS)
        self.silence_seconds = 1.5 * BUSY_SECONDS
        super().__init__({**MEMBERS, "reset": In(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.core = ResetInserter(self.reset & ~self._core.leaving)(self._core)
        wiring.connect(m, wiring.flipped(self.i), self._core.i)
        wiring.connect(m, self._core.o, wiring.flipped(self.o))
        m.d.comb += self._core.host.eq(self.reset)
        for name, member in {**PINS, "warmboot": Out(1), "warmboot_image": Out(2)}.items():
            inside, outside = getattr(self._core, name), getattr(self, name)
            m.d.comb += inside.eq(outside) if member.flow is In else outside.eq(inside)
        return m


class LoaderCore(wiring.Component):
    """The engine proper.

    Parameters
    ----------
    layout : :class:`~.layout.Layout`
    clock_hz : clock of the ``sync`` domain; the waits above are counted in it.
    start_seconds : see :data:`START_SECONDS`

    Members
    -------
    i, o : streams of bytes, see :data:`~.layout.OPCODES`
    host : In(1), strobe: a host is there, nothing is booted by itself any more
    flash_sck, flash_cs_n, flash_mosi : Out(1), ``flash_miso``: In(1)
    warmboot : Out(1), boot ``warmboot_image`` Out(2) now
    leaving : Out(1), a boot was answered or takes place
    """

    def __init__(self, layout: Layout, clock_hz: int, start_seconds: float = START_SECONDS) -> None:
        self._start_seconds = start_seconds
        self._layout = layout
        self._clock_hz = clock_hz
        super().__init__({**MEMBERS, "host": In(1), "leaving": Out(1)})

    def _cycles(self, seconds: float) -> int:
        return max(1, round(self._clock_hz * seconds))

    def _writable(self, address: Value) -> Value:
        """Whether an address lies in a slot."""
        return (address >= self._layout.golden_bytes) & (address < self._layout.end)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        layout, shield = self._layout, protection(self._layout)
        m.submodules.nor = nor = NorMaster()
        m.submodules.crc = crc = SerialCrc32()
        m.d.comb += [
            self.flash_sck.eq(nor.sck),
            self.flash_cs_n.eq(nor.cs_n),
            self.flash_mosi.eq(nor.mosi),
            nor.miso.eq(self.flash_miso),
        ]

        opcode, fields, fields_at, fields_left = Signal(8), Signal(48), Signal(3), Signal(3)
        address, count, kind = fields[:24], fields[24:48], fields[24]
        result, slot = Signal(8), Signal(2)
        booting, written = Signal(), Signal()
        starting = Signal(init=1, reset_less=True)  # after a reset by the host there is one
        timer = Signal(range(2 * self._cycles(BUSY_SECONDS)))
        answer, answer_left = Signal(8 * 16), Signal(5)
        status = Signal(8)
        label = Signal(8 * (LABEL_BYTES + len(FLAGS)))
        label_left = Signal(range(LABEL_BYTES + len(FLAGS) + 1))
        flag = {name: label[8 * (LABEL_BYTES + at) :][:8] for at, name in enumerate(FLAGS)}
        length, wanted_crc = label[32:56], label[64:96]
        slot_at = Signal(24)
        m.d.comb += slot_at.eq(layout.golden_bytes - layout.slot_bytes + slot * layout.slot_bytes)

        def wait(seconds: float, then: str) -> None:
            """Go on at ``then`` after some time; ``timer`` must stand at 0 and is left there."""
            m.d.sync += timer.eq(timer + 1)
            with m.If(timer == self._cycles(seconds)):
                m.d.sync += timer.eq(0)
                m.next = then

        def command(code: int, at: Value | None = None, *, dummy: bool = False, count: Value | int = 0) -> None:
            """Begin a transaction."""
            m.d.comb += [
                nor.start.eq(1),
                nor.header.eq(Cat(Const(0, 8), (Const(0, 24) if at is None else at)[:24], Const(code, 8))),
                nor.header_bytes.eq(1 if at is None else 5 if dummy else 4),
                nor.count.eq(count),
            ]

        def reply(value: Value, size: int) -> None:
            m.d.sync += [answer.eq(value), answer_left.eq(size)]
            m.next = "ANSWER"

        def read_into(take: Callable[[], None], then: str) -> None:
            """Take every byte of the transaction under way."""
            m.d.comb += nor.r.ready.eq(~crc.busy)
            with m.If(nor.r.valid & nor.r.ready):
                take()
            with m.If(~nor.busy & ~crc.busy):
                m.next = then

        def into_crc() -> None:
            m.d.comb += [crc.start.eq(1), crc.data.eq(nor.r.payload)]

        def into_label() -> None:
            m.d.sync += label.eq(Cat(label[8:], nor.r.payload))

        with m.If(self.host):
            m.d.sync += starting.eq(0)
        with m.FSM(name="loader", init="WAKE") as fsm:
            m.d.comb += self.leaving.eq(fsm.ongoing("SEE_OFF") | fsm.ongoing("BOOT"))
            with m.State("WAKE"):
                m.d.sync += timer.eq(0)
                with m.If(~nor.busy):
                    command(0xAB)
                    m.next = "WOKEN"
            with m.State("WOKEN"):
                with m.If(~nor.busy):
                    wait(WAKE_SECONDS, "IDLE" if shield is None else "WHO")
            if shield is not None:
                chips, protected = shield
                with m.State("WHO"):
                    command(0x9F, count=3)
                    m.next = "KNOWN"
                with m.State("KNOWN"):
                    read_into(into_label, "SHIELD")
                with m.State("SHIELD"):
                    m.next = "IDLE"
                    with m.If(Cat(label[-24:] == int.from_bytes(chip, "little") for chip in chips).any()):
                        command(ENABLE)
                        m.next = "PROTECT"
                with m.State("PROTECT"):
                    with m.If(~nor.busy):
                        command(WRITE, count=1)
                        m.d.comb += nor.write.eq(1)
                        m.next = "PROTECT_BYTE"
                with m.State("PROTECT_BYTE"):
                    m.d.comb += [nor.w.valid.eq(1), nor.w.payload.eq(protected)]
                    with m.If(~nor.busy):
                        m.next = "IDLE"

            with m.State("IDLE"):
                m.d.sync += [result.eq(0), booting.eq(0)]
                m.d.comb += self.i.ready.eq(1)
                with m.If(self.i.valid):
                    m.d.sync += [opcode.eq(self.i.payload), fields_at.eq(0), starting.eq(0), timer.eq(0), slot.eq(0)]
                    m.next = "FIELDS"
                    with m.Switch(self.i.payload):
                        for code, size in FIELD_BYTES.items():
                            with m.Case(code):
                                m.d.sync += fields_left.eq(size)
                        with m.Default():
                            m.next = "IDLE"
                with m.Elif(starting):
                    wait(self._start_seconds, "NEXT_SLOT")
            with m.State("FIELDS"):
                with m.If(fields_left == 0):
                    m.next = "POLL"
                with m.Else():
                    m.d.comb += self.i.ready.eq(1)
                    with m.If(self.i.valid):
                        m.d.sync += [fields_left.eq(fields_left - 1), fields_at.eq(fields_at + 1)]
                        m.d.sync += fields.word_select(fields_at, 8).eq(self.i.payload)

            # every opcode waits until the flash is not busy; erasing and programming come here once more at their end
            with m.State("POLL"):
                with m.If(~nor.busy):
                    command(0x05, count=1)
                    m.next = "POLLED"
            with m.State("POLLED"):
                m.d.comb += nor.r.ready.eq(1)
                m.d.sync += timer.eq(timer + 1)
                with m.If(nor.r.valid):
                    m.d.sync += status.eq(nor.r.payload)
                with m.If(~nor.busy):
                    m.next = "POLL"
                    with m.If(~status[0]):
                        m.d.sync += timer.eq(0)
                        m.next = "ACT"
                    with m.Elif(timer >= self._cycles(BUSY_SECONDS)):
                        m.d.sync += [timer.eq(0), result.eq(2)]
                        m.next = "RESULT"

            with m.State("ACT"):
                with m.If(booting):  # the attempt is written down
                    m.next = "LEAVE"
                with m.Elif(written):  # erased or programmed
                    m.next = "RESULT"
                with m.Else():
                    with m.Switch(opcode):
                        with m.Case(CODE["MAP"]):
                            known = Const(int.from_bytes(layout.to_bytes(), "little"), 128)
                            reply(Cat(known[: 8 * STATUS_AT], status, known[8 * STATUS_AT + 8 :]), 16)
                        with m.Case(CODE["JEDEC"]):
                            command(0x9F, count=3)
                            m.next = "SEND"
                        with m.Case(CODE["SFDP"]):
                            command(0x5A, address, dummy=True, count=count)
                            m.next = "SEND"
                        with m.Case(CODE["READ"]):
                            command(0x03, address, count=count)
                            m.next = "SEND"
                        with m.Case(CODE["CRC"]):
                            m.d.comb += crc.clear.eq(1)
                            command(0x03, address, count=count)
                            m.next = "SUM"
                        with m.Case(CODE["ERASE"], CODE["PROGRAM"]):
                            with m.If(self._writable(address)):
                                command(0x06)
                                m.next = "WRITE"
                            with m.Else():
                                m.d.sync += result.eq(1)
                                m.next = "REFUSE"
                        with m.Case(CODE["BOOT"]):
                            m.d.sync += slot.eq(fields[:2])
                            m.next = "LABEL"
                            with m.If((fields[:8] == 0) | (fields[:8] > layout.slots)):
                                m.d.sync += result.eq(1)
                                m.next = "RESULT"

            with m.State("SEND"):
                m.d.comb += [
                    self.o.payload.eq(nor.r.payload),
                    self.o.valid.eq(nor.r.valid),
                    nor.r.ready.eq(self.o.ready),
                ]
                with m.If(~nor.busy):
                    m.next = "IDLE"
            with m.State("SUM"):
                read_into(into_crc, "SUMMED")
            with m.State("SUMMED"):
                reply(crc.crc, 4)

            with m.State("WRITE"):
                with m.If(~nor.busy):
                    m.d.sync += written.eq(1)
                    with m.If(opcode == CODE["PROGRAM"]):
                        command(0x02, address, count=count[:16])
                        m.d.comb += nor.write.eq(1)
                        m.next = "FEED"
                    with m.Elif(kind):
                        command(0xD8, address)
                        m.next = "POLL"
                    with m.Else():
                        command(0x20, address)
                        m.next = "POLL"
            with m.State("FEED"):
                m.d.comb += [
                    nor.w.payload.eq(self.i.payload),
                    nor.w.valid.eq(self.i.valid),
                    self.i.ready.eq(nor.w.ready),
                ]
                with m.If(~nor.busy):
                    m.next = "POLL"
            with m.State("REFUSE"):  # its data must not be taken for opcodes
                with m.If((opcode == CODE["ERASE"]) | (count[:16] == 0)):
                    m.next = "RESULT"
                with m.Else():
                    m.d.comb += self.i.ready.eq(1)
                    with m.If(self.i.valid):
                        m.d.sync += count[:16].eq(count[:16] - 1)
            with m.State("RESULT"):
                m.d.sync += [written.eq(0), booting.eq(0)]
                with m.If(starting):
                    m.next = "NEXT_SLOT"
                with m.Else():
                    reply(result, 1)

            with m.State("NEXT_SLOT"):  # at power-up: the first slot that is to start
                m.d.sync += [slot.eq(slot + 1), result.eq(0), timer.eq(0)]
                m.next = "LABEL"
                with m.If(slot == layout.slots):
                    m.d.sync += starting.eq(0)
                    m.next = "IDLE"
            with m.State("LABEL"):
                with m.If(~nor.busy):
                    m.d.comb += crc.clear.eq(1)
                    m.d.sync += label_left.eq(0)
                    command(0x03, slot_at + (layout.slot_bytes - PAGE_BYTES), count=LABEL_BYTES + len(FLAGS))
                    m.next = "READ_LABEL"
            with m.State("READ_LABEL"):

                def take() -> None:
                    into_label()
                    m.d.sync += label_left.eq(label_left + 1)
                    with m.If(label_left < LABEL_BYTES):
                        into_crc()

                read_into(take, "CHECK_LABEL")
            with m.State("CHECK_LABEL"):
                right = (crc.crc == CRC_RESIDUE) & (label[:32] == int.from_bytes(LABEL_MAGIC, "little"))
                fits = (label[56:64] == 0) & (length <= layout.image_bytes)
                fresh = (flag["confirmed"] == 0) | (flag["attempted"] == ERASED)
                wished = (flag["start"] == 0) & (flag["held"] == ERASED) & fresh
                m.next = "IMAGE"
                with m.If(~(right & fits) | (starting & ~wished)):
                    m.d.sync += result.eq(3)
                    m.next = "RESULT"
            with m.State("IMAGE"):
                m.d.comb += crc.clear.eq(1)
                command(0x03, slot_at, count=length)
                m.next = "SUM_IMAGE"
            with m.State("SUM_IMAGE"):
                read_into(into_crc, "CHECK_IMAGE")
            with m.State("CHECK_IMAGE"):
                m.next = "LEAVE"
                with m.If(crc.crc != wanted_crc):
                    m.d.sync += result.eq(4)
                    m.next = "RESULT"
                with m.Elif((flag["confirmed"] != 0) & (flag["attempted"] != 0)):
                    m.d.sync += booting.eq(1)
                    command(0x06)
                    m.next = "JOURNAL"
            with m.State("JOURNAL"):
                with m.If(~nor.busy):
                    at = layout.slot_bytes - PAGE_BYTES + LABEL_BYTES + FLAGS.index("attempted")
                    command(0x02, slot_at + at, count=1)
                    m.d.comb += nor.write.eq(1)
                    m.next = "JOURNAL_BYTE"
            with m.State("JOURNAL_BYTE"):
                m.d.comb += nor.w.valid.eq(1)  # the byte is 0
                with m.If(~nor.busy):
                    m.next = "POLL"
            with m.State("LEAVE"):
                m.d.sync += booting.eq(1)
                with m.If(starting):
                    m.next = "BOOT"
                with m.Else():
                    reply(Const(0, 8), 1)
            with m.State("BOOT"):
                m.d.comb += [self.warmboot.eq(1), self.warmboot_image.eq(slot)]

            with m.State("ANSWER"):
                m.d.comb += [self.o.payload.eq(answer[:8]), self.o.valid.eq(answer_left != 0)]
                with m.If(answer_left == 0):
                    m.d.sync += timer.eq(0)
                    m.next = "IDLE"
                    with m.If(booting):
                        m.next = "SEE_OFF"
                with m.Elif(self.o.ready):
                    m.d.sync += [answer.eq(answer[8:]), answer_left.eq(answer_left - 1)]
            with m.State("SEE_OFF"):
                wait(ANSWER_SECONDS, "BOOT")
        return m
