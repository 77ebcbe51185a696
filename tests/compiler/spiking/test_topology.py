"""Generators: what each promises, counted."""

from __future__ import annotations

import numpy as np
import pytest
from neuroloom.compiler.errors import InputError
from neuroloom.compiler.spiking.topology import (
    TOPOLOGIES,
    Pairs,
    Topology,
    all_to_all,
    by_distance,
    distance_dependent,
    fixed_fan_in,
    fixed_fan_out,
    grid,
    normal,
    one_to_one,
    random,
    small_world,
    uniform,
)

SEEDED = {
    "random": lambda seed: random(0.2, seed=seed),
    "fixed_fan_in": lambda seed: fixed_fan_in(5, seed=seed),
    "fixed_fan_out": lambda seed: fixed_fan_out(5, seed=seed),
    "small_world": lambda seed: small_world(6, 0.3, seed=seed),
    "distance_dependent": lambda seed: distance_dependent(2.0, seed=seed),
}


def edges(pairs: Pairs) -> set[tuple[int, int]]:
    return set(zip(pairs.pre.tolist(), pairs.post.tolist(), strict=True))


@pytest.mark.parametrize("name", SEEDED)
def test_one_seed_gives_one_topology_without_repetition_in_order(name: str) -> None:
    make = SEEDED[name]
    a, b, c = (make(s)(60, 60) for s in (1, 1, 2))
    assert (a.pre == b.pre).all() and (a.post == b.post).all()
    assert edges(a) != edges(c)
    assert len(edges(a)) == len(a.pre)
    assert (np.diff(a.pre * 60 + a.post) > 0).all()
    assert a.pre.min() >= 0 and a.pre.max() < 60 and a.post.min() >= 0 and a.post.max() < 60
    assert a.pre.dtype == a.post.dtype == np.int32


def test_all_to_all_and_one_to_one() -> None:
    assert len(edges(all_to_all()(3, 4))) == 12
    assert edges(all_to_all(self_loops=False)(2, 3)) == {(0, 1), (0, 2), (1, 0), (1, 2)}
    assert edges(one_to_one()(3, 3)) == {(0, 0), (1, 1), (2, 2)}


def test_random_has_the_probability_and_no_self_loops_when_asked() -> None:
    p = random(0.1, seed=3)(500, 400)
    assert abs(len(p.pre) - 20000) < 5 * np.sqrt(18000)
    assert all(a != b for a, b in edges(random(0.5, seed=3, self_loops=False)(50, 50)))
    assert not edges(random(0.0, seed=1)(5, 5)) and len(edges(random(1.0, seed=1)(5, 5))) == 25


@pytest.mark.parametrize("self_loops", [True, False])
def test_fans_are_exact(self_loops: bool) -> None:
    p = fixed_fan_in(7, seed=2, self_loops=self_loops)(40, 60)
    assert (np.bincount(p.post, minlength=60) == 7).all()
    q = fixed_fan_out(7, seed=2, self_loops=self_loops)(40, 60)
    assert (np.bincount(q.pre, minlength=40) == 7).all()
    if not self_loops:
        assert all(a != b for a, b in edges(p) | edges(q))
    every = fixed_fan_in(9, seed=1, self_loops=False)(10, 10)
    assert edges(every) == edges(all_to_all(self_loops=False)(10, 10))


def test_small_worlds_go_from_ring_to_random() -> None:
    ring = edges(small_world(4, 0.0, seed=1)(20, 20))
    assert ring == {(i, (i + d) % 20) for i in range(20) for d in (-2, -1, 1, 2)}
    half = small_world(4, 0.5, seed=1)(200, 200)
    assert (np.bincount(half.pre) == 4).all() and all(a != b for a, b in edges(half))
    away = (half.post - half.pre) % 200
    moved = ((away > 2) & (away < 198)).mean()
    assert 0.4 < moved < 0.6


def test_distance_decides_probability_and_delay() -> None:
    p = distance_dependent(2.0, peak=0.8, radius=5.0, seed=4)(400, 400)
    assert p.distance is not None
    places = grid(400)
    assert np.allclose(p.distance, np.linalg.norm(places[p.pre] - places[p.post], axis=1))
    assert p.distance.max() <= 5.0 and p.distance.min() >= 1.0
    near = (p.distance == 1.0).sum() / (4 * 20 * 19)  # neighbours on the grid, both ways
    assert abs(near - 0.8 * np.exp(-0.5)) < 0.05
    delay = by_distance(2.0, most=7)(p)
    assert delay.min() == 2 and delay.max() == 7 and (delay == np.clip(np.rint(2 * p.distance), 1, 7)).all()


def test_numbers_keep_their_promises() -> None:
    pairs = all_to_all()(50, 50)
    whole, real, bell = (
        uniform(1, 3, seed=1)(pairs),
        uniform(1.0, 3.0, seed=1)(pairs),
        normal(2.0, 0.5, seed=1, low=1.0)(pairs),
    )
    assert set(whole.tolist()) == {1, 2, 3} and real.dtype == np.float64 and 1 <= real.min() <= real.max() < 3
    assert abs(bell.mean() - 2) < 0.05 and bell.min() >= 1.0


def test_grids_are_square_unless_told() -> None:
    assert grid(9)[-1].tolist() == [2, 2] and grid(6, shape=(2, 3))[-1].tolist() == [1, 2]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: random(1.5, seed=1), "probability must be in 0..1, not 1.5"),
        (lambda: random(np.nan, seed=1), "probability must be finite, not nan"),
        (lambda: one_to_one()(3, 4), "one_to_one must join populations of one size, not 3 and 4 neurons"),
        (lambda: fixed_fan_in(5, seed=1)(4, 9), "fan_in must be in 0..4 for this size, not 5"),
        (lambda: fixed_fan_out(9, seed=1, self_loops=False)(9, 9), "fan_out must be in 0..8 for this size, not 9"),
        (lambda: small_world(3, 0.1, seed=1)(9, 9), "neighbours must be even and in 2..8, not 3"),
        (lambda: grid(7, shape=(2, 3)), "shape must hold 7 neurons, not [2, 3]"),
        (lambda: by_distance(1.0)(all_to_all()(2, 2)), "by_distance must go with a topology that has distances"),
        (lambda: uniform(3, 1, seed=1), "low must not be above high, not 3 and 1"),
        (
            lambda: distance_dependent(1.0, sources=np.zeros((3, 2)), seed=1)(4, 4),
            "sources must be places [4, dims], not of shape [3, 2]",
        ),
    ],
)
def test_generators_refuse_in_one_sentence(make: Topology, message: str) -> None:
    with pytest.raises(InputError) as error:
        make()  # type: ignore[call-arg]
    assert str(error.value).startswith(message)


def test_every_generator_is_tested_here() -> None:
    assert set(TOPOLOGIES) == {*SEEDED, "all_to_all", "one_to_one"}
