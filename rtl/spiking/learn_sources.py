"""What both LEARN commands have in common: the walk over the sources."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value
from neuroloom.compiler.spiking.core import SPIKE_WORD, CoreConfig
from neuroloom.compiler.spiking.layout import header_place, header_stride

from .learn_rule import TRACE_BITS, Rule
from .ports import HIST_WORD_BITS
from .random import SOURCE_STEP

if TYPE_CHECKING:
    from .learn import Learn


class Access:
    """Addresses of the pool: a field of the command and an offset, added in one place; 0 where no state reads."""

    def __init__(self, config: CoreConfig) -> None:
        self.base = Signal(range(config.pool_words))
        self.offset = Signal(range(config.pool_words))

    def build(self, m: Module, unit: Learn) -> None:
        """Add the sum."""
        m.d.comb += unit.pool.addr.eq((self.base + self.offset)[: len(self.base)])

    def read(self, m: Module, base: Value, offset: Value) -> None:
        """Use this address in this state."""
        m.d.comb += [self.base.eq(base), self.offset.eq(offset)]


class Sources:
    """Walks over the sources of a projection: their traces and spikes, one source after the other.

    ``x``, ``spikes`` are rings with the current source at the bottom; ``number`` is the source modulo 16.
    """

    def __init__(self, config: CoreConfig) -> None:
        self.config, self.lanes = config, config.lanes
        self.x = Signal(TRACE_BITS * config.lanes, reset_less=True)
        self.spikes = Signal(16, reset_less=True)
        self.number = Signal(4, reset_less=True)
        self.left = Signal(range(max(config.neurons, config.inputs) + 1), reset_less=True)
        self.x_offset = Signal(range(config.pool_words), reset_less=True)  # in the state block
        self.word = Signal(HIST_WORD_BITS, reset_less=True)
        self.offset = Signal(range(config.pool_words), reset_less=True)  # of the row, or of the header
        self.next = Signal()
        self.last = Signal()
        self.last_of_group = Signal()

    def build(self, m: Module, unit: Learn, rule: Rule) -> None:
        """Add what is said about the current source, and the way to the next one."""
        m.d.comb += [
            self.last.eq(self.left == 1),
            self.last_of_group.eq(self.number % self.lanes == self.lanes - 1),
        ]
        with m.If(self.next):
            m.d.sync += [
                self.x.eq(self.x.rotate_right(TRACE_BITS)),
                self.spikes.eq(self.spikes.rotate_right(1)),
                self.number.eq(self.number + 1),
                self.left.eq(self.left - 1),
                self.offset.eq(self.offset + Mux(unit.sparse, self.header_step(), unit.row_words)),
                rule.source_product.eq(rule.source_product + SOURCE_STEP),
            ]

    def header_step(self) -> Value:
        """How far the next source's header is: one header, or whether it stands in the next pool word."""
        config = self.config
        if not config.large:
            return Const(1)
        words = [header_place(config, number)[0] for number in range(SPIKE_WORD)] + [header_stride(config)]
        return Array(Const(after - before, 1) for before, after in itertools.pairwise(words))[self.number]

    def rewind(self, m: Module, unit: Learn, rule: Rule) -> None:
        """Go back to the first source."""
        m.d.sync += [
            self.number.eq(0),
            self.left.eq(unit.sources),
            self.x_offset.eq(unit.x_k),
            self.word.eq(unit.first_word),
            rule.source_product.eq(0),
        ]

    def ask(self, m: Module, unit: Learn, access: Access) -> None:
        """Read the traces of the next group, and its spike word when it is the first group of one."""
        access.read(m, unit.x_base, self.x_offset)
        m.d.comb += [unit.hist.word.eq(self.word), unit.hist.slot.eq(unit.slot)]
        m.d.sync += self.x_offset.eq(self.x_offset + unit.x_stride)
        with m.If(self.number == 0):
            m.d.sync += self.word.eq(self.word + 1)

    def take(self, m: Module, unit: Learn) -> None:
        """What was asked for has come."""
        m.d.sync += self.x.eq(traces(unit, self.lanes))
        with m.If(self.number == 0):
            m.d.sync += self.spikes.eq(unit.hist.data_r)

    def advance(self, m: Module) -> None:
        """Go to the next source."""
        m.d.comb += self.next.eq(1)


def traces(unit: Learn, lanes: int) -> Value:
    """The traces in the pool word that has come."""
    return Cat(unit.pool.data_r.word_select(lane, 32)[:TRACE_BITS] for lane in range(lanes))


def due(unit: Learn, rewarded: bool, dep: Any, pot: Any) -> Value:
    """The phases of a row or record, for :attr:`Rule.todo`."""
    if not rewarded:
        return Cat(0, dep, pot, 0)
    return Cat(unit.eligible, dep, pot, unit.eligible & (unit.reward != 0))
