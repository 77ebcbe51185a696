"""Where the targets of a projection are, block by block of F: their traces, their spikes, how many are left."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amaranth.hdl import Cat, Module, Signal, Value
from neuroloom.compiler.spiking.core import SPIKE_WORD, CoreConfig
from neuroloom.compiler.spiking.learner import TARGET_STEP

from .learn_rule import Rule
from .learn_sources import Access, first_random
from .ports import HIST_WORD_BITS

if TYPE_CHECKING:
    from .learn import Learn

HIST_CYCLES = 2
"""Cycles from the address of a spike word to the word, on large cores: the address is in a register first."""


class Targets:
    """A block of targets: ``fields`` of them, in ``groups`` words of traces and ``words`` words of spikes.

    ``y_offset`` is where the next traces are read, ``valid`` which fields are targets, ``left`` how many are from this block
    on.
    """

    def __init__(self, config: CoreConfig, unit: Learn, rule: Rule, access: Access) -> None:
        self.unit, self.rule, self.access, self._large = unit, rule, access, config.large
        self.fields = config.fields
        self.groups = config.fields // config.lanes
        self.words = max(1, config.fields // SPIKE_WORD)
        self.left = Signal(range(config.neurons + 1), reset_less=True)
        self.column = Signal(range(max(16, config.neurons // config.fields + 1)), reset_less=True)
        self.y_block = Signal(range(config.pool_words), reset_less=True)
        self.y_offset = Signal(range(config.pool_words), reset_less=True)
        self.word = Signal(HIST_WORD_BITS, reset_less=True)
        self.valid = Signal(config.fields)
        self.any_fired = Signal(reset_less=True)
        self.last = Signal()
        self.next_group = Signal()  # the traces at y_offset are read in this cycle; those of the next group come next
        self.y_step = Signal(range(config.pool_words))
        self.number_step = Signal(16)
        self._asked = Signal()

    def build(self, m: Module) -> None:
        """Take the spike words that come; say which fields are targets."""
        rule, unit = self.rule, self.unit
        come = Signal()
        if self._large:
            asked = Signal()
            m.d.sync += [asked.eq(self._asked), come.eq(asked)]
        else:
            m.d.sync += come.eq(self._asked)
        with m.If(come):
            if self.fields >= SPIKE_WORD:
                m.d.sync += rule.fired.eq(Cat(rule.fired[SPIKE_WORD:], unit.hist.data_r))
            else:
                m.d.sync += rule.fired.eq(unit.hist.data_r.word_select(self._part, self.fields))
        # on large cores a cycle after the block begins
        m.d["sync" if self._large else "comb"] += self.valid.eq(Cat(self.left > field for field in range(self.fields)))
        m.d.comb += self.last.eq(self.left <= self.fields)
        # One adder: steps of a stride, or the product of a target's group and the stride.
        with m.If(rule.asked_group | self.next_group):
            m.d.comb += self.y_step.eq(unit.y_stride)
        m.d.sync += self.y_offset.eq(self.y_offset + self.y_step)
        number_step: Value = self.number_step
        if self._large:  # long before it is used
            number_step = Signal.like(self.number_step, name="number_step_late")
            m.d.sync += number_step.eq(self.number_step)
        m.d.sync += rule.target_product.eq(rule.target_product + number_step)
        with m.If(rule.asking):
            self.access.read(m, unit.y_base, self.y_offset)

    @property
    def _part(self) -> Signal:
        """Which part of a spike word has the block's targets."""
        return self.column[: (SPIKE_WORD // self.fields - 1).bit_length()]

    def rewind(self, m: Module) -> None:
        """Go to the first block."""
        unit = self.unit
        m.d.sync += [
            self.left.eq(unit.targets),
            self.column.eq(0),
            self.y_block.eq(unit.y_k),
            self.y_offset.eq(unit.y_k),
            self.word.eq(unit.target[4:]),
            self.rule.target_product.eq(first_random(unit, "y")),
        ]

    def ask_spikes(self, m: Module) -> None:
        """Read the next spike word of this block."""
        unit = self.unit
        m.d.comb += [unit.look.slot.eq(unit.slot), unit.look.word.eq(self.word), self._asked.eq(1)]
        if self.fields >= SPIKE_WORD:
            m.d.sync += self.word.eq(self.word + 1)

    def limit(self, m: Module) -> None:
        """Forget the spikes of neurons past the target population; say whether one is left."""
        kept = self.rule.fired & self.valid
        m.d.sync += [self.rule.fired.eq(kept), self.any_fired.eq(kept.any())]

    def next_block(self, m: Module) -> None:
        """Go to the next block; ``y_offset`` stays."""
        m.d.sync += [
            self.left.eq(self.left - self.fields),
            self.column.eq(self.column + 1),
            self.y_block.eq(self.y_block + self.unit.y_stride * self.groups),
        ]
        m.d.comb += self.number_step.eq(TARGET_STEP * self.fields & 0xFFFF)
        if self.fields < SPIKE_WORD:
            with m.If(self._part.all()):
                m.d.sync += self.word.eq(self.word + 1)
