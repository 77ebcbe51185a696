"""Places the cells of a spatial pipeline in stages: every latency is exact, pipeline registers as few as can be found.

Time is counted in slots, one per LUT level; ``interval`` slots make one stage, and a register stands on every stage
boundary that a bit crosses. A cell that takes ``delay`` slots ends in slot ``end`` and may not straddle a boundary, so
its inputs must end at or before ``end - delay``. The stage of a cell is ``end // interval``; a bit made in stage p and
read last in stage q costs q - p registers. Outputs are read in stage ``latency``, behind the last boundary, so all of
them are registers and arrive together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from neuroloom.compiler.errors import InputError

FIRST_BIT = 2
"""Bits 0 and 1 are the constants: they cost no register and are there at any time."""

_SWEEPS = 12


@dataclass(frozen=True)
class Cells:
    """Combinational cells over numbered bits, in topological order.

    ``in_bits[in_start[c] : in_start[c+1]]`` are the bits that cell c reads; it drives the ``out_count[c]`` bits from
    ``out_first[c]`` on and takes ``delay[c]`` LUT levels. Bits driven by no cell are inputs. ``outputs`` are the bits shown.
    """

    bits: int
    in_start: np.ndarray
    in_bits: np.ndarray
    out_first: np.ndarray
    out_count: np.ndarray
    delay: np.ndarray
    outputs: np.ndarray

    @property
    def count(self) -> int:
        """Number of cells."""
        return len(self.delay)


@dataclass(frozen=True)
class Schedule:
    """Where every cell stands.

    ``latency`` is the number of clock cycles from the edge that takes a sample to the edge at which its answer can be taken;
    ``stage[c]`` is a cell's stage (-1: nothing reads it, it is left out), ``born[b]`` the stage that makes bit b,
    ``last[b]`` the last stage that reads it (-1: none), ``registers`` the number of flip-flops, ``per_boundary`` the same by
    stage boundary. ``interval`` is 0 when everything between inputs and the one register is combinational.
    """

    interval: int
    latency: int
    stage: np.ndarray
    born: np.ndarray
    last: np.ndarray
    registers: int
    per_boundary: tuple[int, ...]


def schedule(cells: Cells, interval: int) -> Schedule:
    """Assign stages with at most ``interval`` LUT levels between registers; 0 puts one register behind all logic.

    Starts as early as possible, then moves cells later and earlier in turns while registers are saved. Raises InputError for a
    negative interval.
    """
    if not 0 <= interval <= 1000:
        raise InputError(f"register interval must be 0 to 1000 LUT levels, not {interval}")
    alive = _alive(cells)
    delay = np.minimum(cells.delay, interval).astype(np.int64) if interval else cells.delay.astype(np.int64)
    slots = interval or int(delay.sum()) + 1
    driver = np.full(cells.bits, -1, np.int64)
    _drive(driver, cells.out_first, cells.out_count)
    reads_start, reads = _readers(cells, alive)
    shown = np.zeros(cells.bits, np.bool_)
    shown[cells.outputs] = True
    form = (
        cells.in_start.astype(np.int64),
        cells.in_bits.astype(np.int64),
        cells.out_first.astype(np.int64),
        cells.out_count.astype(np.int64),
        delay,
        alive,
        driver,
        reads_start,
        reads,
        shown,
    )
    end = _earliest(form, slots)
    latency = int(end.max(initial=0)) // slots + 1
    best, best_cost = end, _registers(form, end, slots, latency)
    for number in range(_SWEEPS):
        end = end.copy()
        _sweep(form, end, slots, latency, number % 2 == 0)
        cost = _registers(form, end, slots, latency)
        if cost < best_cost:
            best, best_cost = end, cost
        elif number % 2:
            break
    stage, born, last = _stages(form, best, slots, latency)
    crossing = np.zeros(latency, np.int64)
    for boundary in range(latency):
        crossing[boundary] = np.count_nonzero((born <= boundary) & (last > boundary) & _real(cells.bits))
    return Schedule(interval, latency, stage, born, last, int(crossing.sum()), tuple(int(c) for c in crossing))


def _real(bits: int) -> np.ndarray:
    real = np.ones(bits, np.bool_)
    real[:FIRST_BIT] = False
    return real


def _alive(cells: Cells) -> np.ndarray:
    wanted = np.zeros(cells.bits, np.bool_)
    wanted[cells.outputs] = True
    alive = np.zeros(cells.count, np.bool_)
    _mark(wanted, alive, cells.in_start, cells.in_bits, cells.out_first, cells.out_count)
    return alive


def _readers(cells: Cells, alive: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cells that read each bit, as CSR."""
    reader = np.repeat(np.arange(cells.count), np.diff(cells.in_start))
    kept = alive[reader] & (cells.in_bits >= FIRST_BIT)
    bit, reader = cells.in_bits[kept], reader[kept]
    order = np.argsort(bit, kind="stable")
    start = np.zeros(cells.bits + 1, np.int64)
    np.cumsum(np.bincount(bit, minlength=cells.bits), out=start[1:])
    return start, reader[order].astype(np.int64)


