"""Products that see only changes: sums that stay in banks of the lanes, and grow by the weights of what has changed.

A delta layer's input stands where its old value stood; DELTA lists the elements that it changes. The sum M = W x + b over such an
input is kept from step to step: M + W (x - x_old) is the new one, exactly. So a step costs what its changes cost.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from neuroloom.compiler.errors import UnsupportedError

from .code import NOTHING, Access, Fields, Item, Job, Part, Sum, Walk
from .forms import Form, Lin, Mat, Spec
from .isa import LISTS, Op, Source, limits
from .locate import Loc
from .sums import bias_beats

if TYPE_CHECKING:
    from .machine import Machine


@dataclass(frozen=True, eq=False)
class Listed:
    """A vector whose changes are listed: which list, its first entry, its words, the initial value, and where in the program."""

    number: int
    entry: int
    loc: Loc
    start: np.ndarray
    items: list[Item]
    prologue: Walk

    @property
    def size(self) -> int:
        """Elements."""
        return len(self.start)


class Changes:
    """The lists and banks of a program that is being made."""

    def __init__(self) -> None:
        self.listed: list[Listed] = []
        self.at: dict[int, tuple[Listed, int]] = {}
        self.entries = 0
        self.banks = 0
        self.prologue = Walk([])
        """Where the banks are filled: before the first step, or before the loop around."""

    def of(self, mat: Mat, items: list[Item]) -> list[tuple[Listed, np.ndarray]] | None:
        """The listed vectors that make up the product's input, each with its weights [outputs, size]; None when something else
        does, or the vector's changes are not listed right here.
        """
        x = mat.x.addr.reshape(-1, mat.x.addr.shape[-1]) if mat.x.addr.ndim else mat.x.addr.reshape(1, 1)
        if len(x) != 1 or not self.at or mat.x.reg.any():
            return None
        found: dict[int, tuple[Listed, np.ndarray]] = {}
        for column, address in enumerate(x[0].tolist()):
            listed, element = self.at.get(address, (None, 0))
            if listed is None or listed.items is not items:
                return None
            if listed.number not in found:
                found[listed.number] = listed, np.zeros((len(mat.weights), listed.size), np.int64)
            found[listed.number][1][:, element] += mat.weights[:, column]
        return list(found.values())


def list_changes(machine: Machine, x: Loc, old: Loc, start: np.ndarray, threshold: int) -> str | None:
    """Append the DELTA that brings the new value ``x`` to ``old`` and lists what changes; or say why that cannot be done."""
    config, changes = machine.config, machine.changes
    size = old.addr.size
    count = -(-size // config.groups)
    lo, hi = x.bounds
    if not config.changes:
        return f"profile {config.profile!r} lists no changes"
    if x.parts > 1 or hi - lo >= 1 << config.word - 1:
        return (
            f"a change may take {(hi - lo).bit_length() + 1} bits and a word of profile {config.profile!r} has {config.word}; "
            "give the layer's input fewer bits"
        )
    if len(changes.listed) == LISTS or changes.entries + count > config.changes or size > limits(Op.DELTA, "n")[1]:
        return f"profile {config.profile!r} has {LISTS} lists with {config.changes} places in all"
    row, place = old.addr.ravel(), x.addr.ravel()
    if old.reg.any() or not _straight(row, config.groups):
        return "its state does not stand in one piece"
    register = int(x.reg.flat[0])
    if (
        not _straight(place, config.groups)
        or (x.reg != register).any()
        or not machine.space.aligned(register, config.groups)
    ):
        copy = machine.space.new((size,), x.bounds, "a delta layer's input")
        machine.store(Form((Lin(x.map(lambda a: a.reshape(-1))),), (size,), x.bounds, machine.source), copy)
        place, register = copy.addr, 0
    number = len(changes.listed) + 1
    listed = Listed(number, changes.entries, old, start.ravel(), machine.items, changes.prologue)
    changes.listed.append(listed)
    changes.entries += count
    changes.at.update((address, (listed, element)) for element, address in enumerate(row.tolist()))
    machine.items.append(
        _delta_job(machine, listed, int(place[0]), register, min(threshold, limits(Op.DELTA, "threshold")[1]))
    )
    return None


def _straight(row: np.ndarray, size: int) -> bool:
    return bool((np.diff(row) == 1).all() and row[0] % size == 0)


def _delta_job(machine: Machine, listed: Listed, x: int, register: int, threshold: int) -> Job:
    config, time = machine.config, machine.config.timing
    old, size = int(listed.loc.addr.flat[0]), listed.size
    count = -(-size // config.groups)
    fields = {
        "a_addr": x,
        "a_reg": register,
        "b_addr": old,
        "n": size,
        "list": listed.number,
        "threshold": max(threshold, 1),
        "entry": listed.entry,
    }
    first, last = time.read, time.read + count - 1
    when = np.repeat(np.arange(count), config.groups)[:size]
    rows = (old + np.arange(size)) // config.ports
    reads = [Access.of(rows, first + when)]
    if register:
        span = machine.space.registers[register]
        reads.append(Access.span((x + span.lo) // config.ports, (x + size - 1 + span.hi) // config.ports, first, last))
    else:
        reads.append(Access.of((x + np.arange(size)) // config.ports, first + when))
    writes = Access.of(rows, first + when + time.sum + time.write)
    busy = [
        ("beat" if config.shared else "vec", first, last),
        ("port", first + time.sum, last + time.sum),
        ("list", 0, last + time.sum + 1),
    ]
    part = Part([(0, Op.DELTA, fields)], busy, Access.join(reads), writes)
    return Job([part], uses=frozenset({register}) - {0}, source=machine.source, lists=True)


def changed_sum(machine: Machine, mat: Mat, target: Loc, parts: list[tuple[int, Spec]]) -> bool:
    """Append the walk that brings the product up to date and drains it; False when it must be summed anew."""
    config, changes = machine.config, machine.changes
    found = changes.of(mat, machine.items)
    outs, size = len(mat.weights), config.per_group
    blocks = -(-outs // size)
    if not found or changes.banks + blocks > config.banks:
        return False
    bias = mat.bias.astype(object)
    for listed, weights in found:
        bias = bias + weights.astype(object) @ listed.start.astype(object)
    try:
        beats = [bias_beats(config, bias[at : at + size], machine.source) for at in range(0, outs, size)]
    except UnsupportedError:
        return False
    out, register = target.addr.reshape(-1), int(target.reg.flat[0])
    walk, turns = (
        Walk([], {each.number: -(-each.size // config.groups) for each, _ in found}, source=machine.source),
        size // config.ports,
    )
    for number, at in enumerate(range(0, outs, size)):
        count, bank = min(size, outs - at), changes.banks + number
        rows = -(-count // config.ports)
        drains: list[tuple[int, Fields]] = []
        for place, (part, spec) in enumerate(parts):
            final = place == len(parts) - 1
            fields = {
                "rows": rows,
                "d_addr": int(out[at]) + part * target.part_stride,
                "d_reg": register,
                "d_rs": config.ports,
                "tail": count - (rows - 1) * config.ports,
                "source": int(Source.LAST if final else Source.HOLD),
                **spec.fields(),
            }
            drains.append((rows if final else turns, fields))
        walks: list[Fields] = []
        for place, (listed, weights) in enumerate(found):
            final = place == len(found) - 1
            walks.append(
                {
                    "entry": listed.entry,
                    "list": listed.number,
                    "w_addr": machine.weights.add(_rows(machine, weights[at : at + count]), machine.source),
                    "bank": bank,
                    "first": int(place == 0),
                    "load": int(place == 0),
                    "capture": int(final),
                }
            )
        walk.sums.append(Sum([], walks, drains))
        found[0][0].prologue.sums.append(_filled(machine, beats[number], count, bank))
    changes.banks += blocks
    span = machine.space.registers[register]
    lows = [(int(out.min()) + p * target.part_stride + span.lo) // config.ports for p, _ in parts]
    highs = [(int(out.max()) + p * target.part_stride + span.hi) // config.ports for p, _ in parts]
    walk.writes = Access.join([Access.span(lo, hi, 0, 0) for lo, hi in zip(lows, highs, strict=True)])
    walk.uses = frozenset({register}) - {0}
    _append(machine.items, walk)
    return True


def _rows(machine: Machine, weights: np.ndarray) -> np.ndarray:
    """Weight rows: one for ``groups`` elements that stand together, each group's lanes with the weights of its element."""
    config, (outs, size) = machine.config, weights.shape
    rows = np.zeros((-(-size // config.groups), config.lanes), np.int64)
    for element in range(size):
        lane = element % config.groups * config.per_group
        rows[element // config.groups, lane : lane + outs] = weights[:, element]
    return rows


def _filled(machine: Machine, beats: list[tuple[tuple[int, ...], list[np.ndarray]]], count: int, bank: int) -> Sum:
    """A bank's first content: ``beats`` as of :func:`bias_beats`, which may be none."""
    config = machine.config
    rows = np.zeros((len(beats), config.lanes), np.int64)
    for number, (_, digits) in enumerate(beats):
        for group, weights in enumerate(digits):
            rows[number, group * config.per_group : group * config.per_group + count] = weights
    macs = []
    if beats:
        first = machine.weights.add(rows, machine.source)
        for number, (elements, _) in enumerate(beats):
            mac = {
                "x_addr": machine.space.constant(elements),
                "n0": 1,
                "n1": 1,
                "w_addr": first + number,
                "first": int(number == 0),
            }
            macs.append((number, mac))
    return Sum(macs, [{"bank": bank, "first": int(not beats), "capture": 1}], [])


def _append(items: list[Item], walk: Walk) -> None:
    """Put the walk into the program: into the one before, past jobs that neither touch what it writes nor list changes."""
    at = len(items)
    while at and isinstance(items[at - 1], Job) and not _apart(items[at - 1], walk):
        at -= 1
    before = items[at - 1] if at else None
    if not isinstance(before, Walk) or not before.sums:
        items.append(walk)
        return
    before.sums += walk.sums
    before.longest |= walk.longest
    before.uses |= walk.uses
    before.writes = Access.join([before.writes, walk.writes])


def _apart(job: Item, walk: Walk) -> bool:
    """Whether the walk must stay behind the job."""
    assert isinstance(job, Job)
    if job.lists or job.sets & walk.uses:
        return True
    return any(_touch(part.reads, walk.writes) or _touch(part.writes, walk.writes) for part in job.parts)


def _touch(a: Access, b: Access) -> bool:
    return a is not NOTHING and bool(len(np.intersect1d(a.rows, b.rows)))


def split(machine: Machine, mats: Iterable[Mat]) -> tuple[list[Mat], list[Mat]]:
    """Products over listed vectors, and the others."""
    kept: tuple[list[Mat], list[Mat]] = ([], [])
    for mat in mats:
        kept[machine.changes.of(mat, machine.items) is None].append(mat)
    return kept
