"""Choosing among values: select, delta, arg-max, top-k, comparisons of two values."""

from __future__ import annotations

from neuroloom.compiler.errors import GraphError

from .registry import Operands, Result, op
from .shape import broadcast_shape, need_axis


@op("select", arity=3)
def select(o: Operands) -> list[Result]:
    """cond ? a : b, elementwise with broadcasting; cond is bit, a and b have the same fraction bits."""
    cond, a, b = o.values
    if not cond.type.is_bit:
        raise GraphError(f"condition %{cond.name} must be bit, not {cond.type}")
    if a.type.frac != b.type.frac:
        raise GraphError(f"both sides must have the same fraction bits, not {a.type} and {b.type}")
    (_, (alo, ahi), (blo, bhi)) = o.ranges
    return [Result(broadcast_shape([v.shape for v in o.values]), (min(alo, blo), max(ahi, bhi)), a.type.frac)]


@op("delta", arity=2, attrs={"threshold": "int"})
def delta(o: Operands) -> list[Result]:
    """``x`` where it is at least ``threshold`` away from ``sent``, elementwise, else ``sent``; both of one shape and type.

    What a delta network (Neil et al. 2017) hands on: ``sent`` is the state that holds what was handed on before. With a threshold
    of 0 or 1 the result is ``x``.
    """
    x, sent = o.values
    if x.type != sent.type or x.shape != sent.shape:
        raise GraphError(
            f"both operands must have one type and shape, not {x.type} {x.shape} and {sent.type} {sent.shape}"
        )
    if o.attr("threshold") < 0:
        raise GraphError(f"threshold must be 0 or more, not {o.attr('threshold')}")
    if o.attr("threshold") <= 1:
        return [Result(x.shape, o.ranges[0], x.type.frac, x.type)]
    (alo, ahi), (blo, bhi) = o.ranges
    return [Result(x.shape, (min(alo, blo), max(ahi, bhi)), x.type.frac, x.type)]


@op("relation", arity=2, attrs={"kind": "str"})
def relation(o: Operands) -> list[Result]:
    """``ge``, ``gt``, ``eq``: bit of a >= b, a > b, a == b, elementwise with broadcasting, same fraction bits."""
    a, b = o.values
    if o.attr("kind") not in ("ge", "gt", "eq"):
        raise GraphError(f"relation must be ge, gt or eq, not {o.attr('kind')!r}")
    if a.type.frac != b.type.frac:
        raise GraphError(f"both sides must have the same fraction bits, not {a.type} and {b.type}")
    return [Result(broadcast_shape([a.shape, b.shape]), (0, 1))]


@op("argmax", attrs={"axis": "int", "last": "bool"})
def argmax(o: Operands) -> list[Result]:
    """Index of the largest element along ``axis`` (which disappears); of equals the first, or the ``last``."""
    shape = o.values[0].shape
    axis = need_axis(o.attr("axis"), len(shape))
    if shape[axis] < 1:
        raise GraphError("argmax must have at least one element to choose from")
    return [Result(shape[:axis] + shape[axis + 1 :], (0, shape[axis] - 1))]


@op("topk", attrs={"axis": "int", "k": "int", "largest": "bool"})
def topk(o: Operands) -> list[Result]:
    """The k largest (or smallest) along ``axis``, best first, of equals the lower index first: values, then indices."""
    x = o.values[0]
    axis, k = need_axis(o.attr("axis"), len(x.shape)), o.attr("k")
    if not 1 <= k <= x.shape[axis]:
        raise GraphError(f"k must be in 1..{x.shape[axis]}, not {k}")
    shape = x.shape[:axis] + (k,) + x.shape[axis + 1 :]
    return [Result(shape, o.ranges[0], x.type.frac, x.type), Result(shape, (0, x.shape[axis] - 1))]
