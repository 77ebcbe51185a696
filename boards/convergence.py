"""Telling from the placer's log, while it runs, that its router will not come to an end."""

from __future__ import annotations

import math
import re
import threading
import time
from collections import deque
from collections.abc import Callable

from neuroloom.boards.process import Stop

STALL_ITERATIONS = 500
"""Iterations of router2 without a new lowest overuse; seeds that did end had gaps of up to 127 (UP5K, 3,473 cells)."""

STALL_S = 45 * 60.0
"""Seconds of routing without any progress; one iteration of router2 may take minutes on a large chip."""

TREND_ROWS = 20
"""Rows of router1's table, of 1,000 arcs each, or iterations of router2, over which the speed is taken at least."""

TREND_S = 10 * 60.0
"""Seconds of routing before the speed is held against the time that is left; router2's is taken over as many."""

TREND_MARGIN = 2
"""How much faster than that router1 may still become."""

_ROUTER2 = re.compile(r"iter=(\d+) wires=\d+ overused=\d+ overuse=(\d+)")
_ROUTER1 = re.compile(r"^Info:\s+\d+ \|\s+\d+\s+\d+ \|\s+\d+\s+\d+ \|\s+(\d+)\|")
_START = re.compile(r"Running router2|Routing\.\.")
_END = re.compile(r"Router2 time|Routing complete|Router1 time")


class RoutingWatch:
    """Reads the log of one run, line by line, and decides that it is to end; a ``Stop``.

    ``stop`` ends the run as well. ``limit_s`` is the run's time limit, ``clock`` gives seconds. After the run,
    ``reason`` says in half a sentence why the router was given up, and is empty when it was not.
    """

    def __init__(self, stop: Stop, limit_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.reason = ""
        self._stop, self._limit_s, self._clock = stop, limit_s, clock
        self._started = clock()
        self._lock = threading.Lock()  # lines come from one thread, is_set is asked by another
        self._routing_since: float | None = None
        self._best: int | None = None
        self._best_at, self._best_iteration = 0.0, 0
        self._unit = "overused wires"
        self._lows: deque[tuple[float, int]] = deque()
        self._rows: deque[tuple[float, int]] = deque(maxlen=TREND_ROWS)

    def see(self, line: str) -> None:
        """Take the next line of the log."""
        with self._lock:
            now = self._clock()
            if _START.search(line):
                self._begin(now)
            elif _END.search(line):
                self._routing_since = None
            elif found := _ROUTER2.search(line):
                iteration, overuse = int(found.group(1)), int(found.group(2))
                self._progress(now, overuse, iteration, "overused wires")
                self._check_halving(now)
                if overuse and iteration - self._best_iteration >= STALL_ITERATIONS:
                    self._give_up(f"at {self._best} overused wires for {iteration - self._best_iteration} iterations")
            elif found := _ROUTER1.match(line):
                remaining = int(found.group(1))
                self._progress(now, remaining, 0, "unrouted arcs")
                self._rows.append((now, remaining))
                self._check_trend(now)

    def is_set(self) -> bool:
        """Whether the run shall end: asked to from outside, or without hope."""
        with self._lock:
            if self._routing_since is not None and not self.reason:
                idle = self._clock() - self._best_at
                if idle >= STALL_S:
                    where = "its first iteration" if self._best is None else f"{self._best} {self._unit}"
                    self._give_up(f"at {where} for {idle / 60:.0f} minutes")
            return bool(self.reason) or self._stop.is_set()

    def _begin(self, now: float) -> None:
        self._routing_since, self._best, self._best_at, self._best_iteration = now, None, now, 0
        self._rows.clear()
        self._lows.clear()

    def _progress(self, now: float, count: int, iteration: int, unit: str) -> None:
        if self._routing_since is None:
            self._begin(now)
        if self._best is None or count < self._best:
            self._best, self._best_at, self._best_iteration, self._unit = count, now, iteration, unit

    def _check_trend(self, now: float) -> None:
        if self._routing_since is None or now - self._routing_since < TREND_S or len(self._rows) < TREND_ROWS:
            return
        (first_at, first), (last_at, last) = self._rows[0], self._rows[-1]
        left = self._started + self._limit_s - now
        if last and TREND_MARGIN * (first - last) * left < last * (last_at - first_at):
            per_minute = 60 * (first - last) / (last_at - first_at)
            self._give_up(
                f"at {last} unrouted arcs, with {per_minute:.0f} fewer each minute and {left / 60:.0f} minutes left"
            )

    def _check_halving(self, now: float) -> None:
        """Router2's overuse falls by about the same share each minute: how long until it is gone?

        Seen on an HX8K filled to 91 %: 1,635 overused wires after 17 minutes, from 2,343 ten minutes before.
        """
        self._lows.append((now, self._best or 0))
        while len(self._lows) > TREND_ROWS and now - self._lows[1][0] >= TREND_S:
            self._lows.popleft()
        then, before = self._lows[0]
        if not self._best or len(self._lows) < TREND_ROWS or now - then < TREND_S:
            return
        left = self._started + self._limit_s - now
        gained = math.log2((before + 1) / (self._best + 1))  # halvings since then
        if gained * left < math.log2(self._best + 1) * (now - then):
            self._give_up(
                f"at {self._best} overused wires, from {before} {(now - then) / 60:.0f} minutes before, "
                f"with {left / 60:.0f} minutes left"
            )

    def _give_up(self, reason: str) -> None:
        self.reason = self.reason or reason
