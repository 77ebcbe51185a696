"""LEARN_DENSE: block by block of F targets, row by row of the sources."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amaranth.hdl import Module, Mux, Signal
from neuroloom.compiler.spiking.core import CoreConfig

from .learn_rule import Rule
from .learn_sources import Access, Sources, due
from .learn_targets import Targets

if TYPE_CHECKING:
    from .learn import Learn


class DenseWalk:
    """The part of :class:`Learn` that walks over dense rows."""

    def __init__(
        self,
        config: CoreConfig,
        unit: Learn,
        rule: Rule,
        sources: Sources,
        targets: Targets,
        access: Access,
    ) -> None:
        self.config, self.unit, self.rule, self.sources = config, unit, rule, sources
        self.targets, self.access = targets, access
        self.dep, self.pot = Signal(), Signal()

    def build(self, m: Module) -> None:
        """Say what the current row needs."""
        m.d.comb += [
            self.dep.eq(self.sources.spikes[0]),
            self.pot.eq(self.rule.traced & self.targets.any_fired),
        ]

    def next_row(self, m: Module) -> None:
        """Go to the next source's row word of this block, or to the next block; on large cores by a state of its own."""
        if self.config.large:
            m.next = "ROW_NEXT"
        else:
            self._next_row(m)

    def _next_row(self, m: Module) -> None:
        self.sources.advance(m)
        m.next = "ROW"
        with m.If(self.sources.last_of_group):
            m.next = "ASK"
        with m.If(self.sources.last):
            self.targets.next_block(m)
            m.next = "TARGETS"
            with m.If(self.targets.last):
                m.next = "DONE"

    def states(self, m: Module) -> None:
        """The states of the command, inside :class:`Learn`'s state machine."""
        unit, rule, sources, targets = self.unit, self.rule, self.sources, self.targets
        rewarded = rule.rewarded

        def read(base: Signal) -> None:
            self.access.read(m, base, sources.offset)

        def go() -> None:
            m.d.sync += rule.todo.eq(due(unit, rewarded, self.dep, self.pot))
            m.next = "RUN"

        came_excited = Signal(reset_less=True)
        m.d.sync += came_excited.eq(unit.pool.data_r.any())
        late = self.config.large  # a word comes walk_cycles after it was asked for

        def first_comes() -> None:
            m.next = "WORD"
            if rewarded:
                with m.If(unit.eligible):
                    m.next = "ELIGIBILITY"

        word = Signal(range(max(2, targets.words)))
        with m.State("TARGETS"):
            targets.ask_spikes(m)
            sources.rewind(m, unit, rule)
            m.d.sync += [sources.offset.eq(targets.column), word.eq(word + 1)]
            with m.If(word == targets.words - 1):
                m.d.sync += word.eq(0)
                m.next = "ASK"

        with m.State("ROW"):
            read(Mux(unit.eligible, unit.e_base, unit.base) if rewarded else unit.base)  # needed or not
            with m.If(self.dep | self.pot | (unit.eligible if rewarded else 0)):
                if late:
                    m.next = "ROW_COMES"
                else:
                    first_comes()
            with m.Else():
                self.next_row(m)
        if late:
            with m.State("ROW_COMES"):
                read(Mux(unit.eligible, unit.base, unit.enable_base) if rewarded else unit.enable_base)
                m.next = f"ROW_COMES{self.config.walk_cycles - 2}"
            for left in range(self.config.walk_cycles - 2, 0, -1):
                with m.State(f"ROW_COMES{left}"):
                    read(unit.enable_base)
                    if left > 1:
                        m.next = f"ROW_COMES{left - 1}"
                    else:
                        first_comes()
        if rewarded:
            with m.State("ELIGIBILITY"):
                m.d.comb += rule.load_eligibility.eq(1)
                read(unit.enable_base if late else unit.base)
                m.next = "WORD"
        if self.config.large:
            with m.State("ROW_NEXT"):
                self._next_row(m)
        with m.State("WORD"):
            m.d.comb += rule.load.eq(1)
            m.d.sync += [rule.enabled.eq(targets.valid), targets.y_offset.eq(targets.y_block)]
            read(unit.enable_base)
            with m.If(unit.enables):
                m.next = "ENABLES"
            with m.Else():
                go()
            if rewarded:
                excited = rule.eligibility.any()
                if self.config.large:
                    excited = came_excited
                with m.If(unit.eligible & ~excited & ~self.dep & ~self.pot):
                    m.d.sync += rule.todo.eq(0)
                    self.next_row(m)
        with m.State("ENABLES"):
            m.d.sync += rule.enabled.eq(targets.valid & unit.pool.data_r[: self.config.fields])
            go()
        with m.State("RUN"):
            with m.If(rule.last):
                m.next = "WRITE"
                if rewarded:
                    with m.If(unit.eligible):
                        m.next = "WRITE_ELIGIBILITY"
        access = self.access
        with m.State("WRITE"):
            read(unit.base)
            m.d.comb += [access.write.eq(1), access.data.eq(rule.result())]
            self.next_row(m)
        if rewarded:
            with m.State("WRITE_ELIGIBILITY"):
                read(unit.e_base)
                m.d.comb += [access.write.eq(1), access.data.eq(rule.result_eligibility())]
                with m.If(unit.reward != 0):
                    m.next = "WRITE"
                with m.Else():
                    self.next_row(m)
