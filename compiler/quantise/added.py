"""Steps of products that are added: one accumulator sums them all, where their weights fit on one step.

W x + U h is exact whatever the steps of its products are. But to add them, an engine brings them to the finest step: the weights of
the coarser product get as many bits more as its step is larger. Where that is more than ``aligned_bits``, the finer product gives
up its last bits. What a rounded weight adds to a sum is at most half its step times the largest input, and that is 2^(bits - 2) to
2^(bits - 1) steps of the input, whose format is as fine as calibration allows. On a common step, no weight thus adds more than
twice what those of the coarsest product add anyway.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING

from neuroloom.compiler.real.program import Program, RealNode

from .formats import choose, weight_point

if TYPE_CHECKING:
    from .lower import Lowering


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
    ends = list(_ends(low, low.sums.get(node.name, [])))
    return min(ends, default=None)


def _ends(low: Lowering, group: list[RealNode]) -> Iterator[int]:
    """Of each product of a sum the finest step that its weights can be brought to."""
    for node in group:
        rules = low.rules(node.name)
        if rules.product is not None or rules.weights == "per_channel":
            return  # stored by themselves, whatever their steps
        if rules.weight_type is not None:
            frac, bits = rules.weight_type.frac, rules.weight_type.width
        else:
            frac, bits = int(weight_point(node.attrs["weights"], rules)[0]), rules.weight_bits
        yield frac + _input_frac(low, node.inputs[0]) + max(rules.aligned_bits - bits, 0)


def _input_frac(low: Lowering, name: str) -> int:
    """Fraction bits of a product's input; of one that comes later in the program those that calibration will give it."""
    if name in low.raws or low.is_const(name):
        return low.builder[low.factor(name)].type.frac
    if name in low.formats:
        return low.formats[name].frac
    rules = low.rules(name)
    return (rules.type or choose(low.seen(name), rules.bits, rules)).frac
