"""Element-wise sums: rows of many elements where the addresses allow it, single elements elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .code import Access, Job, Part
from .forms import Spec
from .isa import Op, limits
from .locate import Loc, Space
from .pieces import affine_pieces
from .products import Product

if TYPE_CHECKING:
    from .machine import Machine

UNROLLED = 8
"""Outer loops of at most so many rounds are written out."""

EXACT = 64
"""Most rows whose cycles at the ports are kept one by one."""

ROWS = limits(Op.VEC, "rows")[1]
COUNT = limits(Op.TERM, "n")[1]
REACH = limits(Op.TERM, "a_rs")[1]


@dataclass(frozen=True)
class Operand:
    """A moving address: where it begins, its register, its step from row to row and inside a row; one element for all lanes?"""

    start: int
    reg: int
    row: int
    inner: int
    one: bool


def with_lifts(space: Space, products: list[Product], shape: tuple[int, ...]) -> list[tuple[Product, bool]]:
    """The products, topmost level first, each with whether the sum is lifted by a digit before; levels in between get zeros."""
    zero = space.constant((0,))
    full = np.full(shape, zero)
    nothing = Product(full, np.zeros_like(full), full, np.zeros_like(full), 0)
    out: list[tuple[Product, bool]] = []
    level = products[0].level
    for product in products:
        while product.level < level - 1:
            out.append((nothing, True))
            level -= 1
        out.append((product, product.level < level))
        level = product.level
    while level > 0:
        out.append((nothing, True))
        level -= 1
    return out


def sweep(machine: Machine, products: list[Product], dest: Loc, spec: Spec) -> None:
    """Append the jobs that compute the sum of ``products`` for every element of ``dest``."""
    shape = dest.addr.shape
    if dest.addr.size == 0:
        return
    lifted = with_lifts(machine.space, products, shape)
    addrs: list[np.ndarray] = []
    regs: list[np.ndarray] = []
    inner: list[int] = []
    for product, _ in lifted:
        for x, r in ((product.a, product.a_reg), (product.b, product.b_reg)):
            if product.reduced:
                inner.append(
                    int(x.reshape(-1, x.shape[-1])[0, 1] - x.reshape(-1, x.shape[-1])[0, 0]) if x.shape[-1] > 1 else 0
                )
                x, r = x[..., 0], r[..., 0]
            else:
                inner.append(0)
            addrs.append(np.broadcast_to(x, shape))
            regs.append(np.broadcast_to(r, shape))
    if _flat(machine, lifted, addrs, regs, inner, dest, spec):
        return
    for piece in affine_pieces([*addrs, dest.addr], [*regs, dest.reg]):
        _piece(machine, lifted, piece.start, piece.regs, piece.dims, piece.strides, inner, spec)


def _flat(
    machine: Machine,
    lifted: list[tuple[Product, bool]],
    addrs: list[np.ndarray],
    regs: list[np.ndarray],
    inner: list[int],
    dest: Loc,
    spec: Spec,
) -> bool:
    """All rows from the first to the last in one job, gaps between rows included, when every operand goes along with ``dest``."""
    size = machine.config.ports
    register = int(dest.reg.flat[0])
    if (dest.reg != register).any() or not machine.space.aligned(register, size):
        return False
    lo, hi = int(dest.addr.min()), int(dest.addr.max())
    rows = (hi - lo) // size + 1
    if lo % size or rows > ROWS or not whole(dest, size):
        return False
    operands = []
    for addr, reg, step in zip(addrs, regs, inner, strict=True):
        number = int(reg.flat[0])
        if (reg != number).any():
            return False
        if (addr == addr.flat[0]).all():
            operands.append(Operand(int(addr.flat[0]), number, 0, step, True))
            continue
        apart = addr - dest.addr
        offset = int(apart.flat[0])
        if (apart != offset).any() or offset % size or step % size or not machine.space.aligned(number, size):
            return False
        operands.append(Operand(lo + offset, number, size, step, False))
    tail = (hi - lo) % size + 1
    vec_job(machine, lifted, operands, Operand(lo, register, size, 0, False), rows, tail, False, spec)
    return True


def whole(dest: Loc, size: int) -> bool:
    """Whether the gaps between the elements belong to nobody else: they are the ends of rows."""
    flat = np.sort(dest.addr.ravel())
    steps = np.diff(flat)
    jumps = steps != 1
    return not bool((jumps & ((flat[1:] % size != 0) | (steps > size))).any())


def _piece(
    machine: Machine,
    lifted: list[tuple[Product, bool]],
    start: tuple[int, ...],
    regs: tuple[int, ...],
    dims: tuple[int, ...],
    strides: tuple[tuple[int, ...], ...],
    inner: list[int],
    spec: Spec,
) -> None:
    size, space = machine.config.ports, machine.space
    count, step = dims[-1], strides[-1]
    outer_dims, outer = dims[:-1], strides[:-1]
    whole_rows = size > 1 and step[-1] == 1 and all(s in (0, 1) for s in step) and count > 1
    for number, stride in enumerate(step):
        if whole_rows and stride == 1:
            inner_step = inner[number] if number < len(inner) else 0
            whole_rows = (
                start[number] % size == 0
                and inner_step % size == 0
                and space.aligned(regs[number], size)
                and all(s[number] % size == 0 for s in outer)
            )
    per_row = size if whole_rows else 1
    if not whole_rows and max(map(abs, step)) > REACH:
        outer_dims, outer = dims, strides
        count, step = 1, tuple(0 for _ in step)
    rows = -(-count // per_row)
    total = int(np.prod(outer_dims, dtype=np.int64))

    def job(begin: tuple[int, ...], registers: tuple[int, ...], number: int, tail: int) -> None:
        operands = [
            Operand(
                begin[o],
                registers[o],
                step[o] * per_row,
                (inner[o] if o < len(inner) else 0),
                step[o] == 0 or not whole_rows,
            )
            for o in range(len(begin))
        ]
        vec_job(machine, lifted, operands[:-1], operands[-1], number, tail, not whole_rows, spec)

    def place(begin: tuple[int, ...], registers: tuple[int, ...]) -> None:
        done = 0
        while done < rows:
            number = min(rows - done, ROWS)
            tail = count - (rows - 1) * per_row if done + number == rows else per_row
            job(tuple(b + s * per_row * done for b, s in zip(begin, step, strict=True)), registers, number, tail)
            done += number

    if total <= UNROLLED:
        for index in np.ndindex(*outer_dims):
            place(
                tuple(b + sum(i * s[o] for i, s in zip(index, outer, strict=True)) for o, b in enumerate(start)), regs
            )
        return

    def nest(depth: int, registers: tuple[int, ...]) -> None:
        if depth == len(outer_dims):
            place(start, registers)
            return
        moving = [o for o in range(len(start)) if outer[depth][o]]
        with machine.loop(outer_dims[depth], [(registers[o], outer[depth][o]) for o in moving]) as given:
            into = list(registers)
            for o, register in zip(moving, given, strict=True):
                into[o] = register
            nest(depth + 1, tuple(into))

    nest(0, regs)


def vec_job(
    machine: Machine,
    lifted: list[tuple[Product, bool]],
    operands: list[Operand],
    dest: Operand,
    rows: int,
    tail: int,
    element: bool,
    spec: Spec,
) -> None:
    """Append one VEC with its terms; ``operands`` are a and b of each product."""
    config, space, time = machine.config, machine.space, machine.config.timing
    words, reads, multiplies = [], [], 0
    counts = [p.a.shape[-1] if p.reduced else 1 for p, _ in lifted]
    begins = np.concatenate([[0], np.cumsum(counts)])
    per_row, number_of = int(begins[-1]), len(lifted)
    first = number_of + time.vec  # cycle of the first address
    last = first + rows * per_row - 1
    for number, (product, lift) in enumerate(lifted):
        a, b = operands[2 * number], operands[2 * number + 1]
        words.append(
            (
                number,
                Op.TERM,
                {
                    "slot": number,
                    "a_addr": a.start,
                    "a_reg": a.reg,
                    "b_addr": b.start,
                    "b_reg": b.reg,
                    "n": counts[number],
                    "a_bcast": int(a.one),
                    "b_bcast": int(b.one),
                    "negate": int(product.negate),
                    "lift": int(lift),
                    "a_rs": a.row,
                    "a_ks": a.inner,
                    "b_rs": b.row,
                    "b_ks": b.inner,
                },
            )
        )
        k = np.arange(counts[number])
        for operand in (a, b):
            addr = operand.start + np.arange(rows)[:, None] * operand.row + k * operand.inner
            when = first + np.arange(rows)[:, None] * per_row + begins[number] + k
            reads.append(space.touch(operand.reg, addr, when, (first, last)))
        multiplies += counts[number]
    fields = {
        "rows": rows,
        "terms": number_of,
        "element": int(element),
        "d_addr": dest.start,
        "d_reg": dest.reg,
        "d_rs": dest.row,
        "tail": tail,
        **spec.fields(),
    }
    words.append((number_of, Op.VEC, fields))
    outs = dest.start + np.arange(rows) * dest.row
    port = first + time.sum + per_row - 1 + np.arange(rows) * per_row
    writes = space.touch(dest.reg, outs, port + time.write)
    busy = [
        ("beat" if config.shared else "vec", first, last),
        ("walk", 0, number_of + max(rows * per_row - 1, time.apart)),
    ]
    if per_row == 1 or rows > EXACT:
        busy.append(("port", int(port[0]), int(port[-1])))
    else:  # a short drain fits between two rows
        busy += [("port", int(p), int(p)) for p in port]
    registers = frozenset(o.reg for o in (*operands, dest)) - {0}
    joined = Access.join([t.whole for t in reads])
    part = Part(words, busy, joined, writes.whole, tuple(reads), (writes,))
    machine.items.append(Job([part], uses=registers, source=machine.source))
