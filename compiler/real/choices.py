"""Choices, truth values, integers and control of a real program."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from neuroloom.compiler.errors import GraphError
from neuroloom.compiler.ir.ops.shape import need_axis

from .program import RealNode, RealValue
from .registry import OPERATIONS, Outcome, Seen, aligned, meaning, rule, union


@rule("relation")
def _relation(s: Seen) -> list[Outcome]:
    s.kind()
    return [(s.shape(), "bit", (0, 1))]


@meaning("relation")
def _relation_run(node: RealNode, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    a, b = aligned(a, b)
    return {"ge": np.greater_equal, "gt": np.greater, "eq": np.equal}[node.attrs["kind"]](a, b).astype(np.int64)


@rule("logic")
def _logic(s: Seen) -> list[Outcome]:
    if s.kind() != "bit":
        raise GraphError("logic must be of truth values")
    return [(s.shape(), "bit", (0, 1))]


@meaning("logic")
def _logic_run(node: RealNode, *bits: np.ndarray) -> np.ndarray:
    if node.attrs["kind"] == "not":
        return 1 - bits[0]
    a, b = aligned(*bits)
    return {"and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor}[node.attrs["kind"]](a, b)


@rule("number")
def _number(s: Seen) -> list[Outcome]:
    if s.values[0].kind == "real":
        raise GraphError("number must turn a truth value or an integer into a real")
    return [(s.values[0].shape, "real", None)]


OPERATIONS["number"] = lambda n, x: x.astype(np.float64)
"""An integer or truth value as a real number."""


@rule("quantize")
def _quantize(s: Seen) -> list[Outcome]:
    if s.values[0].kind != "real":
        raise GraphError("quantize must be of reals")
    return [(s.values[0].shape, "int", (s.attrs["lo"], s.attrs["hi"]))]


@meaning("quantize")
def _quantize_run(node: RealNode, x: np.ndarray) -> np.ndarray:
    """round(x / scale) + zero, saturated."""
    a = node.attrs
    rounding = {"half_even": np.rint, "floor": np.floor, "toward_zero": np.trunc}[a["rounding"]]
    return np.clip(rounding(x / float(Fraction(a["scale"]))) + a["zero"], a["lo"], a["hi"]).astype(np.int64)


@rule("dequantize")
def _dequantize(s: Seen) -> list[Outcome]:
    if s.values[0].kind != "int":
        raise GraphError("dequantize must be of integers")
    return [(s.values[0].shape, "real", None)]


OPERATIONS["dequantize"] = lambda n, q: (q - n.attrs["zero"]) * float(Fraction(n.attrs["scale"]))
"""(q - zero) * scale."""


@rule("select")
def _select(s: Seen) -> list[Outcome]:
    if s.values[0].kind != "bit":
        raise GraphError("the condition must be truth values")
    return [(s.shape(), s.kind(1), s.hull(1))]


@meaning("select")
def _select_run(node: RealNode, cond: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    cond, a, b = aligned(cond, a, b)
    return np.where(cond == 1, a, b)


@rule("argmax")
def _argmax(s: Seen) -> list[Outcome]:
    shape, axis = s.values[0].shape, need_axis(s.attrs["axis"], len(s.values[0].shape))
    return [(shape[:axis] + shape[axis + 1 :], "int", (0, shape[axis] - 1))]


@meaning("argmax")
def _argmax_run(node: RealNode, x: np.ndarray) -> np.ndarray:
    axis = node.attrs["axis"] + 1
    if node.attrs["last"]:
        return x.shape[axis] - 1 - np.argmax(np.flip(x, axis), axis=axis)
    return np.argmax(x, axis=axis)


@rule("topk")
def _topk(s: Seen) -> list[Outcome]:
    x, axis, k = s.values[0], s.attrs["axis"], s.attrs["k"]
    if not 1 <= k <= x.shape[axis]:
        raise GraphError(f"k must be in 1..{x.shape[axis]}, not {k}")
    shape = x.shape[:axis] + (k,) + x.shape[axis + 1 :]
    return [(shape, x.kind, x.bounds), (shape, "int", (0, x.shape[axis] - 1))]


@meaning("topk")
def _topk_run(node: RealNode, x: np.ndarray) -> list[np.ndarray]:
    axis, k = node.attrs["axis"] + 1, node.attrs["k"]
    order = np.argsort(-x if node.attrs["largest"] else x, axis=axis, kind="stable")
    index = np.take(order, np.arange(k), axis=axis)
    return [np.take_along_axis(x, index, axis=axis), index]


# ---- control


@rule("when", "switch")
def _branches(s: Seen) -> list[Outcome]:
    index, first = s.values[0], s.inside[0]
    if index.size != 1 or index.kind != ("bit" if s.node.op == "when" else "int"):
        raise GraphError(
            f"{s.node.op} must decide by one {'truth value' if s.node.op == 'when' else 'integer'} per sample"
        )
    if s.node.op == "switch" and (index.bounds is None or index.bounds[0] < 0 or index.bounds[1] >= len(s.inside)):
        raise GraphError(f"the index must be proven in 0..{len(s.inside) - 1}, not {index.bounds}")
    for number, other in enumerate(s.inside[1:], 1):
        mine, its = ([(v.shape, v.kind) for v in r] for r in (first, other))
        if mine != its:
            raise GraphError(f"branch {number} must give {_shapes(first)}, as the first does, not {_shapes(other)}")
    return [(v.shape, v.kind, union([r[i].bounds for r in s.inside])) for i, v in enumerate(first)]


def _shapes(values: Sequence[RealValue]) -> str:
    return ", ".join(f"{v.kind}{list(v.shape)}" for v in values)


@rule("carried", "scanned")
def _parameter(s: Seen) -> list[Outcome]:
    return [(tuple(s.attrs["shape"]), s.attrs["kind"], s.attrs.get("bounds"))]


@rule("step")
def _step(s: Seen) -> list[Outcome]:
    return [((), "int", (0, s.attrs["count"] - 1))]


@rule("scan")
def _scan(s: Seen) -> list[Outcome]:
    count, carry, results = s.attrs["count"], s.attrs["carried"], s.inside[0]
    for number in range(carry):
        old, new = s.values[number], results[number]
        if (old.shape, old.kind) != (new.shape, new.kind):
            raise GraphError(f"carried value {number} must stay {_shapes([old])}, not become {_shapes([new])}")
        if old.kind == "int" and old.bounds is not None and union([old.bounds, new.bounds]) != old.bounds:
            raise GraphError(
                f"carried integer {number} must stay in {old.bounds[0]}..{old.bounds[1]}, not grow to {new.bounds}"
            )
    for value in s.values[carry:]:
        if not value.shape or value.shape[0] != count:
            raise GraphError(
                f"sequence {value.name!r} must have {count} steps on its first axis, not {list(value.shape)}"
            )
    finals: list[Outcome] = [(v.shape, v.kind, v.bounds) for v in results[:carry]]
    return finals + [((count, *v.shape), v.kind, v.bounds) for v in results[carry:]]
