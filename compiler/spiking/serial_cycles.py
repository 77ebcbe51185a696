"""Cycles of LEARN commands on the serial learning unit, from the lengths of its program's parts.

Counted like those of ``cycles_learning.py``: from the cycle of ``start`` to that of ``done``, both included.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from .core import SPIKE_WORD, CoreConfig
from .serial_program import program_of

if TYPE_CHECKING:
    from .cycles_learning import Look

BLOCK = 4
"""Fields of a pool word."""


class _Costs:
    """What the parts of the program take for one command."""

    def __init__(self, config: CoreConfig, fields: Mapping[str, int], *, sparse: bool) -> None:
        self.length = length = program_of(config).length
        f = fields.get("f", 0)
        shift = length("usual", "cut") + length("cut", "apply")
        if f == 0:
            shift = length("other_shift", "far_shift") + length("plain", "plain_end") + length("cut", "apply")
        elif f > 16:
            shift = length("other_shift", "far_shift_end")
        self.change = length("change", "usual") + shift + length("apply", "change_end")
        self.back = length("back", "back_sparse_end") + (0 if sparse else length("back_sparse_end", "back_dense_end"))
        self.setup = (
            1 + length("start", "dense_setup_end") + (length("sparse_setup", "sparse_setup_end") if sparse else 0)
        )
        self.load = length("load", "plane") + length("load_join", "field")
        self.load += length("plane", "plane_end") if fields.get("enables", 0) else length("enabled", "enabled_end")

    def synapse(self, dep: bool, pot: bool) -> int:
        """One synapse that changes."""
        length = self.length
        total = length("synapse", "dep") + length("pot", "raise") + self.back
        if dep:
            total += length("dep", "dep_end") + self.change
        if pot:
            total += length("raise", "raise_end") + self.change + length("change_end", "last_change_end")
        return total

    def start_and_end(self, sources: int, targets: int) -> int:
        """All but the sources."""
        length = self.length
        total = self.setup + length("done", "done_end")
        if not targets:
            return total + 2
        total += length("count", "done")
        if not sources:
            return total
        return total + length("next_source_end", "last_source_end")

    def source(self, active: bool) -> int:
        """One source, without its row."""
        length = self.length
        total = length("source", "active") + length("next_source", "next_source_end")
        return total + (length("active", "dense_source") if active else 0)


def dense_cycles(config: CoreConfig, fields: Mapping[str, int], look: Look) -> int:
    """Cycles of one LEARN_DENSE."""
    costs = _Costs(config, fields, sparse=False)
    sources, targets = fields.get("sources", 0), fields.get("targets", 0)
    total = costs.start_and_end(sources, targets)
    if not targets:
        return total
    rows: dict[tuple[bool, bool], int] = {}
    for j in range(sources):
        kind = bool(look.pre[j]), bool(look.x[j])
        if kind not in rows:
            rows[kind] = costs.source(any(kind)) + (_dense_row(costs, look, targets, *kind) if any(kind) else 0)
        total += rows[kind]
    return total


def _dense_row(costs: _Costs, look: Look, targets: int, dep: bool, x: bool) -> int:
    length = costs.length
    total = length("dense_source", "dense_source_end")
    for first in range(0, targets, SPIKE_WORD):
        fired = [x and bool(v) for v in look.post[first : min(targets, first + SPIKE_WORD)]]
        left = targets - first
        total += length("word", "skip_word")
        if not dep and not any(fired):
            total += length("skip_word", "skip_word_end")
            left -= SPIKE_WORD
        else:
            total += length("work", "block")
            for block in range(0, SPIKE_WORD, BLOCK):
                part = fired[block : block + BLOCK]
                total += _block(costs, part, dep)
                left -= BLOCK
                if left <= 0:
                    return total + 2 + (left < 0)
                total += length("next_block", "next_word") - (block + BLOCK < SPIKE_WORD)
        if left <= 0:
            return total + 4 + (left < 0)
        total += length("next_word", "next_word_end")
    return total


def _block(costs: _Costs, fired: list[bool], dep: bool) -> int:
    length = costs.length
    total = length("block", "skip_block")
    if not dep and not any(fired):
        return total + length("skip_block", "skip_block_end")
    total += costs.load + BLOCK * (length("field", "target") + length("turn", "store")) + length("store", "next_block")
    for pot in fired:
        total += length("target", "due")
        if dep or pot:
            total += length("due", "dense_back") + costs.synapse(dep, pot) + length("dense_back", "turn")
    return total


def sparse_cycles(config: CoreConfig, fields: Mapping[str, int], look: Look) -> int:
    """Cycles of one LEARN_SPARSE."""
    costs = _Costs(config, fields, sparse=True)
    length = costs.length
    sources, targets = fields.get("sources", 0), fields.get("targets", 0)
    total = costs.start_and_end(sources, targets)
    if not targets:
        return total
    for j in range(sources):
        dep, x = bool(look.pre[j]), bool(look.x[j])
        total += costs.source(dep or x)
        if not (dep or x):
            continue
        total += length("row", "row_end")
        row = look.rows[j][1]
        if not row:
            continue
        total += length("row_end", "record") + length("next_record_end", "last_record_end")
        for i in row:
            pot = x and bool(look.post[i])
            total += length("record", "find") + length("next_record", "next_record_end")
            if dep or pot:
                total += length("find", "find_end") + costs.synapse(dep, pot) + length("sparse_back", "next_record")
    return total
