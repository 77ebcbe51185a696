"""DENSE and SPARSE: the weights of spiking sources are added to the accumulators of their targets."""

from __future__ import annotations

from amaranth.hdl import Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from neuroloom.compiler.spiking.core import SPIKE_WORD, CoreConfig
from neuroloom.compiler.spiking.cycles import acc_banks
from neuroloom.compiler.spiking.isa import Step

from .ports import HIST_SLOT_BITS, HIST_WORD_BITS, POOL_ADDR_BITS, HistPort, PoolPort, command_members, times
from .rows import Rows

_FIELDS = {
    name: member
    for name, member in command_members(Step.DENSE, Step.SPARSE).items()
    if name not in ("delays_low", "delays_high")
}


def deliver_members(config: CoreConfig) -> dict[str, wiring.Member]:
    """Members of :class:`Deliver`."""
    banks = acc_banks(config)
    return {
        "start": In(1),
        "sparse": In(1),
        "done": Out(1),
        **_FIELDS,
        "delays": In(config.slots),
        "next_delay": Out(1),
        "slot": In(HIST_SLOT_BITS),
        "pool": Out(PoolPort(config)),
        "hist": Out(HistPort()),
        "acc_row": Out(max((-(-config.neurons // banks) - 1).bit_length(), 1)),
        "acc_add": Out(banks),
        "acc_weights": Out(banks * config.state_bits),
    }


class Deliver(wiring.Component):
    """The unit of DENSE and SPARSE; large cores have :class:`~.deliver_large.LargeDeliver`.

    One spike word of the sources is looked at in one cycle; its spikes are taken one after the other, lowest first, and dense rows
    follow each other without a gap. What is read from the pool in one cycle is in registers in the next and added in the one
    behind it; ``done`` does not wait for that, because nothing reads an accumulator so soon.

    Members
    -------
    start, done, fields of DENSE and SPARSE, slot, pool, hist : as in :mod:`.ports`
    sparse : In(1), the command is SPARSE
    delays : In(slots), the delays that SPARSE still has to look at, lowest first; ``next_delay`` : Out(1), shift them down by one
    acc_row, acc_add, acc_weights : the accumulators, see :class:`~.accumulators.Accumulators`; row and add are 0 while idle
    """

    def __init__(self, config: CoreConfig) -> None:
        self._config = config
        self._row_bits = max((-(-config.neurons // acc_banks(config)) - 1).bit_length(), 1)
        super().__init__(deliver_members(config))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self._config
        banks, weight_bits = acc_banks(config), config.weight_bits
        beats = config.fields // banks  # cycles for a pool word
        beat_bits = (beats - 1).bit_length()
        bank_bits = (banks - 1).bit_length()

        word = Signal(HIST_WORD_BITS, reset_less=True)
        words_left = Signal(12, reset_less=True)
        spikes = Signal(SPIKE_WORD, reset_less=True)  # of the current word, not yet taken
        first = Signal(reset_less=True)
        word_base = Signal(POOL_ADDR_BITS, reset_less=True)  # row or header of the current word's lowest source
        address = Signal(POOL_ADDR_BITS, reset_less=True)  # pool word to read
        row_left = Signal(12, reset_less=True)
        row = Signal(self._row_bits, reset_less=True)
        active = Signal()  # a spike is worked on
        delay = Signal(6, reset_less=True)

        # The scanner of spikes.
        scanning, free, take, load, exhausted = Signal(), Signal(), Signal(), Signal(), Signal()
        index = Signal(4)  # of the lowest spike
        ahead = Signal(SPIKE_WORD)  # spikes of the next cycle, where that one's index is found on small cores
        lowest = Signal(4)
        for bit in reversed(range(SPIKE_WORD)):
            with m.If(ahead[bit]):
                m.d.comb += lowest.eq(bit)
        m.d.sync += index.eq(lowest)
        none = Signal()
        m.d.comb += [
            none.eq(spikes == 0),
            take.eq(scanning & free & ~none),
            load.eq(scanning & free & none & (words_left != 0)),
            exhausted.eq(scanning & free & none & (words_left == 0)),
        ]
        header_words = max(4 // config.lanes, 1)
        header_stride = header_words * SPIKE_WORD
        header_step = index  # every source has a header
        row_words = Signal(12)
        steps = Signal(4)
        m.d.comb += [
            row_words.eq(Mux(self.sparse, header_words, self.row_words)),
            steps.eq(Mux(self.sparse, header_step, index)),
        ]
        next_base = Signal(POOL_ADDR_BITS)
        stride = Mux(self.sparse, header_stride, self.row_words << 4)
        m.d.comb += next_base.eq(Mux(first, Mux(self.sparse, self.header_base, self.base), word_base + stride))
        m.d.comb += ahead.eq(Mux(load, self.hist.data_r, Mux(take, spikes & (spikes - 1), spikes)))
        m.d.sync += spikes.eq(ahead)
        with m.If(load):
            m.d.sync += [
                word_base.eq(next_base),
                first.eq(0),
                words_left.eq(words_left - 1),
                word.eq(word + 1),
            ]
        with m.If(take):
            m.d.sync += [
                address.eq(word_base + times(steps, row_words)),
                row_left.eq(self.row_words),
                row.eq(self.target[bank_bits:]),
            ]
            if beats > 1:  # the row of a field's beat stays aligned
                m.d.sync += row[:beat_bits].eq(0)
        looks = Signal()  # the history is read for the scanner
        with m.If(looks):
            m.d.comb += [self.hist.slot.eq(self.slot - delay), self.hist.word.eq(word + load)]

        # A dense row: `beats` cycles for each of its words.
        dense_read, dense_last = Signal(), Signal()
        beat = row[:beat_bits]
        word_done = beat.all() if beat_bits else Const(1)
        m.d.comb += dense_last.eq(word_done & (row_left == 1))
        with m.If(dense_read & ~take):
            m.d.sync += row.eq(row + 1)
            with m.If(word_done):
                m.d.sync += [address.eq(address + 1), row_left.eq(row_left - 1)]
        came, came_row = Signal(), Signal(self._row_bits, reset_less=True)
        m.d.sync += [came.eq(dense_read), came_row.eq(row)]

        # A sparse row.
        m.submodules.rows = rows = Rows(config)
        lane = Signal.like(rows.lane)  # of the header in its pool word
        with m.If(take):
            m.d.sync += lane.eq(Const(0, 1))
        m.d.comb += [
            rows.lane.eq(lane),
            rows.delay.eq(delay),
            rows.record_base.eq(self.record_base),
            rows.eligible.eq(self.eligible),
            rows.data.eq(self.pool.data_r),
            rows.header.eq(address),
        ]

        def rewind() -> None:
            m.d.sync += word.eq(self.first_word)

        def look_further_back() -> None:
            m.d.sync += delay.eq(delay + 1)

        with m.FSM(name="deliver"):
            with m.State("IDLE"):
                rewind()
                m.d.sync += [
                    words_left.eq(self.words),
                    spikes.eq(0),
                    first.eq(1),
                    delay.eq(Mux(self.sparse, 0, self.delay)),
                    active.eq(0),
                ]
                m.d.comb += rows.restart.eq(1)
                with m.If(self.start):
                    with m.If(self.sparse):
                        m.next = "DELAY"
                    with m.Else():
                        m.next = "PRIME"
            with m.State("PRIME"):
                m.d.comb += looks.eq(1)
                with m.If(self.sparse):
                    m.next = "SPARSE"
                with m.Else():
                    m.next = "DENSE"
            with m.State("DENSE"):
                m.d.comb += [
                    looks.eq(1),
                    scanning.eq(1),
                    free.eq(~active | dense_last),
                    dense_read.eq(active),
                ]
                with m.If(active):
                    m.d.comb += self.pool.addr.eq(address)
                with m.If(free):
                    m.d.sync += active.eq(take)
                with m.If(exhausted):
                    m.d.comb += self.done.eq(1)
                    m.next = "IDLE"
            with m.State("DELAY"):
                m.d.comb += rows.next_delay.eq(1)
                rewind()
                m.d.sync += [words_left.eq(self.words), first.eq(1)]
                with m.If(self.delays[0]):
                    m.next = "PRIME"
                with m.Elif(self.delays == 0):
                    m.d.comb += self.done.eq(1)
                    m.next = "IDLE"
                with m.Else():
                    m.d.comb += self.next_delay.eq(1)
                    look_further_back()
            with m.State("SPARSE"):
                m.d.comb += [
                    looks.eq(1),
                    scanning.eq(1),
                    rows.active.eq(active),
                    free.eq(~active),  # not in a row's last cycle, which hangs on the word just read
                    self.pool.addr.eq(rows.addr),
                ]
                with m.If(free | rows.done):
                    m.d.sync += active.eq(take)
                with m.If(exhausted):
                    m.d.comb += self.next_delay.eq(1)
                    look_further_back()
                    m.next = "DELAY"

        # From the pool's word to the accumulators.
        add = Signal(banks)
        weights = Signal(banks * weight_bits, reset_less=True)
        shifted = Signal(reset_less=True)
        bank = rows.target[:bank_bits]
        fields = self.pool.data_r.word_select(came_row[:beat_bits], banks * weight_bits)
        m.d.sync += [
            add.eq(Mux(came, Const(-1, banks), Mux(rows.deliver, Const(1, banks) << bank, 0))),
            weights.eq(Mux(came, fields, rows.weight.replicate(banks))),
            shifted.eq(self.shift8 & came),
        ]
        with m.If(came):
            m.d.comb += self.acc_row.eq(came_row)
        with m.If(rows.deliver):
            m.d.comb += self.acc_row.eq(rows.target[bank_bits:])
        m.d.comb += self.acc_add.eq(add)
        for number in range(banks):
            weight = weights.word_select(number, weight_bits).as_signed()
            m.d.comb += self.acc_weights.word_select(number, config.state_bits).eq(Mux(shifted, weight << 8, weight))
        return m
