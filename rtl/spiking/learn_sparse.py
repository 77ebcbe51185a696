"""LEARN_SPARSE: source by source, record by record of its compressed row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value
from neuroloom.compiler.spiking.core import HEADER_BITS, HEADER_START_BITS, SPIKE_WORD, CoreConfig
from neuroloom.compiler.spiking.layout import header_place
from neuroloom.compiler.spiking.learner import TARGET_STEP

from .learn_rule import Rule
from .learn_sources import Access, Sources, due, first_random
from .learn_targets import Targets
from .rows_large import RecordPicker, count, place_last, record_place

if TYPE_CHECKING:
    from .learn import Learn

PLACE_BITS, COUNT_BITS = 6, 12
"""A row header begins with the position of the first record in its word; with that word; and, if it is not packed, with the
number of records."""

HEADER_UNITS = 4

STRIDE_BITS = 4
"""Width of ``y_stride``."""


class SparseWalk:
    """The part of :class:`Learn` that walks over compressed rows. One record at a time passes under lane 0 of the rule."""

    def __init__(
        self, config: CoreConfig, unit: Learn, rule: Rule, sources: Sources, targets: Targets, access: Access
    ) -> None:
        self.config, self.unit, self.rule, self.sources = config, unit, rule, sources
        self.targets, self.access = targets, access
        self.wide = config.record_bits(True)
        self.record = Signal(self.wide, reset_less=True)
        self.left = Signal(COUNT_BITS, reset_less=True)  # records of the row; with packed headers its delay groups
        self.place = Signal(range(max(2, config.records(False))), reset_less=True)  # of the current record in its word
        self.at = Signal(range(config.pool_words), reset_less=True)  # word, counted from the first of the records
        self.mask, self.fresh = (
            Signal(config.slots, reset_less=True),
            Signal(),
        )  # of a packed header, which has just come
        self.target = Signal(config.target_bits, reset_less=True)
        width, end = rule.width, rule.width + config.target_bits
        self.weight, self.neuron, self.marks = self.record[:width], self.record[width:end], self.record[end : end + 1]
        self.eligibility = self.record[end + 1 :]

    def header_address(self) -> Value:
        """Pool word of the current source's header, from ``header_base``."""
        offset = self.sources.offset
        return (
            offset if self.config.large else Cat(Const(0, (HEADER_UNITS // self.config.lanes).bit_length() - 1), offset)
        )

    def header(self) -> Value:
        """The header, in the pool word that has come: its first unit, or all of a packed one."""
        config, data = self.config, self.unit.pool.data_r
        if not config.large:
            return data[:32]
        places = Array(header_place(config, n)[1] for n in range(SPIKE_WORD))
        return data.word_select(places[self.sources.number], HEADER_BITS) if config.headers > 1 else data[:HEADER_BITS]

    def next_source(self, m: Module) -> None:
        """Go to the next source; on large cores by a state of its own."""
        if self.config.large:
            m.next = "SOURCE_NEXT"
        else:
            self._next_source(m)

    def _next_source(self, m: Module) -> None:
        self.sources.advance(m)
        m.next = "HEADER"
        with m.If(self.sources.last_of_group):
            m.next = "ASK"
        with m.If(self.sources.last):
            m.next = "DONE"

    def next_record(self, m: Module, state: str) -> None:
        """Go to the next record: by ``state`` when it is in the same word."""
        counts = self.marks if self.config.large else Const(1)
        m.d.sync += [self.place.eq(self.place + 1), self.left.eq(self.left - counts)]
        m.next = state
        with m.If(self.place == place_last(self.config, self.unit.eligible)):
            m.d.sync += [self.place.eq(0), self.at.eq(self.at + 1)]
            m.next = "FETCH"
        with m.If((self.left == 1) & counts):
            self.next_source(m)

    def states(self, m: Module) -> None:
        """The states of the command, inside :class:`Learn`'s state machine."""
        self._header_states(m)
        self._record_states(m)

    def _header_states(self, m: Module) -> None:
        unit, sources = self.unit, self.sources
        header, late = self.header(), self.config.large
        with m.State("HEADER"):
            self.access.read(m, unit.header_base, self.header_address())  # needed or not: no address hangs on traces
            with m.If(sources.spikes[0] | self.rule.traced | (unit.eligible if self.rule.rewarded else 0)):
                m.next = "HEADER_ASKED" if late else "ROW_START"
            with m.Else():
                self.next_source(m)
        if late:
            with m.State("SOURCE_NEXT"):
                self._next_source(m)
            with m.State("HEADER_ASKED"):
                m.next = f"HEADER_COMES{self.config.walk_cycles - 2}"
            for left in range(self.config.walk_cycles - 2, 0, -1):
                with m.State(f"HEADER_COMES{left}"):
                    m.next = f"HEADER_COMES{left - 1}" if left > 1 else "ROW_START"
        with m.State("ROW_START"):
            m.d.sync += [self.place.eq(header[:PLACE_BITS]), self.at.eq(header[PLACE_BITS:HEADER_START_BITS])]
            m.next = "FETCH"
            if self.config.large:
                m.d.sync += [self.mask.eq(header[HEADER_START_BITS:]), self.fresh.eq(1)]
            else:
                m.d.sync += self.left.eq(header[HEADER_START_BITS:])
                with m.If(header[HEADER_START_BITS:] == 0):
                    self.next_source(m)

    def _record_states(self, m: Module) -> None:
        unit, rule, config, sources, targets = self.unit, self.rule, self.config, self.sources, self.targets
        group_bits = (config.lanes - 1).bit_length()
        spiked, fired = sources.spikes[0], rule.fired[0]
        rest = Signal(config.target_bits, reset_less=True)
        group = Signal(range(config.pool_words), reset_less=True)
        addend = Signal(16, reset_less=True)
        parts = [Signal(range(17), name=f"part{n}", reset_less=True) for n in range(-(-config.slots // 16))]
        m.d.comb += rule.alone_lane.eq(self.target[:group_bits])

        def go(pot: Any) -> None:
            m.d.sync += rule.todo.eq(due(unit, rule.rewarded, spiked, pot))
            m.next = "RUN_RECORD"

        def read() -> None:
            self.access.read(m, unit.base, self.at)

        with m.State("FETCH"):
            read()
            m.next = "WORD_ASKED" if config.large else "RECORD"
            if config.large:
                m.d.sync += [part.eq(count(list(self.mask[16 * n :][:16]))) for n, part in enumerate(parts)]
                with m.If(self.fresh & ~self.mask.any()):
                    self.next_source(m)
        if config.large:
            with m.State("WORD_ASKED"):
                read()
                m.d.sync += self.fresh.eq(0)
                with m.If(self.fresh):
                    m.d.sync += self.left.eq(count(parts))
                m.next = f"WORD_COMES{config.walk_cycles - 2}"
            for left in range(config.walk_cycles - 2, 0, -1):
                with m.State(f"WORD_COMES{left}"):
                    read()
                    m.next = f"WORD_COMES{left - 1}" if left > 1 else "RECORD"
        with m.State("RECORD"):
            read()
            if config.large:
                m.next = "PICKED"
            else:
                m.d.sync += self.record.eq(record_place(config, unit.pool.data_r, self.place, unit.eligible))
                m.next = "TARGET"
        if config.large:
            picker = RecordPicker(m, config, unit.pool.data_r, self.place, unit.eligible)
            with m.State("PICKED"):
                read()
                m.d.sync += self.record.eq(picker.record())
                m.next = "TARGET"
        with m.State("TARGET"):
            read()
            m.d.comb += [unit.look.slot.eq(unit.slot), unit.look.word.eq(self.neuron[4:])]
            m.d.sync += self.target.eq(self.neuron - unit.target)
            m.next = "FIRES" if config.large else "LOOK"
        fires = unit.hist.data_r.bit_select(self.neuron[:4], 1)
        if config.large:  # a spike comes late; nothing but a register hangs on it
            kept = Signal(reset_less=True)
            with m.State("FIRES"):
                read()
                m.next = "KEEP"
            with m.State("KEEP"):
                read()
                m.d.sync += kept.eq(fires)
                m.next = "LOOK"
            fires = kept
        with m.State("LOOK"):
            read()
            pot = fires & rule.traced
            m.d.sync += [
                rule.word[: rule.width].eq(self.weight),
                fired.eq(fires),
                rule.enabled.eq(1),
                rule.target_product.eq(first_random(unit, "y")),
                targets.y_offset.eq(unit.y_k),
                group.eq(self.target[group_bits:]),
                rest.eq(self.target),
                addend.eq(TARGET_STEP),
            ]
            busy = spiked | pot
            if rule.rewarded:
                m.d.sync += rule.eligibility[: rule.width].eq(self.eligibility.as_signed())
                busy = busy | (unit.eligible & self.eligibility.any())
            with m.If(~busy):
                self.next_record(m, "RECORD")
            with m.Elif(spiked):
                m.next = "LOCATE"
            with m.Elif(unit.rounding == 2):
                m.next = "MULTIPLY"
            with m.Else():
                go(pot)
        stride_bit = Signal(range(STRIDE_BITS))
        with m.State("LOCATE"):
            # The target's group times the stride, a bit of the stride per cycle.
            m.d.comb += targets.y_step.eq(Mux(unit.y_stride.bit_select(stride_bit, 1), group, 0))
            m.d.sync += [group.eq(Cat(Const(0, 1), group)), stride_bit.eq(stride_bit + 1)]
            with m.If(stride_bit == STRIDE_BITS - 1):
                with m.If(unit.rounding == 2):
                    m.next = "MULTIPLY"
                with m.Else():
                    go(fired & rule.traced)
        left = Signal(range(config.target_bits))
        with m.State("MULTIPLY"):
            # 27469·i for the random number, a bit of i per cycle.
            m.d.comb += targets.number_step.eq(Mux(rest[0], addend, 0))
            m.d.sync += [
                rest.eq(rest[1:]),
                addend.eq(Cat(Const(0, 1), addend)),
                left.eq(left + 1),
            ]
            with m.If(left == config.target_bits - 1):
                m.d.sync += left.eq(0)
                go(fired & rule.traced)
        with m.State("RUN_RECORD"):
            with m.If(rule.todo == 0):
                read()
            with m.If(rule.last):
                m.next = "PUT"
        with m.State("PUT"):
            # The word has come once more; all but the record's own fields goes back as it was.
            read()
            m.d.comb += self.access.write.eq(1)
            plain = [rule.record(rule.word), self.neuron, self.marks]
            data = self._with_record(Cat(*plain), False)
            if rule.rewarded:
                wide = [*plain, rule.record(rule.eligibility)[: len(self.eligibility)]]
                data = Mux(unit.eligible, self._with_record(Cat(*wide), True), data)
            m.d.comb += self.access.data.eq(data)
            self.next_record(m, "FETCH")

    def _with_record(self, record: Value, eligible: bool) -> Value:
        """The pool word that has come with this record in its place."""
        data, bits, records = self.unit.pool.data_r, len(record), self.config.records(eligible)
        kept = [data.word_select(place, bits) for place in range(records)]
        return Cat(*(Mux(self.place == place, record, old) for place, old in enumerate(kept)), data[records * bits :])
