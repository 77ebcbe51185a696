"""A compressed row: header, search for the delay group, its records one per cycle."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from neuroloom.compiler.spiking.core import CoreConfig

from .ports import POOL_ADDR_BITS


def header_reads(config: CoreConfig, high: bool) -> int:
    """Pool words of a header that are read when its upper 32 delays (``high``) are asked for, or the lower ones."""
    return {1: 2, 2: 1}[config.lanes] + high


def _below(delay: Value, every: Value) -> Value:
    """Ones at the numbers below ``delay``, one per value of it; ``every``: ones everywhere."""
    fine = min(len(delay), 3)
    steps = Cat(delay[:fine] > bit for bit in range(1 << fine))
    blocks = 1 << len(delay) - fine
    full = Cat(every | (delay[fine:] > block) for block in range(blocks))
    begun = Cat(delay[fine:] == block for block in range(blocks))
    return Cat(full[block] | (begun[block] & step) for block in range(blocks) for step in steps)


def rows_members(config: CoreConfig) -> dict[str, wiring.Member]:
    """Members of :class:`Rows`."""
    return {
        "restart": In(1),
        "next_delay": In(1),
        "active": In(1),
        "done": Out(1),
        "header": In(POOL_ADDR_BITS),
        "lane": In(range(max(config.headers, 2))),
        "delay": In(6),
        "record_base": In(16),
        "eligible": In(1),
        "addr": Out(POOL_ADDR_BITS),
        "data": In(config.word_bits),
        "deliver": Out(1),
        "target": Out(config.target_bits),
        "weight": Out(config.weight_bits),
    }


class Rows(wiring.Component):
    """Walks the row of one source for one delay, while ``active``; for one lane or two, :class:`~.rows_large.LargeRows` for more.

    The header is read (one cycle, and one in which the mask is looked at; one more for each further word of it), then the
    first record's word. Two cycles pass a word that the group does not begin in, and lead to its place in the one that it
    begins in, unless it is the row's first group; each record takes one. A row without synapses of this delay ends behind its
    header.

    Members
    -------
    restart : In(1), go back to delay 0; ``next_delay`` : In(1), strobe before each delay, the first one too
    active, done : In(1), Out(1), the row is worked on; its last cycle
    header, lane : In, pool word of the header; not looked at
    delay, record_base : In
    eligible : In(1), the records carry eligibilities; looked at in builds that have them only
    addr, data : the pool's address, 0 while not active; its data one cycle later
    deliver, target, weight : Out, a record stands here in this cycle
    """

    def __init__(self, config: CoreConfig) -> None:
        self._config = config
        super().__init__(rows_members(config))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self._config
        lanes, slots, records = config.lanes, config.slots, config.records(False)
        units = lanes  # 32-bit units of a header in one pool word
        headers = self.data

        shared = units < 4  # the masks come one after the other, and pass one counter of groups
        below = Signal(slots)  # ones at the delays below this one
        if not shared:
            m.d.sync += below.eq(Mux(self.restart, 0, below))
            started = Signal()
            with m.If(self.next_delay):
                m.d.sync += [below.eq(Cat(started, below)), started.eq(1)]
            with m.If(self.restart):
                m.d.sync += started.eq(0)

        part = Signal(2)  # pool word of the header whose data have come
        at = Signal(POOL_ADDR_BITS, reset_less=True)  # of the records
        ahead = Signal(POOL_ADDR_BITS, reset_less=True)  # the word behind it
        place = Signal(6, reset_less=True)
        skip = Signal(range(slots), reset_less=True)  # delay groups still to pass

        def unit(number: int) -> tuple[int, Signal]:
            """Word of the header and its data where unit ``number`` stands."""
            return number // units, headers.word_select(number % units, 32)

        def passed(number: int) -> Signal:
            """Groups that mask number ``number`` has below this delay."""
            bits = min(slots - 32 * number, 32)
            count = Signal(range(bits + 1), name=f"groups{number}")
            masked = unit(1 + number)[1][:bits] & below[32 * number :][:bits]
            m.d.comb += count.eq(sum(masked[bit] for bit in range(bits)))
            return count

        high = self.delay[5] if slots > 32 else Const(0)
        words = 4 // units
        hit = Signal()
        if shared:
            bits = min(slots, 32)
            mask, groups, is_low = Signal(bits), Signal(range(bits + 1)), Signal()
            before = Signal(bits, reset_less=True)  # marks of the groups to pass, counted in the next cycle
            m.d.comb += [
                is_low.eq(part == unit(1)[0]),
                mask.eq(Mux(is_low, unit(1)[1], unit(2)[1]) if slots > 32 else unit(1)[1]),
                groups.eq(sum(before)),
            ]

        target_bits, weight_bits = config.target_bits, config.weight_bits
        mark = weight_bits + target_bits
        final: Value = Const(records - 1)  # the last place of a word

        def marks(eligible: bool) -> Value:
            bits = config.record_bits(eligible)
            return Cat(self.data[n * bits + mark] & (place <= n) for n in range(config.records(eligible)))

        entry = Signal(mark + 1)
        lasts = Signal(records)
        with m.Switch(place):
            for number in range(records):
                with m.Case(number):
                    m.d.comb += entry.eq(self.data[number * config.record_bits(False) :][: mark + 1])
        m.d.comb += lasts.eq(marks(False))
        if config.learning == "reward":
            final = Mux(self.eligible, config.records(True) - 1, records - 1)
            with m.If(self.eligible):
                with m.Switch(place):
                    for number in range(config.records(True)):
                        with m.Case(number):
                            m.d.comb += entry.eq(self.data[number * config.record_bits(True) :][: mark + 1])
                m.d.comb += lasts.eq(marks(True))
        last = entry[mark]
        m.d.comb += [self.weight.eq(entry), self.target.eq(entry[weight_bits:])]
        # Where the group begins, when the last of the groups before it ends in this word.
        found, after = Signal(), Signal(range(records + 1))
        total: object = Const(0, 1)
        for number in range(records):
            count = Signal(range(records + 1), name=f"ended{number}")
            m.d.comb += count.eq(total + lasts[number])
            total = count
            with m.If(lasts[number] & (count == skip)):
                m.d.comb += [found.eq(1), after.eq(number + 1)]

        ends_here, begins, ended = (
            Signal(reset_less=True),
            Signal.like(after),
            Signal(range(records + 1), reset_less=True),
        )
        onward = Signal()  # to the next word
        next_at = Signal(POOL_ADDR_BITS)
        m.d.comb += next_at.eq(Mux(onward, ahead, at))

        with m.FSM(name="row"):
            with m.State("HEADER"):
                m.d.sync += part.eq(0)
                with m.If(self.active):
                    m.d.comb += self.addr.eq(self.header)
                    m.next = "MASK"
            with m.State("MASK"):
                # Every word of the header is taken as it comes; the next one's address is out in the same cycle.
                ends = Signal()
                m.d.comb += ends.eq(1)
                where = headers[:32]
                with m.Switch(part):
                    for number in range(words):
                        with m.Case(number):
                            if number == 0:
                                m.d.sync += [
                                    at.eq(self.record_base + where[6:20]),
                                    place.eq(where[:6]),
                                    skip.eq(0),
                                ]
                            if shared:
                                if number == unit(1)[0]:
                                    m.d.comb += ends.eq(~high)
                                elif number != unit(2)[0]:
                                    m.d.comb += ends.eq(0)
                            elif unit(1)[0] == number and unit(2)[0] == number:  # both masks in this word
                                m.d.comb += hit.eq(headers[32:][: min(slots, 64)].bit_select(self.delay, 1))
                                m.d.sync += skip.eq(passed(0) + (passed(1) if slots > 32 else 0))
                if shared:
                    m.d.comb += hit.eq(mask.bit_select(self.delay[: (bits - 1).bit_length()], 1))
                    m.d.sync += [
                        before.eq(mask & _below(self.delay[: (bits - 1).bit_length()], is_low & high)),
                        skip.eq(Mux(is_low, 0, groups)),
                    ]
                m.d.sync += part.eq(part + 1)
                with m.If(~ends):
                    m.d.comb += self.addr.eq(self.header + part + 1)
                with m.Elif(hit):
                    m.next = "FETCH"
                with m.Else():
                    m.d.comb += self.done.eq(1)
                    m.next = "HEADER"
            with m.State("FETCH"):
                m.d.comb += self.addr.eq(at)
                m.d.sync += ahead.eq(at + 1)
                m.next = "RECORDS"
                passes = skip != 0
                if shared:
                    m.d.sync += skip.eq(skip + groups)
                    passes = passes | before.any()
                with m.If(passes):
                    m.next = "SEEK"
            with m.State("SEEK"):
                # What the word shows is kept, so that no address hangs on what has just been read.
                m.d.sync += [ends_here.eq(found), begins.eq(after), ended.eq(total)]
                m.next = "PASS"
            with m.State("PASS"):
                m.d.comb += [onward.eq(~ends_here | (begins > final)), self.addr.eq(next_at)]
                m.d.sync += [
                    at.eq(next_at),
                    ahead.eq(next_at + 1),
                    place.eq(Mux(onward, 0, begins)),
                    skip.eq(skip - ended),
                ]
                m.next = "SEEK"
                with m.If(ends_here):
                    m.next = "RECORDS"
            with m.State("RECORDS"):
                m.d.comb += [onward.eq(place == final), self.addr.eq(next_at), self.deliver.eq(1)]
                m.d.sync += [at.eq(next_at), ahead.eq(next_at + 1), place.eq(Mux(onward, 0, place + 1))]
                with m.If(last):
                    m.d.comb += self.done.eq(1)
                    m.next = "HEADER"
        return m
