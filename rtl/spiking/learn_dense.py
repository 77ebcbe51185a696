"""LEARN_DENSE: block by block of F targets, row by row of the sources."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from neuroloom.compiler.spiking.core import SPIKE_WORD, CoreConfig

from .learn_rule import TRACE_BITS, Rule
from .learn_sources import Sources, due, traces
from .ports import HIST_WORD_BITS, POOL_ADDR_BITS
from .random import TARGET_STEP

if TYPE_CHECKING:
    from .learn import Learn
    from .learn_fast import FastWalk


class DenseWalk:
    """The part of :class:`Learn` that walks over dense rows; traces and spikes of a block's targets stay in the rule's rings."""

    def __init__(self, config: CoreConfig, unit: Learn, rule: Rule, sources: Sources) -> None:
        self.config, self.unit, self.rule, self.sources = config, unit, rule, sources
        self.groups = config.fields // config.lanes
        self.spike_words = max(1, config.fields // SPIKE_WORD)
        self.left = Signal(16, reset_less=True)  # targets from this block on
        self.column = Signal(12, reset_less=True)
        self.y_at = Signal(POOL_ADDR_BITS, reset_less=True)
        self.word = Signal(HIST_WORD_BITS, reset_less=True)
        self.group = Signal(range(self.groups))
        self.valid = Signal(config.fields)  # fields that are targets
        self.any_y, self.any_fired = Signal(reset_less=True), Signal(reset_less=True)
        self.dep, self.pot = Signal(), Signal()

    def rewind(self, m: Module) -> None:
        """Go to the first block."""
        unit = self.unit
        m.d.sync += [
            self.left.eq(unit.targets),
            self.column.eq(0),
            self.y_at.eq(unit.y_base + unit.y_k),
            self.word.eq(unit.target[4:]),
            self.rule.target_product.eq(0),
        ]

    def limit(self, m: Module) -> None:
        """Forget the spikes of neurons past the target population; say whether one is left."""
        kept = self.rule.fired & self.valid
        m.d.sync += [self.rule.fired.eq(kept), self.any_fired.eq(kept.any())]

    def masked(self, data: Any, group: Signal) -> Cat:
        """Traces of the ``group`` of targets that has come, 0 past the population."""
        lanes = self.config.lanes
        bits = (lanes - 1).bit_length()
        return Cat(
            Mux(Cat(Const(lane, bits), group) < self.left, data[lane * TRACE_BITS :][:TRACE_BITS], 0)
            for lane in range(lanes)
        )

    def build(self, m: Module) -> None:
        """Take what comes for the rings, and say what the current row needs."""
        config, rule, sources, unit = self.config, self.rule, self.sources, self.unit
        span = TRACE_BITS * config.lanes
        come, group, looked = Signal(), Signal.like(self.group), Signal()
        self.asked, self.asked_spikes = Signal(), Signal()
        spikes_come = Signal()
        m.d.sync += [come.eq(self.asked), group.eq(self.group), looked.eq(come), spikes_come.eq(self.asked_spikes)]
        with m.If(come):
            m.d.sync += rule.y.eq(Cat(rule.y[span:], self.masked(traces(unit, config.lanes), group)))
        with m.If(looked):
            m.d.sync += self.any_y.eq(self.any_y | rule.y[-span:].any())
        with m.If(spikes_come):
            if config.fields >= SPIKE_WORD:
                m.d.sync += rule.fired.eq(Cat(rule.fired[SPIKE_WORD:], unit.hist.data_r))
            else:
                bits = (SPIKE_WORD // config.fields - 1).bit_length()
                m.d.sync += rule.fired.eq(unit.hist.data_r.word_select(self.column[:bits], config.fields))
        m.d.comb += [
            self.valid.eq(Cat(self.left > field for field in range(config.fields))),
            self.dep.eq(sources.spikes[0] & self.any_y),
            self.pot.eq(rule.x.any() & self.any_fired),
        ]

    def ask_targets(self, m: Module) -> None:
        """Read the traces of one group of targets, and a spike word while there are some; go to the next group."""
        unit = self.unit
        m.d.comb += [
            unit.pool.addr.eq(self.y_at),
            unit.hist.slot.eq(unit.slot),
            unit.hist.word.eq(self.word),
            self.asked.eq(1),
            self.asked_spikes.eq(self.group < self.spike_words),
        ]
        m.d.sync += [self.y_at.eq(self.y_at + unit.y_stride), self.group.eq(self.group + 1)]
        if self.config.fields >= SPIKE_WORD:
            with m.If(self.group < self.spike_words):
                m.d.sync += self.word.eq(self.word + 1)
        with m.If(self.group == 0):
            m.d.sync += self.any_y.eq(0)

    def next_block(self, m: Module) -> None:
        """After the last row of a block."""
        fields = self.config.fields
        with m.If(self.left <= fields):
            m.next = "DONE"
        with m.Else():
            m.next = "TARGETS"
            m.d.sync += [
                self.left.eq(self.left - fields),
                self.column.eq(self.column + 1),
                self.rule.target_product.eq(self.rule.target_product + (TARGET_STEP * fields & 0xFFFF)),
            ]
            if fields < SPIKE_WORD:
                bits = (SPIKE_WORD // fields - 1).bit_length()
                with m.If(self.column[:bits].all()):
                    m.d.sync += self.word.eq(self.word + 1)

    def next_row(self, m: Module) -> None:
        """Go to the next source's row word of this block."""
        self.sources.advance(m, self.rule, self.unit.row_words)
        m.next = "ROW"
        with m.If(self.sources.last_of_group):
            m.next = "ASK"
        with m.If(self.sources.last):
            self.next_block(m)

    def states(self, m: Module, fast: FastWalk | None) -> None:
        """The states of the command, inside :class:`Learn`'s state machine."""
        unit, rule, sources = self.unit, self.rule, self.sources
        rewarded = rule.rewarded

        def at(base: Signal) -> None:
            m.d.comb += unit.pool.addr.eq(base + sources.offset)

        def go() -> None:
            m.d.sync += rule.todo.eq(due(unit, rewarded, self.dep, self.pot))
            m.next = "RUN"

        with m.State("TARGETS"):
            self.ask_targets(m)
            sources.rewind(m, unit, rule)
            m.d.sync += sources.offset.eq(self.column)
            with m.If(self.group == self.groups - 1):
                m.d.sync += self.group.eq(0)
                m.next = "ASK"
                if fast:
                    with m.If(fast.chosen):
                        m.next = "FAST_ASK"

        with m.State("ROW"):
            with m.If(self.dep | self.pot | (unit.eligible if rewarded else 0)):
                at(unit.base)
                m.next = "WORD"
                if rewarded:
                    with m.If(unit.eligible):
                        at(unit.e_base)
                        m.next = "ELIGIBILITY"
            with m.Else():
                self.next_row(m)
        if rewarded:
            with m.State("ELIGIBILITY"):
                m.d.sync += rule.eligibility.eq(unit.pool.data_r)
                at(unit.base)
                m.next = "WORD"
        with m.State("WORD"):
            m.d.sync += [rule.word.eq(unit.pool.data_r), rule.enabled.eq(self.valid)]
            with m.If(unit.enables):
                at(unit.enable_base)
                m.next = "ENABLES"
            with m.Else():
                go()
            if rewarded:
                with m.If(unit.eligible & ~rule.eligibility.any() & ~self.dep & ~self.pot):
                    m.d.sync += rule.todo.eq(0)
                    m.d.comb += unit.pool.addr.eq(0)
                    self.next_row(m)
        with m.State("ENABLES"):
            m.d.sync += rule.enabled.eq(self.valid & unit.pool.data_r[: self.config.fields])
            go()
        with m.State("RUN"):
            with m.If(rule.last):
                m.next = "WRITE"
                if rewarded:
                    with m.If(unit.eligible):
                        m.next = "WRITE_ELIGIBILITY"
        with m.State("WRITE"):
            at(unit.base)
            m.d.comb += [unit.pool.write.eq(1), unit.pool.data_w.eq(rule.result())]
            self.next_row(m)
        if rewarded:
            with m.State("WRITE_ELIGIBILITY"):
                at(unit.e_base)
                m.d.comb += [unit.pool.write.eq(1), unit.pool.data_w.eq(rule.result_eligibility())]
                with m.If(unit.reward != 0):
                    m.next = "WRITE"
                with m.Else():
                    self.next_row(m)
