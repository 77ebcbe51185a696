"""Random rounding of whole row words: the carries of fractions and random numbers, for every field of a word at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value
from neuroloom.compiler.spiking.core import CoreConfig
from neuroloom.compiler.spiking.learner import SOURCE_STEP, TARGET_STEP

from .learn_sources import first_random
from .random import scramble

if TYPE_CHECKING:
    from .learn import Learn

NUMBER_BITS = 16


@dataclass(frozen=True)
class Carries:
    """What depression takes and potentiation adds beside the amounts, one bit per field; registers."""

    down: Signal
    up: Signal


class Fractions:
    """A part of :class:`.learn_fast.FastWalk`, with its stages.

    With a mask of the low f bits, the carry of (a mod 2^f) + (u mod 2^f) is what leaves the sum of (a or not mask) and
    (u and mask), of 16 bits: ones above the fraction pass it on. Without random rounding the mask is 0, and nothing is carried.
    Per target a register has its fraction and its number, per source of two groups its fraction; a row's number comes in three
    cycles from the product 40503·j. The registers of the targets are a ring that turns by as many targets as there are lanes in
    each of a row's :attr:`beats`; the carries of one beat after the other are shifted into their registers.
    """

    def __init__(self, config: CoreConfig) -> None:
        self.lanes, self.fields = config.lanes, config.fields
        self.beats = config.fields // config.lanes
        self.group, self.row = (Signal(NUMBER_BITS, name=f"random_{n}", reset_less=True) for n in ("group", "row"))
        self.target = Signal(NUMBER_BITS, name="random_target", reset_less=True)

    def first_target(self, m: Module, unit: Learn) -> None:
        """Go to the first target, between commands."""
        m.d.sync += self.target.eq(first_random(unit, "y"))

    def first_source(self, m: Module, unit: Learn) -> None:
        """Go to the first source of a block of targets."""
        m.d.sync += self.group.eq(first_random(unit, "x"))

    def next_group(self) -> list[Any]:
        """The rows of a group of sources begin."""
        return [self.row.eq(self.group), self.group.eq(self.group + (SOURCE_STEP * self.lanes & 0xFFFF))]

    def build(
        self, m: Module, unit: Learn, index: Value, traces: list[Value], at: list[dict[str, Any]], memory: int
    ) -> Carries:
        """Add the registers and adders.

        ``index`` is the lane of the row that is asked for, ``traces`` are the amounts of the word of stage ``memory`` + 1, ``at``
        the kinds of what is in every stage: ``turn`` in each beat of a row, whose word is asked for in the last one, ``bank`` the
        group of its source. ``down`` belongs to the word of stage ``memory`` + 1, ``up`` to that of the next one.
        """
        lanes, fields, bits = self.lanes, self.fields, NUMBER_BITS
        mask = Signal(bits, name="fraction_mask", reset_less=True)
        m.d.sync += mask.eq(Cat((unit.rounding == 2) & (unit.f > bit) for bit in range(bits)))

        # Numbers and fractions of targets, fractions of sources: a group at a time.
        products = [Signal(bits, name=f"target_product{lane}", reset_less=True) for lane in range(lanes)]
        hashed = [Signal(bits, name=f"target_hash{lane}", reset_less=True) for lane in range(lanes)]
        for lane in range(lanes):
            m.d.sync += [
                products[lane].eq(self.target + (TARGET_STEP * lane & 0xFFFF)),
                hashed[lane].eq(scramble(products[lane]) & mask),
            ]
        fractions = Cat((trace | ~mask)[:bits] for trace in traces)
        asked, in_word = at[memory], at[memory + 1]
        with m.If(at[memory - 1]["target"]):  # two cycles before its number is wanted
            m.d.sync += self.target.eq(self.target + (TARGET_STEP * lanes & 0xFFFF))
        numbers, targets = (
            Signal(fields * bits, name=f"target_{n}", reset_less=True) for n in ("numbers", "fractions")
        )
        span = lanes * bits
        for ring, new in ((numbers, Cat(*hashed)), (targets, fractions)):
            with m.If(in_word["target"] | asked["turn"]):
                m.d.sync += ring.eq(Cat(ring[span:], Mux(in_word["target"], new, ring[:span])))
        sources = [Signal(span, name=f"source_fractions{n}", reset_less=True) for n in range(2)]
        for number, group in enumerate(sources):
            with m.If(in_word["source"] & (in_word["odd"] == number)):
                m.d.sync += group.eq(fractions)
        source = Signal(bits, name="source_fraction", reset_less=True)
        m.d.sync += source.eq(Mux(asked["bank"], *(g.word_select(asked["index"], bits) for g in reversed(sources))))

        # The row's numbers: of depression for stage ``memory``, of potentiation for the next one, each beat after beat.
        product = Signal(bits, name="source_product_fast", reset_less=True)
        steps = Array(Const(SOURCE_STEP * lane & 0xFFFF, bits) for lane in range(lanes))
        m.d.sync += product.eq(self.row + steps[index])
        rows = []
        for name, half, wait in (("down", unit.lfsr[:bits], memory - 3), ("up", unit.lfsr[bits:], memory - 2)):
            added, number = (Signal(bits, name=f"{kind}_{name}", reset_less=True) for kind in ("added", "number"))
            m.d.sync += [added.eq(half + product), number.eq(scramble(added) & mask)]
            for stage in range(wait):
                earlier, number = number, Signal(bits, name=f"number_{name}{stage}", reset_less=True)
                m.d.sync += number.eq(earlier)
            rows.append(number)
        carries = Carries(
            Signal(fields, name="carry_down", reset_less=True), Signal(fields, name="carry_up", reset_less=True)
        )
        last = fields - lanes  # the beat before, which the ring has turned past
        down, up = [], []
        for lane in range(lanes):
            own, before = (numbers.word_select(lane + first, bits) for first in (0, last))
            down.append((targets.word_select(lane, bits) + (rows[0] ^ own))[bits])
            up.append((source + (rows[1] ^ before))[bits])
        for kept, new in ((carries.down, down), (carries.up, up)):
            m.d.sync += kept.eq(Cat(kept[lanes:], *new))
        return carries
