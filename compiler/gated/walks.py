"""Sums over lists of changes: the words of a :class:`~neuroloom.compiler.gated.code.Walk`, and how long they take.

A CMAC starts when the one before has come to its end; everything else keeps its distance from the CMAC before it. The sums of a row
are drained while the next row is summed: ``pad`` empty steps of the CMAC that captures make sure that they are out before.
"""

from __future__ import annotations

from collections.abc import Mapping

from .code import Fields, Walk
from .isa import Op
from .timing import Timing

LATER = 2
"""Cycles from the first address of a MAC to that of a CMAC that starts with it: its row of weights stands in the list."""

APART = 3
"""Least distance of two CMACs."""

Planned = tuple[Op, Fields, int]
"""A word, and the least cycles to the next one."""


def plan(walk: Walk, time: Timing) -> list[Planned]:
    """The words in order; the last one's cycles end when everything is written."""
    out: list[Planned] = []
    waiting: list[tuple[int, Fields]] = []

    def drain() -> int:
        """What waits is drained; returns the cycles that the last one needs the ports, which the next CMAC need not wait for."""
        rows = 1
        for number, (rows, fields) in enumerate(waiting):
            last = number == len(waiting) - 1
            out.append((Op.DRAIN, fields, max(rows - time.sum - 2, 1) if last else rows))
        waiting.clear()
        return rows

    for each in walk.sums:
        for number, (at, fields) in enumerate(each.macs):
            beats = fields["n0"] * fields["n1"]
            follows = each.macs[number + 1][0] - at if number + 1 < len(each.macs) else max(beats - LATER, 1)
            out.append((Op.MAC, fields, follows))
        drained = sum(rows for rows, _ in waiting)
        for number, fields in enumerate(each.walks):
            first = number == 0 and bool(waiting)
            pad = max(drained, 1) if fields["capture"] else 1
            follows = time.sum + 2 if first else APART + (0 if each.drains else pad)
            out.append((Op.CMAC, {**fields, "pad": pad}, follows))
            if first:
                drain()
        waiting += each.drains
    if waiting:  # an empty sum, which starts when the last one is complete
        out.append((Op.CMAC, {"pad": 1}, time.sum + 2))
        rows = drain()
        out[-1] = *out[-1][:2], rows + time.write
    elif out:  # the banks are written
        out[-1] = *out[-1][:2], out[-1][2] + time.read + LATER + time.sum + 2
    return out


def cycles(planned: list[Planned], counts: Mapping[int, int]) -> int:
    """Cycles of the words when list n holds ``counts[n]`` changes (none where nothing is said)."""
    now, free = 0, 0
    for op, fields, follows in planned:
        if op == Op.CMAC:
            now = max(now, free)
            free = now + fields["pad"] + counts.get(fields.get("list", 0), 0)
        now += follows
    return now
