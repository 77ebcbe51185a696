"""DENSE and SPARSE on large cores: as :class:`~.deliver.Deliver`, with registers on every long way."""

from __future__ import annotations

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal
from amaranth.lib import wiring
from neuroloom.compiler.spiking.core import SPIKE_WORD, CoreConfig
from neuroloom.compiler.spiking.cycles import acc_banks
from neuroloom.compiler.spiking.layout import header_place, header_stride

from .deliver import deliver_members
from .ports import HIST_SLOT_BITS, HIST_WORD_BITS, POOL_ADDR_BITS, times
from .rows_large import LargeRows

AHEAD = 3
"""Spike words that are read before the scanner gets to them."""


class LargeDeliver(wiring.Component):
    """The unit of DENSE and SPARSE with four lanes and more.

    Spike words are read ahead into a queue, so that no address hangs on what the scanner does. Which row is read when is decided as
    on small cores; the address is found in the cycle behind that, the word comes ``pool_cycles`` later, and is added two cycles
    after its accumulators were asked for. ``done`` waits for none of that: nothing reads an accumulator so soon.

    Members
    -------
    As of :class:`~.deliver.Deliver`.
    """

    def __init__(self, config: CoreConfig) -> None:
        self._config = config
        super().__init__(deliver_members(config))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self._config
        banks = acc_banks(config)
        beats = config.fields // banks  # cycles for a pool word
        beat_bits, bank_bits = (beats - 1).bit_length(), (banks - 1).bit_length()

        words_left = Signal(12, reset_less=True)
        spikes = Signal(SPIKE_WORD, reset_less=True)  # of the current word, not yet taken
        first = Signal(reset_less=True)
        word_base = Signal(POOL_ADDR_BITS, reset_less=True)  # row or header of the current word's lowest source
        row_left = Signal(12, reset_less=True)
        row = Signal.like(self.acc_row, reset_less=True)
        active = Signal()  # a spike is worked on
        delay = Signal(6, reset_less=True)
        past = Signal(HIST_SLOT_BITS, reset_less=True)  # the slot of that delay

        # The scanner of spikes.
        scanning, free, take, load, exhausted, looks, rewinds = (Signal() for _ in range(7))
        head = self._queue(m, looks, rewinds, load, past)
        index = Signal(4)  # of the lowest spike
        for bit in reversed(range(SPIKE_WORD)):
            with m.If(spikes[bit]):
                m.d.comb += index.eq(bit)
        none, over = Signal(reset_less=True), Signal(reset_less=True)  # no spike is left, no word
        m.d.comb += [
            take.eq(scanning & free & ~none),
            load.eq(scanning & free & none & ~over),
            exhausted.eq(scanning & free & none & over),
        ]
        stride = Mux(self.sparse, header_stride(config), self.row_words << 4)
        with m.If(load):
            m.d.sync += [
                spikes.eq(head),
                word_base.eq(Mux(first, Mux(self.sparse, self.header_base, self.base), word_base + stride)),
                first.eq(0),
                words_left.eq(words_left - 1),
                none.eq(head == 0),
                over.eq(words_left == 1),
            ]
        with m.If(take):
            m.d.sync += [spikes.eq(spikes & (spikes - 1)), none.eq((spikes & (spikes - 1)) == 0)]
            m.d.sync += [row_left.eq(self.row_words), row.eq(self.target[bank_bits:])]
            if beats > 1:  # the row of a field's beat stays aligned
                m.d.sync += row[:beat_bits].eq(0)
        taken, taken_index = Signal(), Signal(4, reset_less=True)  # a cycle later
        taken_base = Signal(POOL_ADDR_BITS, reset_less=True)
        m.d.sync += [taken.eq(take), taken_index.eq(index), taken_base.eq(word_base)]

        # A dense row: `beats` cycles for each of its words.
        dense_read, dense_last = Signal(), Signal()
        beat = row[:beat_bits]
        word_done = beat.all() if beat_bits else Const(1)
        m.d.comb += dense_last.eq(word_done & (row_left == 1))
        with m.If(dense_read & ~take):
            m.d.sync += row.eq(row + 1)
            with m.If(word_done):
                m.d.sync += row_left.eq(row_left - 1)
        address = Signal(POOL_ADDR_BITS, reset_less=True)
        reads, reads_row = Signal(), Signal.like(row, reset_less=True)
        reads_shift = Signal(reset_less=True)  # goes along: the next command may be there before the last words are
        stays = Signal(reset_less=True)  # the next beat is of the same word
        m.d.sync += [reads.eq(dense_read), reads_row.eq(row), stays.eq(~word_done), reads_shift.eq(self.shift8)]
        with m.If(taken):
            m.d.sync += address.eq(taken_base + times(taken_index, self.row_words))
        with m.Elif(dense_read & ~stays):
            m.d.sync += address.eq(address + 1)
        with m.If(reads):
            m.d.comb += self.pool.addr.eq(address)
        came, came_row, came_shift = reads, reads_row, reads_shift
        for number in range(config.pool_cycles):
            comes = came, came_row, came_shift
            came, came_row = Signal(name=f"came{number}"), Signal.like(row, name=f"came_row{number}", reset_less=True)
            came_shift = Signal(name=f"came_shift{number}", reset_less=True)
            m.d.sync += [late.eq(now) for late, now in zip((came, came_row, came_shift), comes, strict=True)]

        # A sparse row.
        m.submodules.rows = rows = LargeRows(config)
        places = Array(Cat(*(Const(v, 4) for v in header_place(config, n))) for n in range(SPIKE_WORD))[taken_index]
        header = Signal(POOL_ADDR_BITS, reset_less=True)
        lane = Signal.like(rows.lane, reset_less=True)  # of the header in its pool word
        with m.If(taken):
            m.d.sync += [header.eq(taken_base + places[:4]), lane.eq(places[4:])]
        m.d.comb += [
            rows.lane.eq(lane),
            rows.delay.eq(delay),
            rows.record_base.eq(self.record_base),
            rows.eligible.eq(self.eligible),
            rows.data.eq(self.pool.data_r),
            rows.header.eq(header),
        ]

        with m.FSM(name="deliver"):
            with m.State("IDLE"):
                m.d.sync += [
                    words_left.eq(self.words),
                    none.eq(1),
                    over.eq(self.words == 0),
                    first.eq(1),
                    delay.eq(Mux(self.sparse, 0, self.delay)),
                    past.eq(self.slot - Mux(self.sparse, 0, self.delay)),
                    active.eq(0),
                ]
                m.d.comb += [rewinds.eq(1), rows.restart.eq(1)]
                with m.If(self.start):
                    m.next = "PRIME"
                    with m.If(self.sparse):
                        m.next = "DELAY"
            with m.State("PRIME"):
                m.d.comb += looks.eq(1)
                m.next = "PRIMED"
            with m.State("PRIMED"):
                m.d.comb += looks.eq(1)
                m.next = "DENSE"
                with m.If(self.sparse):
                    m.next = "SPARSE"
            with m.State("DENSE"):
                m.d.comb += [looks.eq(1), scanning.eq(1), free.eq(~active | dense_last), dense_read.eq(active)]
                with m.If(free):
                    m.d.sync += active.eq(take)
                with m.If(exhausted):
                    m.d.comb += self.done.eq(1)
                    m.next = "IDLE"
            with m.State("DELAY"):
                m.d.comb += [rows.next_delay.eq(1), rewinds.eq(1)]
                m.d.sync += [words_left.eq(self.words), over.eq(self.words == 0), first.eq(1)]
                with m.If(self.delays[0]):
                    m.next = "PRIME"
                with m.Elif(self.delays == 0):
                    m.d.comb += self.done.eq(1)
                    m.next = "IDLE"
                with m.Else():
                    m.d.comb += self.next_delay.eq(1)
                    m.d.sync += [delay.eq(delay + 1), past.eq(past - 1)]
            with m.State("SPARSE"):
                m.d.comb += [
                    looks.eq(1),
                    scanning.eq(1),
                    rows.active.eq(active & ~taken),
                    free.eq(~active),  # not in a row's last cycle: much hangs on this
                    self.pool.addr.eq(rows.addr),
                ]
                with m.If(free | rows.done):
                    m.d.sync += active.eq(take)
                with m.If(exhausted):
                    m.next = "DELAY_DONE"
            with m.State("DELAY_DONE"):
                m.d.comb += self.next_delay.eq(1)
                m.d.sync += [delay.eq(delay + 1), past.eq(past - 1)]
                m.next = "DELAY"

        self._add(m, rows, came, came_row, came_shift)
        return m

    def _queue(self, m: Module, looks: Signal, rewinds: Signal, load: Signal, past: Signal) -> Signal:
        """Spike words of slot ``past``, read ahead; returns the first one, which ``load`` takes."""
        at = Signal(HIST_WORD_BITS, reset_less=True)
        queue = [Signal(SPIKE_WORD, name=f"queue{n}", reset_less=True) for n in range(AHEAD)]
        asked, filled = Signal(), Signal(range(AHEAD + 1))
        asks, left = Signal(), Signal(range(AHEAD + 1))
        m.d.comb += [asks.eq(looks & (filled + asked < AHEAD)), left.eq(filled - load)]
        with m.If(asks):
            m.d.comb += [self.hist.slot.eq(past), self.hist.word.eq(at)]
            m.d.sync += at.eq(at + 1)
        m.d.sync += [asked.eq(asks), filled.eq(left + asked)]
        for number, entry in enumerate(queue):
            with m.If(load & (number + 1 < AHEAD)):
                m.d.sync += entry.eq(queue[min(number + 1, AHEAD - 1)])
            with m.If(asked & (left == number)):
                m.d.sync += entry.eq(self.hist.data_r)
        with m.If(rewinds):
            m.d.sync += [at.eq(self.first_word), asked.eq(0), filled.eq(0)]
        return queue[0]

    def _add(self, m: Module, rows: LargeRows, came: Signal, came_row: Signal, came_shift: Signal) -> None:
        """From the pool's word to the accumulators: their row first, the weights two cycles later."""
        config = self._config
        banks, weight_bits = acc_banks(config), config.weight_bits
        beat_bits, bank_bits = (config.fields // banks - 1).bit_length(), (banks - 1).bit_length()
        fields = self.pool.data_r.word_select(came_row[:beat_bits], banks * weight_bits)
        with m.If(came):
            m.d.comb += self.acc_row.eq(came_row)
        with m.If(rows.deliver):
            m.d.comb += self.acc_row.eq(rows.target[bank_bits:])
        all_add, one_adds, bank = Signal(), Signal(), Signal(bank_bits, reset_less=True)
        weights = Signal(banks * weight_bits, reset_less=True)
        one = Signal(weight_bits, reset_less=True)
        shifted = Signal(reset_less=True)
        m.d.sync += [
            all_add.eq(came),
            one_adds.eq(rows.deliver),
            bank.eq(rows.target[:bank_bits]),
            weights.eq(fields),
            one.eq(rows.weight),
            shifted.eq(came_shift),
        ]
        add = Signal(banks)
        m.d.sync += add.eq(Mux(all_add, Const(-1, banks), Mux(one_adds, Const(1, banks) << bank, 0)))
        m.d.comb += self.acc_add.eq(add)
        for number in range(banks):
            weight = Mux(all_add, weights.word_select(number, weight_bits), one).as_signed()
            given = Signal(weight_bits + 8, name=f"weight{number}", reset_less=True)
            m.d.sync += given.eq(Mux(shifted & all_add, weight << 8, weight))
            m.d.comb += self.acc_weights.word_select(number, config.state_bits).eq(given.as_signed())
