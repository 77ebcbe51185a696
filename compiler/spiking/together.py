"""Cycles of a step of several cores, from those of each between the places where they wait for each other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import reduce
from typing import Any

import numpy as np

from . import cycles
from .core import CoreConfig
from .isa import Step

Stretch = tuple[Step, int, Any]
"""Up to an EXCHANGE (of so many words) or END: cycles, one number or an array."""


def stretches(
    config: CoreConfig,
    commands: Iterable[tuple[Step, Mapping[str, int]]],
    cost: Callable[[Step, Mapping[str, int]], Any],
) -> list[Stretch]:
    """A core's step; ``cost``: the cycles of a command that does not wait, and of END."""
    out: list[Stretch] = []
    total: Any = 0
    for step, fields in commands:
        if step is Step.EXCHANGE:
            out.append((step, fields["words"], total + cycles.fetch_cycles(config, step) + 1))
            total = 0
        else:
            total = total + cost(step, fields)
    return [*out, (Step.END, 0, total)]


def together(cores: Sequence[Sequence[Stretch]]) -> Any:
    """Cycles of the step: each stretch takes as long as the slowest core's."""
    total: Any = 0
    for met in zip(*cores, strict=True):
        step, words, _ = met[0]
        total = total + reduce(np.maximum, (value for _, _, value in met))
        if step is Step.EXCHANGE:
            total = total + cycles.exchange_cycles(words)
    return total
