"""Steps of products that are added: one accumulator sums them all, where their weights fit on one step.

W x + U h is exact whatever the steps of its products are. But to add them, an engine brings them to the finest step: the weights of
the coarser product get as many bits more as its step is larger. Where that is more than ``aligned_bits``, the finer product gives
up its last bits, down to ``KEPT_BITS``. What a rounded weight adds to a sum is at most half its step times the largest input. Where
the inputs fill as many bits each, a weight on a common step thus adds at most twice what those of the coarsest product add anyway.
Small counts beside a state of 16 bits are another matter: their steps lie 15 bits apart, of which a sum can spare only a few.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from neuroloom.compiler.ir.types import Type
from neuroloom.compiler.real.program import Program, RealNode

from .config import Rules
from .formats import choose, weight_point

if TYPE_CHECKING:
    from .lower import Lowering

KEPT_BITS = Rules().weight_bits
"""Bits that the weights of a product keep whatever they are added to: as many as weights have that nobody asked more of."""


def added_products(program: Program) -> dict[str, list[RealNode]]:
    """For every matrix product that goes into a sum with others, by name, all of that sum."""
    readers: dict[str, list[RealNode]] = defaultdict(list)
    shown = {o.value for o in program.outputs}
    for node in program.walk():
        for name in node.inputs:
            readers[name].append(node)
        shown.update(name for region in node.regions for name in region.results)
    sums: dict[str, list[RealNode]] = defaultdict(list)
    for node in program.walk():
        if node.op == "linear" and "grid" not in node.attrs:
            sums[_sum_of(node.name, readers, shown)].append(node)
    return {node.name: group for group in sums.values() if len(group) > 1 for node in group}


def _sum_of(name: str, readers: dict[str, list[RealNode]], shown: set[str]) -> str:
    """The last of the additions that a value goes into before anything else reads it."""
    while name not in shown and len(readers[name]) == 1 and readers[name][0].op in ("add", "sub"):
        name = readers[name][0].name
    return name


def finest_product(low: Lowering, node: RealNode) -> int | None:
    """The most fraction bits that the products of a matrix product may have for the sum that it is part of; None: any number."""
    group = low.sums.get(node.name, [])
    if not group or any(_by_itself(low, each) for each in group):
        return None
    limit = min(_finest(low, each) + max(low.rules(each.name).aligned_bits - _bits(low, each), 0) for each in group)
    return max(limit, _finest(low, node) - max(_bits(low, node) - KEPT_BITS, 0))


def _by_itself(low: Lowering, node: RealNode) -> bool:
    """Whether a product is stored before it is added, so that its step is its own."""
    rules = low.rules(node.name)
    return rules.product is not None or (rules.weights == "per_channel" and rules.weight_type is None)


def _weight_frac(low: Lowering, node: RealNode) -> int:
    rules = low.rules(node.name)
    if rules.weight_type is not None:
        return rules.weight_type.frac
    return int(weight_point(node.attrs["weights"], rules)[0])


def _bits(low: Lowering, node: RealNode) -> int:
    rules = low.rules(node.name)
    return rules.weight_bits if rules.weight_type is None else rules.weight_type.width


def _finest(low: Lowering, node: RealNode) -> int:
    return _weight_frac(low, node) + _input_type(low, node.inputs[0]).frac


def _input_type(low: Lowering, name: str) -> Type:
    """Type of a product's input; of one that comes later in the program the one that calibration will give it."""
    if name in low.raws or low.is_const(name):
        return low.builder[low.factor(name)].type
    if name in low.formats:
        return low.formats[name]
    rules = low.rules(name)
    return rules.type or choose(low.seen(name), rules.bits, rules)
