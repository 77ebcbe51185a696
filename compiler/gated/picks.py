"""The job of an arg-max or of one rank of a top-k."""

from __future__ import annotations

import numpy as np

from .code import Access, Job, Part
from .forms import Spec
from .isa import Op, Rounding, Source
from .locate import Loc
from .machine import Machine, emit_fields

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
            **emit_fields(spec),
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
