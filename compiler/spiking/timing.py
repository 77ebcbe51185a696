"""What a command met in a step, and its cycles from that by the formulas of ``cycles.py`` and
``cycles_learning.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from . import cycles
from .core import CoreConfig
from .cycles_learning import Look, decide_cycles, learn_dense_cycles, learn_sparse_cycles
from .isa import Step


@dataclass
class Activity:
    """What decides a command's cycles beyond its fields."""

    events: int = 0
    spikes: int = 0
    sparse: bool = False
    decided: bool = False
    delays: list[tuple[int, list[tuple[int, int, int, int]]]] = field(default_factory=list)
    rows: list[tuple[int, list[int]]] = field(default_factory=list)
    seen: dict[str, Any] = field(default_factory=dict)

    def look(
        self,
        x: np.ndarray,
        y: np.ndarray,
        pre: np.ndarray,
        post: np.ndarray,
        reward: int,
        j: np.ndarray,
        i: np.ndarray,
        e: np.ndarray,
    ) -> None:
        """What a LEARN command found."""
        self.seen = {"x": x, "y": y, "pre": pre, "post": post, "reward": reward, "j": j, "i": i, "e": e}


def command_cycles(
    config: CoreConfig,
    step: Step,
    f: Mapping[str, int],
    activity: Activity,
    *,
    microcode: Sequence[int] = (),
    raster: bool = False,
) -> int:
    """Cycles of one command; ``microcode``: the words of a SCAN's program."""
    return _CYCLES[step](config, f, activity, microcode, raster)


def _inputs(
    config: CoreConfig, f: Mapping[str, int], activity: Activity, microcode: Sequence[int], raster: bool
) -> int:
    return cycles.inputs_cycles(config, f["words"], raster=raster)


def _scan(config: CoreConfig, f: Mapping[str, int], activity: Activity, microcode: Sequence[int], raster: bool) -> int:
    return cycles.scan_cycles(config, f["neurons"], microcode, activity.events)


def _dense(config: CoreConfig, f: Mapping[str, int], activity: Activity, microcode: Sequence[int], raster: bool) -> int:
    return cycles.dense_cycles(config, f["words"], f["row_words"], activity.spikes)


def _sparse(
    config: CoreConfig, f: Mapping[str, int], activity: Activity, microcode: Sequence[int], raster: bool
) -> int:
    per = config.records(bool(f["eligible"]))

    def row(delay: int, first: int, end: int, start: int, repeats: int) -> int:
        seeks = (start + first - 1) // per - start // per + 1 if first else 0
        return cycles.sparse_row_cycles(config, delay, records=end - first, seeks=seeks, repeats=repeats)

    rows = {delay: [row(delay, *item) for item in items] for delay, items in activity.delays}
    return cycles.sparse_cycles(config, f["words"], rows)


def _learn(config: CoreConfig, f: Mapping[str, int], activity: Activity, microcode: Sequence[int], raster: bool) -> int:
    seen = activity.seen
    look = Look(
        x=seen["x"].tolist(),
        y=seen["y"].tolist(),
        pre=seen["pre"].tolist(),
        post=seen["post"].tolist(),
        reward=seen["reward"],
        eligibility={
            (j, i): e for j, i, e in zip(seen["j"].tolist(), seen["i"].tolist(), seen["e"].tolist(), strict=True) if e
        },
        rows=activity.rows,
    )
    if activity.sparse:
        return cycles.fetch_cycles(config, Step.LEARN_SPARSE) + learn_sparse_cycles(config, f, look)
    return cycles.fetch_cycles(config, Step.LEARN_DENSE) + learn_dense_cycles(
        config, f, look, fast=config.fast_learning
    )


def _decide(
    config: CoreConfig, f: Mapping[str, int], activity: Activity, microcode: Sequence[int], raster: bool
) -> int:
    return cycles.fetch_cycles(config, Step.DECIDE) + decide_cycles(config, f, decided=activity.decided)


_CYCLES: dict[Step, Callable[[CoreConfig, Mapping[str, int], Activity, Sequence[int], bool], int]] = {
    Step.END: lambda config, *_: cycles.end_cycles(config),
    Step.INPUTS: _inputs,
    Step.SCAN: _scan,
    Step.DENSE: _dense,
    Step.SPARSE: _sparse,
    Step.LEARN_DENSE: _learn,
    Step.LEARN_SPARSE: _learn,
    Step.DECIDE: _decide,
}
