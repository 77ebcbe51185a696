"""Routers that get no further are given up, seed by seed; those that still do are left alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from neuroloom.boards import steps
from neuroloom.boards.convergence import STALL_ITERATIONS, STALL_S, RoutingWatch
from neuroloom.boards.registry import load_board
from neuroloom.compiler.errors import DoesNotFitError

LIMIT_S = 4 * 3600.0


class Clock:
    """Seconds that pass only when told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def watch(clock: Clock) -> RoutingWatch:
    return RoutingWatch(threading.Event(), LIMIT_S, clock)


def router2(iteration: int, overuse: int) -> str:
    return f"Info:     iter={iteration} wires=43203 overused={overuse} overuse={overuse} archfail=NA"


def router1(arcs: int, remaining: int, total_s: float) -> str:
    return (
        f"Info: {arcs:10d} | {arcs // 2:8d} {arcs // 2:10d} |  654   346 | {remaining:9d}|       1.92 {total_s:10.2f}|"
    )


def test_router2_is_given_up_after_many_iterations_without_progress(watch: RoutingWatch) -> None:
    watch.see("Info: Running router2...")
    for iteration, overuse in ((1, 2253), (2, 66), (STALL_ITERATIONS + 1, 70)):
        watch.see(router2(iteration, overuse))
        assert not watch.is_set()
    watch.see(router2(STALL_ITERATIONS + 2, 66))
    assert watch.is_set() and watch.reason == f"at 66 overused wires for {STALL_ITERATIONS} iterations"


def test_any_progress_counts(watch: RoutingWatch) -> None:
    """As seen on the UP5K: one conflict fewer after 127 iterations, and routed after 419."""
    watch.see("Info: Running router2...")
    for at in range(1, 20):
        watch.see(router2(at * (STALL_ITERATIONS - 1), 20 - at))
    watch.see(router2(50_000, 0))
    assert not watch.is_set()


def test_an_endless_iteration_is_given_up_by_time(watch: RoutingWatch, clock: Clock) -> None:
    clock.now += 2 * STALL_S
    assert not watch.is_set()  # still placing
    watch.see("Info: Running router2...")
    clock.now += STALL_S - 1
    assert not watch.is_set()
    clock.now += 1
    assert watch.is_set() and watch.reason == "at its first iteration for 45 minutes"


def test_time_is_taken_from_the_last_progress(watch: RoutingWatch, clock: Clock) -> None:
    watch.see("Info: Running router2...")
    for overuse in (113_419, 113_000, 113_400):
        clock.now += STALL_S - 1
        assert not watch.is_set()
        watch.see(router2(1, overuse))
    clock.now += 1
    assert watch.is_set() and watch.reason == "at 113000 overused wires for 45 minutes"


@pytest.mark.parametrize(("share", "ends"), [(0.99, True), (0.8, False)])
def test_router2_is_given_up_when_its_pace_cannot_do(
    watch: RoutingWatch, clock: Clock, share: float, ends: bool
) -> None:
    """20 s an iteration, 5,000 overused wires: 1 % fewer each time would take 4.7 hours, 20 % fewer 13 minutes."""
    watch.see("Info: Running router2...")
    overuse = 5000.0
    for iteration in range(1, 60):
        clock.now += 20
        watch.see(router2(iteration, int(overuse)))
        assert watch.is_set() == (ends and iteration > 30)
        overuse *= share
    assert ("overused wires, from 5000 10 minutes before" in watch.reason) == ends


def test_the_last_conflicts_may_take_a_while(watch: RoutingWatch, clock: Clock) -> None:
    """As seen on the UP5K: 419 iterations, long ones at one conflict, all within a minute."""
    watch.see("Info: Running router2...")
    for iteration in range(1, STALL_ITERATIONS):
        clock.now += 1
        watch.see(router2(iteration, 1))
        assert not watch.is_set()


@pytest.mark.parametrize(("per_row", "ends"), [(3, True), (100, False)])
def test_router1_is_given_up_when_its_speed_cannot_do(
    watch: RoutingWatch, clock: Clock, per_row: int, ends: bool
) -> None:
    """10,000 arcs left and ten seconds a row: 3 fewer each would take 9 hours, more than twice what is left."""
    watch.see("Info: Routing..")
    for row in range(1, 62):
        watch.see(router1(1000 * row, 10_000 - per_row * row, 10.0 * row))
        clock.now += 10
        assert watch.is_set() == (ends and row == 61)
    assert ("18 fewer each minute" in watch.reason) == ends


