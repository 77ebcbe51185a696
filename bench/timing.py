"""Medians of repeated calls, in wall time and in the calling thread's processor time."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Timing:
    """Seconds per call: medians over the repeats, and the best."""

    wall: float
    cpu: float
    best: float
    result: Any

    def rate(self, count: int) -> dict[str, float]:
        """Things per second when one call does ``count`` of them: by wall clock, by processor time, best wall clock."""
        return {
            "per_second": round(count / self.wall),
            "per_cpu_second": round(count / self.cpu) if self.cpu > 0 else 0,
            "best_per_second": round(count / self.best),
        }


def measure(call: Callable[[], Any], *, repeats: int = 7, budget_s: float = 20.0) -> Timing:
    """Call once to warm up, then ``repeats`` times or until ``budget_s`` is spent, at least twice."""
    result = call()
    walls: list[float] = []
    cpus: list[float] = []
    until = time.perf_counter() + budget_s
    while len(walls) < repeats and (len(walls) < 2 or time.perf_counter() < until):
        wall, cpu = time.perf_counter(), time.thread_time()
        call()
        walls.append(time.perf_counter() - wall)
        cpus.append(time.thread_time() - cpu)
    return Timing(statistics.median(walls), statistics.median(cpus), min(walls), result)
