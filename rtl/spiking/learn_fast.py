"""LEARN_DENSE for additive rules: one row word per cycle, read through the pool's port and written through a second one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import Out
from neuroloom.compiler.errors import InputError
from neuroloom.compiler.spiking.core import SPIKE_WORD, CoreConfig

from .learn_rule import TRACE_BITS, Rule
from .learn_sources import Access, Sources
from .learn_targets import Targets
from .ports import POOL_ADDR_BITS

if TYPE_CHECKING:
    from .learn import Learn

STAGES = 4
"""Cycles from the address of a row word to its write: memory, depression, potentiation, write."""


class PoolWritePort(wiring.Signature):
    """A second port of the pool, from its user's side: writes a word while :class:`PoolPort` reads another."""

    def __init__(self, config: CoreConfig) -> None:
        super().__init__({"addr": Out(POOL_ADDR_BITS), "write": Out(1), "data": Out(config.word_bits)})


def check_fast(config: CoreConfig) -> None:
    """Raise InputError when the configuration cannot have the fast path."""
    if config.weight_bits != 8 or config.fields < SPIKE_WORD:
        raise InputError(
            "a core with fast learning must have 8-bit weights and at least 4 lanes, "
            f"not {config.weight_bits}-bit weights and {config.lanes} lanes"
        )


