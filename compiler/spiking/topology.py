"""Generators of the usual topologies, all seeded: which neuron of a source meets which neuron of a target.

A topology is a function of the two sizes that returns :class:`Pairs`; ``Network.connect(..., topology=...)`` calls
it. Weights and delays may be functions of the pairs: ``uniform``, ``normal``, ``by_distance``. Random numbers are
numpy's PCG64 of the seed.

::

    net.connect(exc, exc, topology=random(0.1, seed=1), weights=normal(0.2, 0.05, seed=2), delay=uniform(1, 10, seed=3))
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from neuroloom.compiler.errors import InputError

from .fields import need_finite


@dataclass(frozen=True)
class Pairs:
    """Synapses without weights: ``pre``, ``post`` int32 [n_syn], and ``distance`` float64 [n_syn] where the topology
    has places.
    """

    pre: np.ndarray
    post: np.ndarray
    distance: np.ndarray | None = None


Topology = Callable[[int, int], Pairs]
"""(source size, target size) → pairs, ordered by source, then target."""

Values = Callable[[Pairs], np.ndarray]
"""Pairs → one number per synapse."""


def _pairs(pre: np.ndarray, post: np.ndarray, distance: np.ndarray | None = None) -> Pairs:
    order = np.lexsort((post, pre))
    return Pairs(
        pre[order].astype(np.int32), post[order].astype(np.int32), None if distance is None else distance[order]
    )


def _need(name: str, value: float, low: float, high: float) -> None:
    need_finite(name, value)
    if not low <= value <= high:
        raise InputError(f"{name} must be in {low:g}..{high:g}, not {value!r}")


def _need_square(name: str, sources: int, targets: int) -> None:
    if sources != targets:
        raise InputError(f"{name} must join populations of one size, not {sources} and {targets} neurons")


def all_to_all(*, self_loops: bool = True) -> Topology:
    """Every source neuron to every target neuron; without ``self_loops`` not to the one of its own index."""

    def make(sources: int, targets: int) -> Pairs:
        pre, post = (a.ravel() for a in np.indices((sources, targets), dtype=np.int32))
        keep = slice(None) if self_loops else pre != post
        return Pairs(pre[keep], post[keep])

    return make


def one_to_one() -> Topology:
    """Neuron k to neuron k; the sizes must agree."""

    def make(sources: int, targets: int) -> Pairs:
        _need_square("one_to_one", sources, targets)
        index = np.arange(sources, dtype=np.int32)
        return Pairs(index, index)

    return make


def random(probability: float, *, seed: int, self_loops: bool = True) -> Topology:
    """Each pair with ``probability``, independently (Erdős–Rényi)."""
    _need("probability", probability, 0, 1)

    def make(sources: int, targets: int) -> Pairs:
        rng, rows = np.random.default_rng(seed), []
        for j in range(sources):
            hit = rng.random(targets) < probability
            if not self_loops and j < targets:
                hit[j] = False
            rows.append(np.flatnonzero(hit))
        pre = np.repeat(np.arange(sources), [len(r) for r in rows])
        return _pairs(pre, np.concatenate(rows))

    return make


def fixed_fan_in(count: int, *, seed: int, self_loops: bool = True) -> Topology:
    """Every target neuron gets exactly ``count`` different sources."""

    def make(sources: int, targets: int) -> Pairs:
        return _fixed(count, sources, targets, seed, self_loops, "fan_in")

    return make


def fixed_fan_out(count: int, *, seed: int, self_loops: bool = True) -> Topology:
    """Every source neuron reaches exactly ``count`` different targets."""

    def make(sources: int, targets: int) -> Pairs:
        turned = _fixed(count, targets, sources, seed, self_loops, "fan_out")
        return _pairs(turned.post, turned.pre)

    return make


def _fixed(count: int, choices: int, chosers: int, seed: int, self_loops: bool, name: str) -> Pairs:
    """For each of ``chosers``, ``count`` of ``choices`` without repetition; pre are the choices."""
    most = choices if self_loops else choices - 1
    if not isinstance(count, (int, np.integer)) or not 0 <= count <= most:
        raise InputError(f"{name} must be in 0..{most} for this size, not {count!r}")
    rng, rows = np.random.default_rng(seed), []
    for i in range(chosers):
        row = rng.choice(most, count, replace=False)
        if not self_loops:
            row = row + (row >= i) if i < choices else row
        rows.append(row)
    post = np.repeat(np.arange(chosers), count)
    return _pairs(np.concatenate(rows) if rows else np.zeros(0, np.int64), post)


def small_world(neighbours: int, rewire: float, *, seed: int) -> Topology:
    """Watts–Strogatz (Nature 393, 1998), directed: a ring where each neuron reaches its ``neighbours`` nearest (an
    even number, half on each side), each synapse's target moved with probability ``rewire`` to one that is not yet
    reached.
    """
    _need("rewire", rewire, 0, 1)

    def make(sources: int, targets: int) -> Pairs:
        _need_square("small_world", sources, targets)
        if not isinstance(neighbours, (int, np.integer)) or neighbours % 2 or not 0 < neighbours < sources:
            raise InputError(f"neighbours must be even and in 2..{sources - 1}, not {neighbours!r}")
        rng, half = np.random.default_rng(seed), neighbours // 2
        steps = np.concatenate([np.arange(-half, 0), np.arange(1, half + 1)])
        rows = []
        for j in range(sources):
            row = (j + steps) % sources
            for k in np.flatnonzero(rng.random(neighbours) < rewire):
                free = np.setdiff1d(np.arange(sources), [*row, j])
                if len(free):
                    row[k] = rng.choice(free)
            rows.append(row)
        return _pairs(np.repeat(np.arange(sources), neighbours), np.concatenate(rows))

    return make


def grid(count: int, *, shape: tuple[int, int] | None = None) -> np.ndarray:
    """Places [count, 2] on a grid of unit spacing, row by row; as square as it gets without ``shape``."""
    columns = shape[1] if shape else int(np.ceil(np.sqrt(count)))
    if shape and shape[0] * shape[1] < count:
        raise InputError(f"shape must hold {count} neurons, not {list(shape)}")
    index = np.arange(count)
    return np.stack([index // columns, index % columns], axis=1).astype(np.float64)


def distance_dependent(
    length: float,
    *,
    peak: float = 1.0,
    radius: float | None = None,
    sources: np.ndarray | None = None,
    targets: np.ndarray | None = None,
    seed: int,
    self_loops: bool = False,
) -> Topology:
    """A pair at distance d with probability peak·exp(−d/length), none beyond ``radius``.

    ``sources``, ``targets`` are places [n, dims]; neurons stand on a :func:`grid` of unit spacing without them. The
    pairs carry their distances, for ``by_distance``.
    """
    _need("peak", peak, 0, 1)
    _need("length", length, 1e-12, 1e12)

    def make(n_pre: int, n_post: int) -> Pairs:
        a, b = _places("sources", sources, n_pre), _places("targets", targets, n_post)
        if a.shape[1] != b.shape[1]:
            raise InputError(
                f"sources and targets must have one number of dimensions, not {a.shape[1]} and {b.shape[1]}"
            )
        rng, rows, far = np.random.default_rng(seed), [], []
        for j in range(n_pre):
            d = np.sqrt(((b - a[j]) ** 2).sum(axis=1))
            hit = rng.random(n_post) < peak * np.exp(-d / length)
            if radius is not None:
                hit &= d <= radius
            if not self_loops and j < n_post:
                hit[j] = False
            rows.append(np.flatnonzero(hit))
            far.append(d[hit])
        pre = np.repeat(np.arange(n_pre), [len(r) for r in rows])
        return _pairs(pre, np.concatenate(rows), np.concatenate(far))

    return make


def _places(name: str, places: np.ndarray | None, count: int) -> np.ndarray:
    if places is None:
        return grid(count)
    array = np.asarray(places, np.float64)
    need_finite(name, array)
    if array.ndim != 2 or len(array) != count:
        raise InputError(f"{name} must be places [{count}, dims], not of shape {list(array.shape)}")
    return array


def uniform(low: float, high: float, *, seed: int) -> Values:
    """Numbers spread evenly over low..high; integers, both ends included, when both are integers."""
    need_finite("low", low)
    need_finite("high", high)
    if low > high:
        raise InputError(f"low must not be above high, not {low} and {high}")

    def make(pairs: Pairs) -> np.ndarray:
        rng, count = np.random.default_rng(seed), len(pairs.pre)
        if isinstance(low, int) and isinstance(high, int):
            return rng.integers(low, high, count, endpoint=True)
        return rng.uniform(low, high, count)

    return make


def normal(mean: float, deviation: float, *, seed: int, low: float = -np.inf, high: float = np.inf) -> Values:
    """Normal numbers, clipped to low..high."""
    need_finite("mean", mean)
    _need("deviation", deviation, 0, 1e12)

    def make(pairs: Pairs) -> np.ndarray:
        return np.clip(np.random.default_rng(seed).normal(mean, deviation, len(pairs.pre)), low, high)

    return make


def by_distance(steps_per_unit: float, *, least: int = 1, most: int = 63) -> Values:
    """Delays in proportion to the pairs' distances, rounded, within least..most."""
    _need("steps_per_unit", steps_per_unit, 0, 1e12)

    def make(pairs: Pairs) -> np.ndarray:
        if pairs.distance is None:
            raise InputError("by_distance must go with a topology that has distances, such as distance_dependent")
        return np.clip(np.rint(pairs.distance * steps_per_unit), least, most).astype(np.int64)

    return make


TOPOLOGIES = {
    f.__name__: f
    for f in (all_to_all, one_to_one, random, fixed_fan_in, fixed_fan_out, small_world, distance_dependent)
}
"""Every generator by the name that YAML uses."""

VALUES = {f.__name__: f for f in (uniform, normal, by_distance)}
"""Every generator of weights or delays by the name that YAML uses."""
