"""INs and OUTs: a value's elements in row-major order, in loops where they do not stand one behind the other."""

from __future__ import annotations

from neuroloom.compiler.ir import smallest_type

from .code import Stream
from .isa import Op, limits
from .locate import Loc
from .machine import Machine
from .pieces import affine_pieces

STREAMS_PER_ROUND = 8
"""INs or OUTs in one round of a loop: a round has some cycles of its own."""

ROOMY = 512
"""Program words from which on there is room for more than one."""


def stream(machine: Machine, op: Op, loc: Loc | None, *, first: bool = False, last: bool = False) -> None:
    """Take or give a value's elements in row-major order; None: only begin or end."""
    if loc is None:
        machine.items.append(Stream(op, {"first": int(first), "last": int(last), "n": 0, "parts": 1, "width": 1}))
        return
    type_ = smallest_type(loc.bounds)
    fields = {
        "width": type_.width - (loc.parts - 1) * machine.config.digit,
        "signed": int(type_.signed),
        "parts": loc.parts,
        "part_stride": loc.part_stride,
    }
    most, reach = limits(op, "n")[1], limits(op, "stride")[1]
    far = (loc.parts - 1) * loc.part_stride

    def span(first: int, last: int, reg: int) -> tuple[int, int]:
        moves = machine.space.registers[reg]
        return min(first, last) + moves.lo, max(first, last) + moves.hi + far

    def run(start: int, reg: int, count: int, stride: int) -> None:
        if abs(stride) > reach:
            for number in range(count):
                at = start + number * stride
                machine.items.append(Stream(op, {**fields, "addr": at, "reg": reg, "n": 1}, span(at, at, reg)))
            return
        for at in range(0, count, most):
            begin, number = start + at * stride, min(most, count - at)
            place = {**fields, "addr": begin, "reg": reg, "n": number, "stride": stride}
            machine.items.append(Stream(op, place, span(begin, begin + (number - 1) * stride, reg)))

    def nest(start: int, reg: int, dims: tuple[int, ...], strides: list[int]) -> None:
        if len(dims) == 1:
            run(start, reg, dims[0], strides[0])
            return
        each = STREAMS_PER_ROUND if len(dims) == 2 and machine.config.program_words >= ROOMY else 1
        turns = dims[0] // each if dims[0] >= 2 * each else 0
        if turns:
            with machine.loop(turns, [(reg, each * strides[0])]) as (moved,):
                for number in range(each):
                    nest(start + number * strides[0], moved, dims[1:], strides[1:])
        for number in range(turns * each, dims[0]):
            nest(start + number * strides[0], reg, dims[1:], strides[1:])

    for piece in affine_pieces([loc.addr], [loc.reg]):
        nest(piece.start[0], piece.regs[0], piece.dims, [s[0] for s in piece.strides])
