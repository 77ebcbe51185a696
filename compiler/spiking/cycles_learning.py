"""Cycles of the LEARN commands and of DECIDE, from the command's fields and from what decides which rows are skipped.

Counted from the cycle of ``start`` to the cycle of ``done``, both included. The units are ``rtl/spiking/learn*.py`` and
``decide.py``; a test holds both together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from . import serial_cycles
from .core import SPIKE_WORD, CoreConfig
from .plasticity import ROUNDINGS

START, DONE = 1, 1
DRAIN = 4
"""Cycles from the traces of the last fields that go under the rule's lanes to their result."""

FAST_STAGES = 3
"""Cycles from a row word of the fast path to its write."""

STOCHASTIC = ROUNDINGS.index("stochastic")
"""``rounding`` of a rule that rounds at random."""

LOCATE = 4
"""Cycles that find the trace of a record's target, when the source spiked."""


@dataclass(frozen=True)
class Look:
    """What a LEARN command finds: traces and spikes of sources and targets, the reward, and the eligibilities that are not 0.

    ``rows``: for LEARN_SPARSE, every source's first record and its targets in the order of the records.
    """

    x: Sequence[int]
    y: Sequence[int]
    pre: Sequence[int]
    post: Sequence[int]
    reward: int = 0
    eligibility: Mapping[tuple[int, int], int] = field(default_factory=dict)
    rows: Sequence[tuple[int, Sequence[int]]] = ()


def fast_rule(fields: Mapping[str, int]) -> bool:
    """Whether a core with the fast path takes this LEARN_DENSE there."""
    return not any(fields.get(name, 0) for name in ("soft", "enables", "eligible"))


def _rule_cycles(config: CoreConfig, beats: int, eligible: bool, dep: bool, pot: bool, reward: int) -> int:
    phases = dep + pot + (eligible + (reward != 0) if eligible else 0)
    return beats * phases + DRAIN + config.walk_cycles


def learn_dense_cycles(config: CoreConfig, fields: Mapping[str, int], look: Look, *, fast: bool = False) -> int:
    """Cycles of one LEARN_DENSE; ``fast``: the core was built with the fast path."""
    if config.serial_learning:
        return serial_cycles.dense_cycles(config, fields, look)
    sources, targets = fields.get("sources", 0), fields.get("targets", 0)
    if not sources or not targets:
        return START + DONE
    per, lanes = config.fields, config.lanes
    groups = -(-sources // lanes)
    walk = config.walk_cycles
    blocks = -(-targets // per)
    if fast and fast_rule(fields):
        total = START + walk + FAST_STAGES + DONE
        pace = per // lanes if fields.get("rounding", 0) == STOCHASTIC else 1  # cycles of a row
        for block in range(blocks):
            fired = any(look.post[block * per : min(targets, (block + 1) * per)])
            due = [bool(look.pre[j]) or (bool(look.x[j]) and fired) for j in range(sources)]
            rows = [pace * sum(due[first : first + lanes]) for first in range(0, sources, lanes)]
            # the traces of the next group are asked for when a group's rows begin
            waits = sum(max(0, walk - count) for count in rows[:-1])
            total += per // lanes + 1 + walk + groups + sum(rows) + waits
        return total
    eligible = bool(fields.get("eligible", 0)) and config.learning == "reward"
    enables = fields.get("enables", 0)
    excited: set[tuple[int, int]] = {(j, i // per) for (j, i), e in look.eligibility.items() if e}
    total, beats = START + DONE, config.rule_beats
    for block in range(blocks):
        span = slice(block * per, min(targets, (block + 1) * per))
        any_post = any(look.post[span])
        total += max(1, per // SPIKE_WORD) + (1 + walk) * groups
        total += config.large * sources
        for j in range(sources):
            dep, pot = bool(look.pre[j]), bool(look.x[j]) and any_post
            if eligible:
                total += 2 + walk
                if dep or pot or (j, block) in excited:
                    total += enables + _rule_cycles(config, beats, True, dep, pot, look.reward) + 1 + (look.reward != 0)
            elif dep or pot:
                total += 2 + walk + enables + _rule_cycles(config, beats, False, dep, pot, 0)
            else:
                total += 1
    return total


def _row_cycles(per: int, fetches: int, look: int, start: int, records: Sequence[int]) -> int:
    """Cycles of a row's records; ``records``: cycles that the rule takes on each, 0 where it is passed over; ``look``: cycles until
    that is known; ``fetches``: cycles that a word takes to come.
    """
    total = 0
    fetch = True
    for place, rule in enumerate(records, start):
        fetch = fetch or place % per == 0
        total += fetch * fetches + look + (rule + 1 if rule else 0)
        fetch = rule != 0
    return total


def learn_sparse_cycles(config: CoreConfig, fields: Mapping[str, int], look: Look, *, fast: bool = False) -> int:
    """Cycles of one LEARN_SPARSE; ``fast`` changes nothing."""
    if config.serial_learning:
        return serial_cycles.sparse_cycles(config, fields, look)
    sources = fields.get("sources", 0)
    if not sources or not fields.get("targets", 0):
        return START + DONE
    eligible = bool(fields.get("eligible", 0)) and config.learning == "reward"
    comes, beats = config.walk_cycles, config.record_beats
    multiply = config.target_bits if fields.get("rounding", 0) == STOCHASTIC else 0
    total = START + DONE + (1 + comes) * -(-sources // config.lanes)
    for j in range(sources):
        dep, x = bool(look.pre[j]), bool(look.x[j])
        total += 1 + config.large
        if not (dep or x or eligible):
            continue
        total += comes
        start, targets = look.rows[j]
        if not targets:
            total += config.large
            continue
        records = []
        for i in targets:
            pot = x and bool(look.post[i])
            busy = dep or pot or (eligible and look.eligibility.get((j, i), 0) != 0)
            records.append(
                LOCATE * dep + multiply + _rule_cycles(config, beats, eligible, dep, pot, look.reward) if busy else 0
            )
        total += _row_cycles(config.records(eligible), comes, 3 + 3 * config.large, start, records)
    return total


def decide_cycles(config: CoreConfig, fields: Mapping[str, int], *, decided: bool) -> int:
    """Cycles of one DECIDE; ``decided``: an earlier step has decided already."""
    neurons = fields.get("neurons", 0)
    if decided or not neurons:
        return START + DONE
    comes = config.pool_cycles
    by_confidence = comes + 4 * neurons if fields.get("mode", 0) == 1 else 0
    return START + comes + neurons + 1 + by_confidence + 2 + DONE
