"""The jobs of an arg-max or of the ranks of a top-k."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from neuroloom.compiler.errors import UnsupportedError

from .code import Access, Job, Load, Part
from .forms import Const, Form, Spec
from .isa import Op, Rounding, Source
from .locate import Loc, signed_width
from .machine import Machine

if TYPE_CHECKING:
    from .lower import Lowering

UNIT_ROW = -1
"""A row that does not exist: it stands for the pick unit's memory, so that picks keep their order."""


def pick_job(machine: Machine, row: Loc, again: bool, largest: bool, value: Loc | None, index: Loc) -> None:
    """Append the job that finds the best of ``row`` and stores its value and its number.

    ``again``: the best of what stands behind the pick before. Addresses of ``row`` go in equal steps.
    """
    config, space, time = machine.config, machine.space, machine.config.timing
    count, parts = len(row.addr), row.parts
    stride = int(row.addr[1] - row.addr[0]) if count > 1 else 0
    register = int(row.reg[0])
    fields = {
        "x_addr": int(row.addr[0]) + (parts - 1) * row.part_stride,
        "x_reg": register,
        "n": count,
        "stride": stride,
        "parts": parts,
        "part_stride": row.part_stride,
        "largest": int(largest),
        "again": int(again),
    }
    last = time.read + count * parts - 1
    addr = np.concatenate([row.addr + p * row.part_stride for p in range(parts)])
    span = space.registers[register]
    lo, hi = (int(addr.min()) + span.lo) // config.ports, (int(addr.max()) + span.hi) // config.ports
    state = np.array([UNIT_ROW])
    reads = Access.join([Access.span(lo, hi, time.read, last), Access.of(state, np.array([0]))])
    # from its start on the unit's value is another one: what drains the pick before is through by then
    writes = Access(state, np.array([time.read - 1]), np.array([last + time.sum]))
    unit = "beat" if config.shared else "vec"
    first = Part([(0, Op.PICK, fields)], [(unit, time.read, last)], reads, writes)
    out, lags = [first], [0]
    whole = Spec(0, Rounding.FLOOR, True, config.word, True)
    digits = [Spec(p * config.digit, Rounding.FLOOR, True, config.digit, False) for p in range(parts - 1)] + [
        Spec((parts - 1) * config.digit, Rounding.FLOOR, True, config.word, True)
    ]
    wanted = [(Source.INDEX, index, 0, whole)]
    if value is not None:
        wanted += [(Source.VALUE, value, p, spec) for p, spec in enumerate(digits)]
    registers = {register}
    for source, loc, part, spec in wanted:
        address, d_reg = int(loc.addr) + part * loc.part_stride, int(loc.reg)
        registers.add(d_reg)
        drain = {
            "rows": 1,
            "element": 1,
            "d_addr": address,
            "d_reg": d_reg,
            "tail": 1,
            "source": int(source),
            **spec.fields(),
        }
        reach = space.registers[d_reg]
        place = Access.span(
            (address + reach.lo) // config.ports,
            (address + reach.hi) // config.ports,
            time.read + time.write,
            time.read + time.write,
        )
        out.append(
            Part(
                [(0, Op.DRAIN, drain)],
                [("port", time.read, time.read)],
                Access.of(state, np.array([time.read])),
                place,
            )
        )
        lags.append(last + time.sum - time.read)
    machine.items.append(Job(out, lags, uses=frozenset(registers) - {0}, source=machine.source))


def pick_without_ranks(low: Lowering, x: Loc, best: Loc, which: Loc, *, largest: bool, source: str) -> None:
    """Top-k of every row on an engine whose picks do not go on: what was picked is overwritten by what is never picked again.

    ``x`` [..., n]; ``best`` and ``which`` [..., k] take the values and their numbers. Raises UnsupportedError where nothing is left
    that is worse than every value.
    """
    machine, config = low.machine, low.machine.config
    count, parts = x.addr.shape[-1], x.parts
    ends = -(1 << config.word - 1), (1 << config.word - 1) - 1
    top = tuple(end >> (parts - 1) * config.digit for end in x.bounds)
    worst = ends[0] if largest else ends[1]
    if worst in top:
        raise UnsupportedError(
            f"{source}: top-k with k > 1 on profile {config.profile!r} overwrites what it has picked, and values of "
            f"{signed_width(x.bounds)} bits leave nothing that is worse than all of them; requantize to a bit less, or take a "
            "larger board"
        )
    for place in np.ndindex(*x.addr.shape[:-1]):
        row = machine.space.new((count,), x.bounds, source)
        low.copy(x.map(lambda a, place=place: a[place]), row)
        for rank in range(best.addr.shape[-1]):
            value, index = (loc.map(lambda a, at=(*place, rank): a[at]) for loc in (best, which))
            pick_job(machine, row, False, largest, value, index)
            if rank == best.addr.shape[-1] - 1:
                break
            register = machine.space.register(0, count - 1, 1)
            machine.items.append(Load(register, int(index.addr), int(index.reg)))
            gone = row.part(parts - 1).map(lambda a, register=register: a[0])
            gone = replace(gone, reg=np.array(register), bounds=(worst, worst))
            machine.store(Form((Const(np.array(worst)),), (), (worst, worst), source), gone)
            machine.space.free_register(register)
