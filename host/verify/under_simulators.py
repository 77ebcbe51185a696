"""What the rungs of programmable engines have in common: samples for each simulator, and cycles that must be as predicted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from neuroloom.compiler.errors import MismatchError

from .rtl import present


@dataclass(frozen=True)
class Runs:
    """What has run: the most ``samples`` of a simulator, clock ``cycles`` of all of them, and who did it, in words."""

    samples: int
    cycles: int
    names: str
    note: str


def under_simulators(
    arrays: Mapping[str, np.ndarray],
    run: Callable[[dict[str, np.ndarray], str], int],
    *,
    most: Mapping[str, int],
    icarus_steps: int | None,
    simulators: Sequence[str] | None = None,
) -> Runs:
    """Run the first ``most`` samples under each simulator (those present when None); ``run`` gives the cycles it simulated.

    Icarus, a thousand times slower, takes only ``icarus_steps`` of a clocked network's steps (None: the network is not clocked).
    """
    note = ""
    if simulators is None:
        simulators, note = present()
    cycles = samples = 0
    for simulator in simulators:
        part = {name: a[: most[simulator]] for name, a in arrays.items()}
        if simulator == "icarus" and icarus_steps is not None:
            part = {name: a[:, :icarus_steps] for name, a in part.items()}
        cycles += run(part, simulator)
        samples = max(samples, len(next(iter(part.values()))))
    return Runs(samples, cycles, " and ".join(simulators), note)


def equal_cycles(want: np.ndarray, got: np.ndarray, what: str) -> None:
    """Raise MismatchError where cycles [samples] or [samples, steps] are not as predicted; ``what`` is who takes them."""
    differ = np.argwhere(want != got)
    if len(differ):
        at = tuple(int(i) for i in differ[0])
        raise MismatchError(
            f"{what} takes {int(got[at])} cycles in run {list(at)}, the prediction says {int(want[at])}; {len(differ)} runs differ"
        )
