"""A compressed row on large cores: as :class:`~.rows.Rows`, with registers behind block RAM, packed headers, two record widths."""

from __future__ import annotations

from collections.abc import Sequence

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from neuroloom.compiler.spiking.core import HEADER_BITS, HEADER_START_BITS, CoreConfig

from .ports import POOL_ADDR_BITS
from .rows import rows_members

SPAN = 6
"""Records whose last marks are counted together."""


def count(bits: Sequence[Value]) -> Value:
    """How many of ``bits`` are 1, as a tree of adders."""
    parts: list[Value] = list(bits)
    while len(parts) > 1:
        parts = [a + b for a, b in zip(parts[::2], parts[1::2], strict=False)] + parts[len(parts) & ~1 :]
    return parts[0]


def record_place(config: CoreConfig, data: Value, place: Value, eligible: Value) -> Value:
    """The record at ``place`` of a pool word; without its eligibility the upper bits are 0."""
    plain = [data[n * (b := config.record_bits(False)) :][:b] for n in range(config.records(False))]
    if config.learning != "reward":
        return Array(plain)[place]
    wide = [data[n * (b := config.record_bits(True)) :][:b] for n in range(config.records(True))]
    return Mux(eligible, Array(wide)[place], Array(plain)[place])


class RecordPicker:
    """:func:`record_place` in two cycles: what is near the place in the first, the record itself from registers in the second."""

    NEAR = 4

    def __init__(self, m: Module, config: CoreConfig, data: Value, place: Value, eligible: Value) -> None:
        near, near_bits = self.NEAR, (self.NEAR - 1).bit_length()
        groups = -(-config.records(False) // near)
        wide = config.record_bits(True) if config.learning == "reward" else config.record_bits(False)
        self._far = Signal(range(max(groups, 2)), name="far", reset_less=True)
        m.d.sync += self._far.eq(place[near_bits:])
        self._kept = []
        for group in range(groups):
            kinds = []
            for marked in (False, True):
                bits, records = config.record_bits(marked), config.records(marked)
                numbers = [min(group * near + n, records - 1) for n in range(near)]
                kinds.append(Array(data[n * bits :][:bits] for n in numbers)[place[:near_bits]])
            kept = Signal(wide, name=f"near{group}", reset_less=True)
            m.d.sync += kept.eq(Mux(eligible, kinds[1], kinds[0]) if config.learning == "reward" else kinds[0])
            self._kept.append(kept)

    def record(self) -> Value:
        """The record of the place of the cycle before; without its eligibility the upper bits are 0."""
        return Array(self._kept)[self._far]


def place_last(config: CoreConfig, eligible: Value) -> Value:
    """The last place of a pool word."""
    return Mux(eligible, config.records(True) - 1, config.records(False) - 1)


class LargeRows(wiring.Component):
    """Walks the row of one source for one delay, while ``active``.

    The header is read, kept, and looked at in the fifth cycle, which asks for the first record's word. Six cycles pass a word
    that the group does not begin in, and lead to its place in the one that it begins in, unless it is the row's first group;
    each record takes one, and four more cycles begin and end the row. A row without synapses of this delay ends in the sixth
    cycle. No output hangs on the word just read.

    Members
    -------
    As of :class:`~.rows.Rows`; ``lane`` is the header's place in its pool word; ``eligible`` : In(1), the records carry
    eligibilities.
    """

    def __init__(self, config: CoreConfig) -> None:
        self._config = config
        super().__init__(rows_members(config))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self._config
        slots, records = config.slots, config.records(False)
        weight_bits, target_bits = config.weight_bits, config.target_bits
        mark = weight_bits + target_bits

        below = Signal(slots)  # ones at the delays below this one
        m.d.sync += below.eq(Mux(self.restart, 0, below))
        started = Signal()
        with m.If(self.next_delay):
            m.d.sync += [below.eq(Cat(started, below)), started.eq(1)]
        with m.If(self.restart):
            m.d.sync += started.eq(0)

        header = self.data.word_select(self.lane, HEADER_BITS) if config.headers > 1 else self.data[:HEADER_BITS]
        mask = Signal(slots, reset_less=True)
        masked = mask & below
        at = Signal(POOL_ADDR_BITS, reset_less=True)  # of the records
        ahead = Signal(POOL_ADDR_BITS, reset_less=True)  # the word behind it
        place = Signal(range(records + 1), reset_less=True)
        skip = Signal(range(slots), reset_less=True)  # delay groups still to pass
        final = Signal.like(place, reset_less=True)  # the last place of a word
        m.d.sync += final.eq(place_last(config, self.eligible))
        bounds = {lead: Signal.like(place, name=f"bound{lead}", reset_less=True) for lead in (1, 2, 3)}
        m.d.sync += [bound.eq(place_last(config, self.eligible) - lead) for lead, bound in bounds.items()]
        seeking, hit, fresh = Signal(reset_less=True), Signal(reset_less=True), Signal(reset_less=True)

        picker = RecordPicker(m, config, self.data, place, self.eligible)
        entry = Signal(mark + 1, reset_less=True)
        seen, got = Signal(), Signal()  # the picker has a record, it is in ``entry``
        m.d.comb += [self.deliver.eq(got), self.weight.eq(entry), self.target.eq(entry[weight_bits:])]

        # Where the group begins, when the last of the groups before it ends in this word.
        lasts = Signal(records, reset_less=True)
        found, after, total = self._search(m, lasts, skip)
        parts = [Signal(range(17), name=f"part{n}", reset_less=True) for n in range(-(-slots // 16))]
        ends_here, begins = Signal(reset_less=True), Signal.like(place, reset_less=True)
        ended = Signal(range(records + 1), reset_less=True)
        onward = Signal()  # to the next word
        next_at = Signal(POOL_ADDR_BITS)
        m.d.comb += next_at.eq(Mux(onward, ahead, at))
        m.d.sync += [seen.eq(0), got.eq(seen), entry.eq(picker.record())]

        def ahead_of(lead: int) -> Value:
            """The word of the record so many places behind this one."""
            return Mux(place > bounds[lead], ahead, at)

        with m.FSM(name="row"):
            with m.State("HEADER"):
                with m.If(self.active):
                    m.d.comb += self.addr.eq(self.header)
                    m.next = f"COMES{config.pool_cycles - 1}"
            for left in range(config.pool_cycles - 1, 0, -1):
                with m.State(f"COMES{left}"):
                    m.next = f"COMES{left - 1}" if left > 1 else "MASK"
            with m.State("MASK"):
                m.d.sync += [
                    at.eq(self.record_base + header[6:HEADER_START_BITS]),
                    place.eq(header[:6]),
                    mask.eq(header[HEADER_START_BITS:]),
                    fresh.eq(1),
                ]
                m.next = "FETCH"
            with m.State("FETCH"):
                m.d.comb += self.addr.eq(at)
                m.d.sync += [ahead.eq(at + 1), seeking.eq(masked.any()), hit.eq(mask.bit_select(self.delay, 1))]
                m.d.sync += [part.eq(count(list(masked[16 * n :][:16]))) for n, part in enumerate(parts)]
                m.next = "LATE"
            with m.State("LATE"):  # the word that the second record stands in
                m.d.comb += self.addr.eq(ahead_of(1))
                with m.If(fresh):
                    m.d.sync += skip.eq(count(parts))
                m.d.sync += fresh.eq(0)
                m.next = "LATER"
                with m.If(~hit):
                    m.d.comb += self.done.eq(1)
                    m.next = "HEADER"
            with m.State("LATER"):  # and the third one
                m.d.comb += self.addr.eq(ahead_of(2))
                m.next = "RECORDS"
                with m.If(seeking):
                    m.next = "SEEK"
            with m.State("SEEK"):
                m.d.sync += lasts.eq(self._marks(mark, place))
                m.next = "COUNT"
            with m.State("COUNT"):
                m.next = "FIND"
            with m.State("FIND"):
                m.d.sync += [ends_here.eq(found), begins.eq(after), ended.eq(total)]
                m.next = "PASS"
            with m.State("PASS"):
                m.d.comb += [onward.eq(~ends_here | (begins > final)), self.addr.eq(next_at)]
                m.d.sync += [
                    at.eq(next_at),
                    ahead.eq(next_at + 1),
                    place.eq(Mux(onward, 0, begins)),
                    skip.eq(skip - ended),
                    seeking.eq(~ends_here),
                ]
                m.next = "LATE"
            with m.State("RECORDS"):
                # The word of the third record behind this one is asked for.
                m.d.comb += [onward.eq(place == final), self.addr.eq(ahead_of(3))]
                m.d.sync += [
                    at.eq(next_at),
                    ahead.eq(next_at + 1),
                    place.eq(Mux(onward, 0, place + 1)),
                    seen.eq(1),
                ]
                with m.If(got & entry[mark]):
                    m.d.sync += [seen.eq(0), got.eq(0)]
                    m.d.comb += self.done.eq(1)
                    m.next = "HEADER"
        return m

    def _marks(self, mark: int, place: Value) -> Value:
        """Last marks of the word's records from ``place`` on."""
        config = self._config

        def marks(eligible: bool) -> Value:
            bits = config.record_bits(eligible)
            return Cat(self.data[n * bits + mark] & (place <= n) for n in range(config.records(eligible)))

        return Mux(self.eligible, marks(True), marks(False)) if config.learning == "reward" else marks(False)

    def _search(self, m: Module, lasts: Signal, skip: Signal) -> tuple[Value, Value, Value]:
        """Whether the last mark number ``skip`` is among ``lasts``, the place behind it, and how many marks there are.

        The marks are counted in spans, so that no chain of adders is longer than the spans are; their counts are kept for a cycle.
        """
        found, after = Signal(), Signal(range(len(lasts) + 1))
        hits: list[Value] = []
        passed: Value = Const(0, 1)
        deep = max(len(skip), len(lasts).bit_length()) + 1
        for first in range(0, len(lasts), SPAN):
            span = list(lasts[first : first + SPAN])
            wanted = Signal(signed(deep), name=f"wanted{first}")  # negative behind the mark
            m.d.comb += wanted.eq(skip - passed)
            for number, last in enumerate(span):
                of_some = Signal(range(number + 2), name=f"of_some{first + number}", reset_less=True)
                m.d.sync += of_some.eq(count(span[: number + 1]))
                hits.append(last & (of_some == wanted))
            of_span = Signal(range(len(span) + 1), name=f"of_span{first}", reset_less=True)
            m.d.sync += of_span.eq(count(span))
            before = Signal(range(first + len(span) + 1), name=f"ended{first}")
            m.d.comb += before.eq(passed + of_span)
            passed = before
        hit = Signal(len(hits))  # one of them at most
        m.d.comb += [hit.eq(Cat(*hits)), found.eq(hit.any())]
        for bit in range(len(after)):
            m.d.comb += after[bit].eq(Cat(h for n, h in enumerate(hit, 1) if n >> bit & 1).any())
        return found, after, passed
