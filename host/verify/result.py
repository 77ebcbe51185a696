"""What a rung of the verification ladder returns, and how a difference is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from neuroloom.compiler.errors import InputError, MismatchError
from neuroloom.compiler.ir import Graph
from neuroloom.compiler.wire import Field, unpack
from neuroloom.sim.inputs import prepare


@dataclass(frozen=True)
class RungResult:
    """A rung that passed: what ran against what, on how many samples, in how many clock cycles and seconds."""

    name: str
    ok: bool
    samples: int
    cycles: int
    detail: str
    seconds: float
    facts: Mapping[str, int | float | str] = field(default_factory=dict)


RANDOM_STEPS, SPIKE_RATE = 40, 0.2
"""Steps of a random sample of a clocked graph, and the share of steps in which each of its inputs spikes."""


def vectors_of(
    graph: Graph, vectors: Mapping[str, np.ndarray] | np.ndarray, limit: int | None = None
) -> dict[str, np.ndarray]:
    """The graph's integers of the samples given, at most ``limit`` of them; raises InputError as the simulator does."""
    if limit is not None and limit < 1:
        raise InputError(f"number of samples must be at least 1, not {limit}")
    arrays = prepare(graph, vectors)
    return {name: a[:limit] for name, a in arrays.items()}


def random_vectors(graph: Graph, count: int, seed: int) -> dict[str, np.ndarray]:
    """``count`` uniformly random samples inside every input's bounds, all ends included.

    Clocked graphs get :data:`RANDOM_STEPS` steps each, with spikes at the rate :data:`SPIKE_RATE`.
    """
    rng = np.random.default_rng(seed)
    if graph.clocked:
        out = {}
        for i in graph.inputs:
            shape = (count, RANDOM_STEPS, *i.value.shape)
            values = rng.integers(i.range[0], i.range[1], shape, endpoint=True)
            out[i.name] = values & (rng.random(shape) < 2 * SPIKE_RATE) if i.value.type.is_bit else values
        return out
    return {i.name: rng.integers(i.range[0], i.range[1], (count, *i.value.shape), endpoint=True) for i in graph.inputs}


def first_difference(fields: Sequence[Field], want: bytes, got: bytes) -> str:
    """Name, index and both values of the first element in which two packed answers differ."""
    pair = np.stack([np.frombuffer(want, np.uint8), np.frombuffer(got, np.uint8)])
    for name, values in unpack(fields, pair).items():
        differs = np.argwhere(values[0] != values[1])
        if len(differs):
            at = tuple(int(i) for i in differs[0])
            return f"output {name!r}{list(at)} is {int(values[1][at])}, the graph says {int(values[0][at])}"
    return "answers differ in padding bits only"


def mismatch(rung: str, tool: str, difference: str, sample: int, seed: int, where: str) -> MismatchError:
    """The error of a rung: the first difference and how to replay it."""
    return MismatchError(
        f"{rung} ({tool}) disagrees with the graph at sample {sample}: {difference} ({where}); "
        f"replay it with seed {seed} and samples up to number {sample}"
    )
