"""LEARN_SPARSE: source by source, record by record of its compressed row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from neuroloom.compiler.spiking.core import CoreConfig

from .learn_rule import ELIGIBILITY_BITS, TRACE_BITS, Rule
from .learn_sources import Sources, due, traces
from .ports import POOL_ADDR_BITS
from .random import TARGET_STEP

if TYPE_CHECKING:
    from .learn import Learn

START_BITS, COUNT_BITS = 20, 12
"""A row header's first unit: number of the first record, number of records."""

HEADER_UNITS = 4


class SparseWalk:
    """The part of :class:`Learn` that walks over compressed rows. One record at a time passes under lane 0 of the rule."""

    def __init__(self, config: CoreConfig, unit: Learn, rule: Rule, sources: Sources) -> None:
        self.config, self.unit, self.rule, self.sources = config, unit, rule, sources
        self.bits = config.record_bits
        self.ring = Signal(
            config.records * config.record_bits, reset_less=True
        )  # records of a word, the current one lowest
        self.left = Signal(COUNT_BITS, reset_less=True)
        self.place = Signal(range(max(2, config.records)), reset_less=True)  # of the current record in its word
        self.at = Signal(START_BITS, reset_less=True)  # word of the records; the quotient grows in here
        self.target = Signal(16, reset_less=True)
        self.y_offset = Signal(POOL_ADDR_BITS, reset_less=True)
        self.changed = Signal(reset_less=True)
        self.fired = Signal(reset_less=True)

    @property
    def weight(self) -> Value:
        """Weight of the current record."""
        return self.ring[: self.rule.width]

    @property
    def target_of_record(self) -> Value:
        """Target neuron of the current record, counted in the core."""
        return self.ring[self.rule.width :][: self.config.target_bits]

    @property
    def eligibility(self) -> Value:
        """Eligibility of the current record."""
        return self.ring[self.bits - ELIGIBILITY_BITS : self.bits]

    def header_address(self) -> Value:
        """Pool word of the current source's header, whose first unit is 4·j."""
        lanes = self.config.lanes
        if lanes <= HEADER_UNITS:
            return self.unit.header_base + self.sources.offset * (HEADER_UNITS // lanes)
        return self.unit.header_base + self.sources.offset[(lanes // HEADER_UNITS).bit_length() - 1 :]

    def header_unit(self) -> Value:
        """First unit of the header, in the pool word that has come."""
        lanes = self.config.lanes
        if lanes <= HEADER_UNITS:
            return self.unit.pool.data_r[:32]
        bits = (lanes // HEADER_UNITS).bit_length() - 1
        return self.unit.pool.data_r.word_select(self.sources.offset[:bits], 32 * HEADER_UNITS)[:32]

    def next_source(self, m: Module) -> None:
        """Go to the next source."""
        self.sources.advance(m, self.rule, 1)
        m.next = "HEADER"
        with m.If(self.sources.last_of_group):
            m.next = "ASK"
        with m.If(self.sources.last):
            m.next = "DONE"

    def next_record(self, m: Module, changed: Any) -> None:
        """Turn to the next record; write the word when it is through and something in it has ``changed``."""
        end = self.config.records - 1
        m.d.sync += [self.place.eq(self.place + 1), self.left.eq(self.left - 1)]
        m.next = "RECORD"
        with m.If(changed):
            with m.If(self.place == end):
                m.next = "PUT"
            with m.Elif(self.left == 1):
                m.next = "TURN_HOME"
        with m.Elif(self.left == 1):
            self.next_source(m)
        with m.Elif(self.place == end):
            m.d.sync += self.at.eq(self.at + 1)
            m.next = "FETCH"
        with m.If(self.place == end):
            m.d.sync += self.place.eq(0)

    def states(self, m: Module) -> None:
        """The states of the command, inside :class:`Learn`'s state machine."""
        self._header_states(m)
        self._word_states(m)
        self._record_states(m)

    def _header_states(self, m: Module) -> None:
        unit, config, sources = self.unit, self.config, self.sources
        unit_word = self.header_unit()
        with m.State("HEADER"):
            with m.If(sources.spikes[0] | self.rule.x.any() | (unit.eligible if self.rule.rewarded else 0)):
                m.d.comb += unit.pool.addr.eq(self.header_address())
                m.next = "ROW_START"
            with m.Else():
                self.next_source(m)
        step = Signal(range(START_BITS))
        split = (config.records - 1).bit_length()
        divides = config.records != 1 << split
        with m.State("ROW_START"):
            m.d.sync += [self.left.eq(unit_word[START_BITS:]), self.at.eq(unit_word[:START_BITS]), self.place.eq(0)]
            if divides:
                m.next = "DIVIDE"
            else:
                m.d.sync += [self.at.eq(unit_word[split:START_BITS]), self.place.eq(unit_word[:split])]
                m.next = "FETCH"
            with m.If(unit_word[START_BITS:] == 0):
                self.next_source(m)
        if divides:
            with m.State("DIVIDE"):
                # Long division by the records per word: the dividend leaves at the top while the quotient enters below.
                rest = Cat(self.at[-1], self.place)
                fits = rest >= config.records
                m.d.sync += [
                    self.at.eq(Cat(fits, self.at)),
                    self.place.eq(Mux(fits, rest - config.records, rest)),
                    step.eq(step + 1),
                ]
                with m.If(step == START_BITS - 1):
                    m.d.sync += step.eq(0)
                    m.next = "FETCH"

    def _word_states(self, m: Module) -> None:
        unit = self.unit
        turns = Signal.like(self.place)
        address = unit.base + self.at

        def turn() -> None:
            m.d.sync += self.ring.eq(self.ring.rotate_right(self.bits))

        with m.State("FETCH"):
            m.d.comb += unit.pool.addr.eq(address)
            m.next = "RECORDS"
        with m.State("RECORDS"):
            m.d.sync += [self.ring.eq(unit.pool.data_r), self.changed.eq(0), turns.eq(self.place)]
            m.next = "RECORD"
            with m.If(self.place != 0):
                m.next = "TURN"
        with m.State("TURN"):
            turn()
            m.d.sync += turns.eq(turns - 1)
            with m.If(turns == 1):
                m.next = "RECORD"
        with m.State("TURN_HOME"):
            turn()
            m.d.sync += self.place.eq(self.place + 1)
            with m.If(self.place == self.config.records - 1):
                m.d.sync += self.place.eq(0)
                m.next = "PUT"
        with m.State("PUT"):
            m.d.comb += [unit.pool.addr.eq(address), unit.pool.write.eq(1), unit.pool.data_w.eq(self.ring)]
            m.d.sync += self.at.eq(self.at + 1)
            m.next = "FETCH"
            with m.If(self.left == 0):
                self.next_source(m)

    def _record_states(self, m: Module) -> None:
        unit, rule, config, sources = self.unit, self.rule, self.config, self.sources
        width, lanes = rule.width, config.lanes
        group_bits = (lanes - 1).bit_length()
        weight, target = self.weight, self.target_of_record
        spiked = sources.spikes[0]
        rest = Signal(config.target_bits, reset_less=True)
        addend = Signal(16, reset_less=True)

        def go(pot: Any) -> None:
            m.d.sync += rule.todo.eq(due(unit, rule.rewarded, spiked, pot))
            m.next = "RUN_RECORD"

        with m.State("RECORD"):
            m.d.comb += [unit.hist.slot.eq(unit.slot), unit.hist.word.eq(target[4:])]
            m.d.sync += self.target.eq(target - unit.target)
            m.next = "LOOK"
        with m.State("LOOK"):
            fired = unit.hist.data_r.bit_select(target[:4], 1)
            group = self.target[group_bits:]
            products = [Mux(unit.y_stride[bit], Cat(Const(0, bit), group), 0) for bit in range(4)]
            busy = spiked | (fired & rule.x.any())
            if rule.rewarded:
                busy = busy | (unit.eligible & self.eligibility.any())
            m.d.sync += [
                self.fired.eq(fired),
                self.y_offset.eq((products[0] + products[1]) + (products[2] + products[3])),
            ]
            with m.If(busy):
                m.next = "ASK_TARGET"
            with m.Else():
                m.d.sync += self.ring.eq(self.ring.rotate_right(self.bits))
                self.next_record(m, self.changed)
        with m.State("ASK_TARGET"):
            m.d.comb += unit.pool.addr.eq(unit.y_base + unit.y_k + self.y_offset)
            m.next = "TAKE_TARGET"
        with m.State("TAKE_TARGET"):
            trace = traces(unit, lanes)
            if lanes > 1:
                trace = trace.word_select(self.target[:group_bits], TRACE_BITS)
            m.d.sync += [
                rule.y[:TRACE_BITS].eq(trace),
                rule.word[:width].eq(weight),
                rule.fired[0].eq(self.fired),
                rule.enabled.eq(1),
                rule.target_product.eq(0),
                rest.eq(self.target),
                addend.eq(TARGET_STEP),
            ]
            if rule.rewarded:
                m.d.sync += rule.eligibility[:width].eq(self.eligibility.as_signed())
            with m.If(unit.rounding == 2):
                m.next = "MULTIPLY"
            with m.Else():
                go(self.fired & rule.x.any())
        left = Signal(range(config.target_bits))
        with m.State("MULTIPLY"):
            # 27469·i for the random number, a bit of i per cycle.
            m.d.sync += [
                rule.target_product.eq(rule.target_product + Mux(rest[0], addend, 0)),
                rest.eq(rest[1:]),
                addend.eq(Cat(Const(0, 1), addend)),
                left.eq(left + 1),
            ]
            with m.If(left == config.target_bits - 1):
                m.d.sync += left.eq(0)
                go(self.fired & rule.x.any())
        with m.State("RUN_RECORD"):
            with m.If(rule.last):
                m.next = "STORE"
        with m.State("STORE"):
            new = [rule.result()[:width], self.ring[width : width + config.target_bits + 1]]
            if rule.rewarded:
                new.append(rule.result_eligibility()[:ELIGIBILITY_BITS])
            m.d.sync += [self.ring.eq(Cat(self.ring[self.bits :], *new)), self.changed.eq(1)]
            self.next_record(m, 1)