def test_nothing_is_watched_after_routing(watch: RoutingWatch, clock: Clock) -> None:
    watch.see("Info: Routing..")
    watch.see(router1(1000, 0, 3.0))
    watch.see("Info: Routing complete.")
    clock.now += 2 * STALL_S
    assert not watch.is_set()


def test_another_steps_failure_ends_the_run_too() -> None:
    stop = threading.Event()
    watch = RoutingWatch(stop, LIMIT_S)
    assert not watch.is_set()
    stop.set()
    assert watch.is_set() and not watch.reason


FAKE = """#!/usr/bin/env python3
import json, sys, time
words = sys.argv
seed, router = int(words[words.index("--seed") + 1]), words[words.index("--router") + 1]
print("Info: \\t         ICESTORM_LC:    3473/   5280    65%")
print("Info: Running router2...", flush=True)
if router == "router2" and seed in {stuck}:
    for iteration in range(1, 600):
        print(f"Info:     iter={{iteration}} wires=9 overused={overuse} overuse={overuse} archfail=NA", flush=True)
    time.sleep(100)
print("Info:     iter=1 wires=9 overused=0 overuse=0 archfail=0")
print("Info: Router2 time 1.0s")
with open(words[words.index("--report") + 1], "w") as file:
    json.dump({{"fmax": {{"clk": {{"achieved": {fmax} + seed}}}}}}, file)
"""


@pytest.fixture
def placing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., steps.Job]]:
    """``placing({1})`` is a job whose placer, a small program, gets stuck with seed 1, at so many wires."""
    monkeypatch.setattr(steps, "shell_size", lambda job: 1000)
    said: list[str] = []

    def make(stuck: set[int], overuse: int = 3, fmax: float = 30.0) -> steps.Job:
        tool = tmp_path / "nextpnr-ice40"
        tool.write_text(FAKE.format(stuck=sorted(stuck), overuse=overuse, fmax=fmax))
        tool.chmod(0o755)
        monkeypatch.setenv("NEXTPNR_ICE40", str(tool))
        return steps.Job(tmp_path, tmp_path, load_board("icebreaker"), "logic", said.append, 60)

    yield make


def test_other_seeds_go_on(placing: Callable[..., steps.Job]) -> None:
    started = time.monotonic()
    placed, shell = steps.place_all(placing({1, 3}), (1, 2, 3), 3)
    assert time.monotonic() - started < 50 and shell == 1000
    results = [result for result, _ in placed]
    assert [(r.seed, r.fmax_hz, r.met) for r in results] == [(1, 0.0, False), (2, 32e6, True), (3, 0.0, False)]
    assert results[0].unrouted == "at 3 overused wires for 500 iterations" and not results[1].unrouted
    assert placed[1][1].used == {"luts": 3473}


def test_no_seed_routed_is_one_sentence(placing: Callable[..., steps.Job]) -> None:
    with pytest.raises(DoesNotFitError) as caught:
        steps.place_all(placing({1, 2}, overuse=300), (1, 2), 2)
    text = str(caught.value)
    assert text.startswith(
        "The design cannot be routed on icebreaker (seed 1 stayed at 300 overused wires for 500 iterations; "
        "seed 2 stayed at 300 overused wires for 500 iterations); make the network smaller"
    )
    assert "\n" not in text


def test_the_next_seeds_are_tried_when_all_were_nearly_routed(placing: Callable[..., steps.Job]) -> None:
    placed, _ = steps.place_all(placing({1, 2, 3}), (1, 2), 2)
    assert [(r.seed, r.met, r.router) for r, _ in placed] == [
        (1, False, ""),
        (2, False, ""),
        (3, False, ""),
        (4, True, ""),
    ]


def test_the_other_router_is_tried_when_no_seed_is_routed(placing: Callable[..., steps.Job]) -> None:
    job = placing(set(range(1, 9)))
    placed, _ = steps.place_all(job, (1, 2), 2)
    results = [result for result, _ in placed]
    assert [r.seed for r in results] == [1, 2, *range(3, 3 + steps.FURTHER_SEEDS), 1]
    assert results[-1].met and results[-1].router == "router1" and results[-1].stem == "seed1-router1"
    assert (job.work / "seed1-router1.report.json").is_file() and results[0].nearly


def test_a_clock_that_no_routed_seed_meets_is_not_searched_for(placing: Callable[..., steps.Job]) -> None:
    placed, _ = steps.place_all(placing(set(), fmax=5.0), (1, 2), 2)
    assert [(r.seed, r.met) for r, _ in placed] == [(1, False), (2, False)]
