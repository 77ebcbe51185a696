"""What both LEARN commands have in common: the walk over the sources."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value
from neuroloom.compiler.spiking.core import SPIKE_WORD, CoreConfig
from neuroloom.compiler.spiking.layout import header_place, header_stride
from neuroloom.compiler.spiking.learner import SOURCE_STEP

from .learn_rule import TRACE_BITS, Rule
from .ports import HIST_WORD_BITS

if TYPE_CHECKING:
    from .learn import Learn


class Access:
    """Addresses of the pool: a field of the command and an offset, added in one place; 0 where no state reads.

    ``late``: both are in registers before they are added, and what is to be written with them.
    """

    def __init__(self, config: CoreConfig, *, late: bool = False) -> None:
        self.base = Signal(range(config.pool_words))
        self.offset = Signal(range(config.pool_words))
        self.write, self.data = Signal(), Signal(config.word_bits)
        self.late = late

    def build(self, m: Module) -> tuple[Value, Value, Value]:
        """Add the sum; returns address, write strobe and data for the pool."""
        parts: list[Signal] = [self.base, self.offset, self.write, self.data]
        if self.late:
            now, parts = parts, [Signal.like(part, name=f"{part.name}_late") for part in parts]
            m.d.sync += [late.eq(part) for late, part in zip(parts, now, strict=True)]
        base, offset, write, data = parts
        return (base + offset)[: len(base)], write, data

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
        self.traced = Signal(config.lanes, reset_less=True)  # which traces are not 0
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
                self.traced.eq(self.traced.rotate_right(1)),
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
            rule.source_product.eq(first_random(unit, "x")),
        ]

    def ask(self, m: Module, unit: Learn, access: Access) -> None:
        """Read the traces of the next group; its spike word when it is the first group of one: :meth:`ask_spikes`."""
        access.read(m, unit.x_base, self.x_offset)
        m.d.sync += self.x_offset.eq(self.x_offset + unit.x_stride)

    def ask_spikes(self, m: Module, unit: Learn) -> None:
        """The part of :meth:`ask` that is about spikes, one cycle before they are taken, on large cores two."""
        m.d.comb += [unit.look.word.eq(self.word), unit.look.slot.eq(unit.slot)]
        with m.If(self.number == 0):
            m.d.sync += self.word.eq(self.word + 1)

    def take(self, m: Module, unit: Learn) -> None:
        """What was asked for has come."""
        came = traces(unit, self.lanes)
        m.d.sync += [
            self.x.eq(came),
            self.traced.eq(Cat(came.word_select(lane, TRACE_BITS).any() for lane in range(self.lanes))),
        ]
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


def first_random(unit: Learn, side: str) -> Value:
    """Where 40503·j (side ``x``) or 27469·i (``y``) of a command begins: with 0, but on several cores with the fragment's start."""
    if unit.several:
        return Cat(Const(0, 4), getattr(unit, f"{side}_random_low"), getattr(unit, f"{side}_random"))
    return Const(0, 16)
