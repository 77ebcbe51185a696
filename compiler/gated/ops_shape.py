"""Lowering of moves: they only choose and order addresses. What is computed at run time, a take, loads an offset register."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from neuroloom.compiler.errors import UnsupportedError
from neuroloom.compiler.ir import Node

from .code import Load
from .forms import Const, Emitted, Form, Lin, Mat, Spec, Term
from .isa import Rounding
from .locate import Loc
from .lower import Lowering, handles


@handles("reshape")
def reshape(low: Lowering, node: Node) -> None:
    """The same addresses."""
    _move(low, node, lambda x: x.reshape(node.attrs["shape"]))


@handles("transpose")
def transpose(low: Lowering, node: Node) -> None:
    """The same addresses in another order."""
    _move(low, node, lambda x: x.transpose(node.attrs["perm"]))


@handles("slice")
def slice_(low: Lowering, node: Node) -> None:
    """Some of the addresses."""
    cut = tuple(map(slice, node.attrs["starts"], node.attrs["stops"], node.attrs["steps"]))
    held = low.env[node.inputs[0]]
    if isinstance(held, Form) and low.users[node.inputs[0]][0].op == "slice":
        found = _cut(held, cut)
        if found is not None:
            low.set(node, replace(found, bounds=low.bounds[node.outputs[0].name]))
            return
    _move(low, node, lambda x: x[cut])


def _cut(form: Form, cut: tuple[slice, ...]) -> Form | None:
    """Some elements of a sum: rows of its matrices, elements of its other terms; None where that is not possible."""
    terms: list[Term] = []
    for term in form.terms:
        if isinstance(term, Mat):
            x = term.x.map(lambda a: a[(*cut[:-1], slice(None))])
            terms.append(replace(term, x=x, weights=term.weights[cut[-1]], bias=term.bias[cut[-1]]))
        elif isinstance(term, Const):
            terms.append(replace(term, data=np.broadcast_to(term.data, form.shape)[cut]))
        elif term.reduced:
            return None
        elif isinstance(term, Lin):
            terms.append(replace(term, a=term.a.map(lambda a: np.broadcast_to(a, form.shape)[cut])))
        else:
            a, b = (loc.map(lambda x: np.broadcast_to(x, form.shape)[cut]) for loc in (term.a, term.b))
            terms.append(replace(term, a=a, b=b))
    shape = np.empty(form.shape, np.bool_)[cut].shape
    return replace(form, terms=tuple(terms), shape=shape)


@handles("gather")
def gather(low: Lowering, node: Node) -> None:
    """Addresses chosen by constants."""
    _move(low, node, lambda x: np.take(x, node.attrs["indices"], node.attrs["axis"]))


@handles("broadcast")
def broadcast(low: Lowering, node: Node) -> None:
    """Addresses repeated."""
    _move(low, node, lambda x: np.broadcast_to(x, node.attrs["shape"]))


def _move(low: Lowering, node: Node, change: object) -> None:
    held = low.env[node.inputs[0]]
    if isinstance(held, Form) and all(isinstance(t, Const) for t in held.terms) and len(held.terms) == 1:
        term = held.terms[0]
        assert isinstance(term, Const)
        data = np.broadcast_to(term.values(), held.shape)
        low.set(node, replace(low.constant(change(data)), bounds=held.bounds))  # type: ignore[operator]
        return
    low.set(node, low.loc(node.inputs[0]).map(change))


@handles("concat")
def concat(low: Lowering, node: Node) -> None:
    """The addresses of all; values of several digits are copied together."""
    out, axis = node.outputs[0], node.attrs["axis"]
    locs = [low.loc(name) for name in node.inputs]
    bounds = low.bounds[out.name]
    if len({(loc.parts, loc.part_stride if loc.parts > 1 else 0) for loc in locs}) == 1:
        low.set(
            node,
            replace(
                locs[0],
                addr=np.concatenate([loc.addr for loc in locs], axis),
                reg=np.concatenate([loc.reg for loc in locs], axis),
                bounds=bounds,
            ),
        )
        return
    whole = low.machine.space.new(out.shape, bounds, node.where())
    at = 0
    for loc in locs:
        count = loc.addr.shape[axis]
        cut = (*(slice(None) for _ in range(axis)), slice(at, at + count))
        low.copy(loc, whole.map(lambda x, cut=cut: x[cut]))
        at += count
    low.set(node, whole)


@handles("take")
def take(low: Lowering, node: Node) -> None:
    """One element of an axis, or several, by computed indices: index times stride becomes an offset, and the part is copied."""
    out, machine, axis = node.outputs[0], low.machine, node.attrs["axis"]
    x, index = low.loc(node.inputs[0]), low.loc(node.inputs[1])
    size = x.addr.shape[axis]
    first = np.take(x.addr, 0, axis)
    stride = int((np.take(x.addr, min(1, size - 1), axis) - first).flat[0]) if size > 1 else 0
    steps = np.diff(x.addr, axis=axis)
    if (steps != stride).any() or (x.reg != x.reg.flat[0]).any():
        x = _straight(low, x, axis, node)
        first = np.take(x.addr, 0, axis)
        stride = int((np.take(x.addr, min(1, size - 1), axis) - first).flat[0]) if size > 1 else 0
    lo, hi = low.bounds[node.inputs[1]]
    reach = stride * lo, stride * hi
    if max(map(abs, reach)) >= 1 << machine.config.word - 1:
        raise UnsupportedError(
            f"{node.where()}: the part that is taken lies up to {max(map(abs, reach)):,} words away, and an index counts "
            f"{machine.config.word} bits; make the value smaller, or take a board with wider words"
        )
    base = int(x.reg.flat[0])
    moved = index
    if stride != 1:
        moved = machine.store(
            Emitted(
                Form((Lin(index, stride),), index.addr.shape, (min(reach), max(reach)), node.where()),
                Spec(0, Rounding.FLOOR, True, machine.config.word, True),
                (min(reach), max(reach)),
            ),
            name="an offset",
        )
    result = machine.space.new(out.shape, low.bounds[node.inputs[0]], node.where())
    ndim = index.addr.ndim
    for place in np.ndindex(*index.addr.shape):
        outer = machine.space.registers[base]
        register = machine.space.register(
            outer.lo + min(reach), outer.hi + max(reach), int(np.gcd(outer.step, abs(stride)))
        )
        machine.items.append(Load(register, int(moved.addr[place]), int(moved.reg[place])))
        cut = (*(slice(None) for _ in range(axis)), *place)
        assert len(cut) == axis + ndim
        if base:
            raise UnsupportedError(
                f"{node.where()}: take must be of a value that stays in place, not of a loop's element"
            )
        source = Loc(first, np.full(first.shape, register), x.parts, x.part_stride, x.bounds)
        low.copy(source, result.map(lambda a, cut=cut: a[cut]))
        machine.space.free_register(register)
    low.set(node, result)


def _straight(low: Lowering, x: Loc, axis: int, node: Node) -> Loc:
    """A copy whose addresses go in equal steps."""
    copy = low.machine.space.new(x.addr.shape, x.bounds, node.where())
    low.copy(x, copy)
    return copy