@numba.njit(cache=True)
def _mark(wanted, alive, in_start, in_bits, out_first, out_count):  # type: ignore[no-untyped-def]
    for c in range(len(alive) - 1, -1, -1):
        for b in range(out_first[c], out_first[c] + out_count[c]):
            if wanted[b]:
                alive[c] = True
        if alive[c]:
            for i in range(in_start[c], in_start[c + 1]):
                wanted[in_bits[i]] = True


@numba.njit(cache=True)
def _drive(driver, out_first, out_count):  # type: ignore[no-untyped-def]
    for c in range(len(out_first)):
        for b in range(out_first[c], out_first[c] + out_count[c]):
            driver[b] = c


@numba.njit(cache=True)
def _earliest(form, slots):  # type: ignore[no-untyped-def]
    in_start, in_bits, out_first, out_count, delay, alive, driver, reads_start, reads, shown = form
    end = np.zeros(len(delay), np.int64)
    for c in range(len(delay)):
        if alive[c]:
            end[c] = _lower(c, end, form, slots)
    return end


@numba.njit(cache=True)
def _lower(c, end, form, slots):  # type: ignore[no-untyped-def]
    """Earliest end of cell c."""
    in_start, in_bits, out_first, out_count, delay, alive, driver, reads_start, reads, shown = form
    d = delay[c]
    t = max(d - 1, 0)
    for i in range(in_start[c], in_start[c + 1]):
        source = driver[in_bits[i]]
        if source >= 0:
            t = max(t, end[source] + d)
    if t % slots < d - 1:
        t = t // slots * slots + d - 1
    return t


@numba.njit(cache=True)
def _upper(c, end, form, slots, latency):  # type: ignore[no-untyped-def]
    """Latest end of cell c that its readers allow."""
    in_start, in_bits, out_first, out_count, delay, alive, driver, reads_start, reads, shown = form
    t = latency * slots - 1
    for b in range(out_first[c], out_first[c] + out_count[c]):
        for i in range(reads_start[b], reads_start[b + 1]):
            r = reads[i]
            t = min(t, end[r] - delay[r])
    if t % slots < delay[c] - 1:
        t = t // slots * slots - 1
    return t


@numba.njit(cache=True)
def _last_read(b, skip, end, form, slots, latency):  # type: ignore[no-untyped-def]
    """Last stage in which a cell other than ``skip`` reads bit b; -1 when none does."""
    in_start, in_bits, out_first, out_count, delay, alive, driver, reads_start, reads, shown = form
    last = latency if shown[b] else -1
    for i in range(reads_start[b], reads_start[b + 1]):
        if reads[i] != skip:
            last = max(last, end[reads[i]] // slots)
    return last


@numba.njit(cache=True)
def _sweep(form, end, slots, latency, late):  # type: ignore[no-untyped-def]
    """Move every cell to the stage with the fewest registers around it; of equals the latest, or the earliest."""
    in_start, in_bits, out_first, out_count, delay, alive, driver, reads_start, reads, shown = form
    count = len(delay)
    for step in range(count):
        c = count - 1 - step if late else step
        if not alive[c]:
            continue
        lo = _lower(c, end, form, slots)
        hi = _upper(c, end, form, slots, latency)
        if lo > hi:
            continue
        first, final = lo // slots, hi // slots
        best = end[c] // slots
        if first < final:
            driven = 0
            for b in range(out_first[c], out_first[c] + out_count[c]):
                if shown[b] or reads_start[b] < reads_start[b + 1]:
                    driven += 1
            costs = np.zeros(final - first + 1, np.int64)
            for i in range(in_start[c], in_start[c + 1]):
                b = in_bits[i]
                if b < FIRST_BIT:
                    continue
                others = _last_read(b, c, end, form, slots, latency)
                for s in range(first, final + 1):
                    costs[s - first] += max(s, others)
            best_cost = np.int64(1) << 60
            for k in range(final - first + 1):
                s = final - k if late else first + k
                cost = costs[s - first] - driven * s
                if cost < best_cost:
                    best, best_cost = s, cost
        else:
            best = first
        if late:
            end[c] = min(hi, best * slots + slots - 1)
        else:
            end[c] = max(lo, best * slots + max(delay[c] - 1, 0))


@numba.njit(cache=True)
def _registers(form, end, slots, latency):  # type: ignore[no-untyped-def]
    driver = form[6]
    total = 0
    for b in range(FIRST_BIT, len(driver)):
        last = _last_read(b, -1, end, form, slots, latency)
        born = end[driver[b]] // slots if driver[b] >= 0 else 0
        if last > born:
            total += last - born
    return total


@numba.njit(cache=True)
def _stages(form, end, slots, latency):  # type: ignore[no-untyped-def]
    alive, driver = form[5], form[6]
    stage = np.full(len(alive), -1, np.int64)
    for c in range(len(alive)):
        if alive[c]:
            stage[c] = end[c] // slots
    born = np.zeros(len(driver), np.int64)
    last = np.full(len(driver), -1, np.int64)
    for b in range(FIRST_BIT, len(driver)):
        if driver[b] >= 0:
            born[b] = max(stage[driver[b]], 0)
        last[b] = _last_read(b, -1, end, form, slots, latency)
    return stage, born, last