class FastWalk:
    """The part of :class:`Learn` that takes over a LEARN_DENSE with ``chosen``.

    Everything read from the pool passes the same stages, one word per cycle: traces of targets, traces of sources, rows.
    A trace becomes the amount Δ that it stands for in the cycle in which a row word takes its depression, so that the
    sources' traces are there just in time for the row behind them.
    """

    def __init__(
        self, config: CoreConfig, unit: Learn, rule: Rule, sources: Sources, targets: Targets, access: Access
    ) -> None:
        self.config, self.unit, self.rule, self.sources = config, unit, rule, sources
        self.targets, self.access = targets, access
        self.width = config.weight_bits
        self.delta_bits = config.weight_bits + 1
        self.chosen = Signal()
        self.row, self.source_group = Signal(), Signal()
        self.target_group, self.target_spikes = Signal(), Signal()

    def _amount(self, trace: Value, of_source: Value) -> Value:
        """Δ of a trace, cut to what can matter."""
        unit = self.unit
        amount = Mux(unit.window, Mux(trace.any(), Mux(of_source, unit.pot, unit.dep), 0), trace)
        half = Mux(unit.rounding == 1, Cat(unit.f == bit + 1 for bit in range(TRACE_BITS + 1)), 0)
        delta = (amount + half)[: TRACE_BITS + 2] >> unit.f
        return Mux(
            delta[self.delta_bits :].any(), Const((1 << self.delta_bits) - 1, self.delta_bits), delta[: self.delta_bits]
        )

    def build(self, m: Module) -> None:
        """Add the pipeline."""
        unit, config = self.unit, self.config
        lanes, fields, width, bits = config.lanes, config.fields, self.width, self.delta_bits
        rewarded = self.rule.rewarded
        m.d.comb += self.chosen.eq(
            ~unit.soft & ~unit.enables & ~(unit.eligible if rewarded else 0) & ((unit.rounding != 2) | (unit.f == 0))
        )
        # What was asked for in this cycle, and in the cycles before.
        kinds = {"row": self.row, "source": self.source_group, "target": self.target_group}
        first_of_word = Signal()
        m.d.comb += first_of_word.eq(self.source_group & (self.sources.number == 0))
        kinds |= {"spikes": first_of_word, "fired": self.target_spikes}
        at: list[dict[str, Signal]] = [kinds]
        for stage in range(1, STAGES + 1):
            late = {name: Signal(name=f"{name}_{stage}") for name in kinds}
            m.d.sync += [late[name].eq(at[-1][name]) for name in kinds]
            at.append(late)
        address = unit.pool.addr
        for stage in range(1, STAGES + 1):
            later = Signal(POOL_ADDR_BITS, name=f"address_{stage}", reset_less=True)
            m.d.sync += later.eq(address)
            address = later

        word = Signal(config.word_bits, reset_less=True)
        seen = Signal(SPIKE_WORD, reset_less=True)
        spikes = Signal(SPIKE_WORD, reset_less=True)
        m.d.sync += [word.eq(unit.pool.data_r), seen.eq(unit.hist.data_r)]

        # Stage 2: depression of rows, amounts of traces.
        depressions = Signal(fields * bits, reset_less=True)
        potentiations = Signal(lanes * bits, reset_less=True)
        fired = Signal(fields, reset_less=True)
        valid = Signal(fields, reset_less=True)
        middle = Signal(config.word_bits, reset_less=True)
        low, high = unit.w_min[:width].as_signed(), unit.w_max[:width].as_signed()
        amounts = []
        for lane in range(lanes):
            trace = word.word_select(lane, 32)[:TRACE_BITS]
            amounts.append(self._amount(trace, at[2]["source"]))
        with m.If(at[1]["spikes"]):
            m.d.sync += spikes.eq(unit.hist.data_r)
        with m.Elif(at[2]["row"]):
            m.d.sync += spikes.eq(spikes.rotate_right(1))
        with m.If(at[2]["target"]):
            m.d.sync += [depressions.eq(Cat(depressions[lanes * bits :], *amounts)), valid.eq(self.targets.valid)]
        with m.If(at[2]["fired"]):
            m.d.sync += fired.eq(Cat(fired[SPIKE_WORD:], seen))
        for field in range(fields):
            weight = word.word_select(field, width).as_signed()
            less = weight - depressions.word_select(field, bits)
            less = Mux(less < low, low, less)
            m.d.sync += middle.word_select(field, width).eq(Mux(spikes[0] & valid[field], less, weight))

        # Stage 3: potentiation.
        out = Signal(config.word_bits, reset_less=True)
        with m.If(at[2]["source"]):
            m.d.sync += potentiations.eq(Cat(*amounts))
        with m.Elif(at[3]["row"]):
            m.d.sync += potentiations.eq(potentiations.rotate_right(bits))
        for field in range(fields):
            weight = middle.word_select(field, width).as_signed()
            more = weight + potentiations[:bits]
            more = Mux(more > high, high, more)
            m.d.sync += out.word_select(field, width).eq(Mux(fired[field] & valid[field], more, weight))

        # Stage 4: write.
        with m.If(at[4]["row"]):
            m.d.comb += [unit.rows.addr.eq(address), unit.rows.write.eq(1), unit.rows.data.eq(out)]

    def states(self, m: Module) -> None:
        """The states of the command, inside :class:`Learn`'s state machine."""
        unit, sources, targets = self.unit, self.sources, self.targets
        drain = Signal(range(STAGES))
        group = Signal(range(targets.groups))
        with m.State("FAST_TARGETS"):
            sources.rewind(m, unit, self.rule)
            self.access.read(m, unit.y_base, targets.y_offset)
            m.d.comb += targets.next_group.eq(1)
            m.d.comb += self.target_group.eq(1)
            with m.If(group < targets.words):
                targets.ask_spikes(m)
                m.d.comb += self.target_spikes.eq(1)
            m.d.sync += [sources.offset.eq(targets.column), group.eq(group + 1)]
            with m.If(group == targets.groups - 1):
                m.next = "FAST_ASK"
        with m.State("FAST_ASK"):
            sources.ask(m, unit, self.access)
            m.d.comb += self.source_group.eq(1)
            m.next = "FAST_ROW"
        with m.State("FAST_ROW"):
            self.access.read(m, unit.base, sources.offset)
            m.d.comb += self.row.eq(1)
            sources.advance(m)
            with m.If(sources.last_of_group):
                m.next = "FAST_ASK"
            with m.If(sources.last):
                targets.next_block(m)
                m.next = "FAST_TARGETS"
                with m.If(targets.last):
                    m.next = "FAST_DRAIN"
        with m.State("FAST_DRAIN"):
            m.d.sync += drain.eq(drain + 1)
            with m.If(drain == STAGES - 1):
                m.d.sync += drain.eq(0)
                m.next = "DONE"
