"""The operations of a real program: shapes and kinds by rule, values in float64 by numpy.

A rule gives (shape, kind, bounds) per output. A function gets the node and its inputs [N, *shape] (N samples) and returns its
outputs; reals are float64, integers and bits int64.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from neuroloom.compiler.errors import GraphError
from neuroloom.compiler.ir.ops.contract import Equation
from neuroloom.compiler.ir.ops.logic import conv_shape
from neuroloom.compiler.ir.ops.shape import broadcast_shape, need_axis
from neuroloom.compiler.ir.types import Range

from .functions import FUNCTIONS
from .program import RealNode, RealValue

Outcome = tuple[tuple[int, ...], str, Range | None]
"""Shape, kind and (integers, bits) proven bounds of a result."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a rule sees: the node, its input values, and the values that its regions yield."""

    node: RealNode
    values: tuple[RealValue, ...]
    inside: tuple[tuple[RealValue, ...], ...] = ()

    @property
    def attrs(self) -> dict[str, Any]:
        """The node's attributes."""
        return self.node.attrs

    def kind(self, first: int = 0) -> str:
        """The one kind of the inputs from number ``first`` on."""
        kinds = {v.kind for v in self.values[first:]}
        if len(kinds) != 1:
            raise GraphError(f"inputs of {self.node.op} must be of one kind, not {' and '.join(sorted(kinds))}")
        return kinds.pop()

    def shape(self) -> tuple[int, ...]:
        """The broadcast shape of the inputs."""
        return broadcast_shape([v.shape for v in self.values])

    def hull(self, first: int = 0) -> Range | None:
        """Bounds that hold the inputs from number ``first`` on; None for reals."""
        return union([v.bounds for v in self.values[first:]])


def union(bounds: Sequence[Range | None]) -> Range | None:
    """The bounds that hold all of ``bounds``."""
    known = [b for b in bounds if b is not None]
    return (min(b[0] for b in known), max(b[1] for b in known)) if known else None


Rule = Callable[[Seen], list[Outcome]]
Function = Callable[..., "np.ndarray | list[np.ndarray]"]
RULES: dict[str, Rule] = {}
OPERATIONS: dict[str, Function] = {}
"""The meaning of every operation but the control regions, which :mod:`.evaluate` runs itself."""


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Register the decorated function as the rule of operations."""

    def register(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, function))
        return function

    return register


def meaning(name: str) -> Callable[[Function], Function]:
    """Register the decorated function as the meaning of operation ``name``."""

    def register(function: Function) -> Function:
        OPERATIONS[name] = function
        return function

    return register


def infer(node: RealNode, values: Sequence[RealValue], inside: Sequence[Sequence[RealValue]] = ()) -> list[Outcome]:
    """Shapes, kinds and bounds of a node's outputs; raises GraphError where its operands do not fit."""
    return RULES[node.op](Seen(node, tuple(values), tuple(tuple(r) for r in inside)))


def aligned(*arrays: np.ndarray) -> list[np.ndarray]:
    """Insert axes behind the batch axis so that numpy broadcasts the shapes and not the batch."""
    ndim = max(a.ndim for a in arrays)
    return [a.reshape(len(a), *[1] * (ndim - a.ndim), *a.shape[1:]) for a in arrays]


# ---- constants and moves


@rule("const")
def _const(s: Seen) -> list[Outcome]:
    data, kind = s.attrs["data"], s.attrs["kind"]
    bounds = (int(data.min()), int(data.max())) if kind != "real" and data.size else None
    return [(data.shape, kind, bounds)]


def _moved(name: str, shape: Callable[[dict[str, Any], tuple[int, ...]], tuple[int, ...]], move: Function) -> None:
    def infer_move(s: Seen) -> list[Outcome]:
        return [(shape(s.attrs, s.values[0].shape), s.values[0].kind, s.values[0].bounds)]

    RULES[name] = infer_move
    OPERATIONS[name] = move


_moved("reshape", lambda a, s: tuple(a["shape"]), lambda n, x: x.reshape(len(x), *n.attrs["shape"]))
_moved(
    "transpose",
    lambda a, s: tuple(s[p] for p in a["perm"]),
    lambda n, x: x.transpose(0, *(p + 1 for p in n.attrs["perm"])),
)


def _cuts(a: dict[str, Any]) -> tuple[slice, ...]:
    return tuple(slice(*c) for c in zip(a["starts"], a["stops"], a["steps"], strict=True))


_moved(
    "slice",
    lambda a, s: tuple(len(range(*c.indices(d))) for c, d in zip(_cuts(a), s, strict=True)),
    lambda n, x: x[(slice(None), *_cuts(n.attrs))],
)
_moved(
    "gather",
    lambda a, s: s[: a["axis"]] + tuple(a["indices"].shape) + s[a["axis"] + 1 :],
    lambda n, x: np.take(x, n.attrs["indices"], axis=n.attrs["axis"] + 1),
)


def _broadcast(node: RealNode, x: np.ndarray) -> np.ndarray:
    shape = node.attrs["shape"]
    return np.broadcast_to(x.reshape(len(x), *[1] * (len(shape) + 1 - x.ndim), *x.shape[1:]), (len(x), *shape))


_moved("broadcast", lambda a, s: tuple(a["shape"]), _broadcast)


@rule("concat")
def _concat(s: Seen) -> list[Outcome]:
    axis = need_axis(s.attrs["axis"], len(s.values[0].shape))
    shape = list(s.values[0].shape)
    shape[axis] = sum(v.shape[axis] for v in s.values)
    return [(tuple(shape), s.kind(), s.hull())]


@meaning("concat")
def _concat_run(node: RealNode, *arrays: np.ndarray) -> np.ndarray:
    return np.concatenate(arrays, axis=node.attrs["axis"] + 1)


@rule("take")
def _take(s: Seen) -> list[Outcome]:
    x, index = s.values
    axis = need_axis(s.attrs["axis"], len(x.shape))
    if index.kind == "real" or index.bounds is None or index.bounds[0] < 0 or index.bounds[1] >= x.shape[axis]:
        raise GraphError(f"the index must be proven in 0..{x.shape[axis] - 1}, not {index.bounds}")
    return [(x.shape[:axis] + index.shape + x.shape[axis + 1 :], x.kind, x.bounds)]


@meaning("take")
def _take_run(node: RealNode, x: np.ndarray, index: np.ndarray) -> np.ndarray:
    return np.stack([np.take(a, i, axis=node.attrs["axis"]) for a, i in zip(x, index, strict=True)])


# ---- arithmetic


@rule("add", "sub", "mul", "max", "min")
def _binary(s: Seen) -> list[Outcome]:
    kind, bounds = s.kind(), None
    if kind == "bit":
        raise GraphError(f"{s.node.op} must not be of truth values")
    if kind == "int":
        (a, b), (c, d) = (v.bounds or (0, 0) for v in s.values)
        products = [x * y for x in (a, b) for y in (c, d)]
        bounds = {
            "add": (a + c, b + d),
            "sub": (a - d, b - c),
            "mul": (min(products), max(products)),
            "max": (max(a, c), max(b, d)),
            "min": (min(a, c), min(b, d)),
        }[s.node.op]
    return [(s.shape(), kind, bounds)]


OPERATIONS.update(
    add=lambda n, a, b: np.add(*aligned(a, b)),
    sub=lambda n, a, b: np.subtract(*aligned(a, b)),
    mul=lambda n, a, b: np.multiply(*aligned(a, b)),
    max=lambda n, a, b: np.maximum(*aligned(a, b)),
    min=lambda n, a, b: np.minimum(*aligned(a, b)),
)


@rule("sum", "mean", "reduce_max", "reduce_min")
def _reduce(s: Seen) -> list[Outcome]:
    x, axes = s.values[0], s.attrs["axes"]
    if x.kind != "real" and not (x.kind == "int" and s.node.op != "mean"):
        raise GraphError(f"{s.node.op} must be of numbers, not of {x.kind}")
    bounds = x.bounds
    if s.node.op == "sum" and bounds is not None:
        count = math.prod(x.shape[a] for a in axes)
        bounds = bounds[0] * count, bounds[1] * count
    return [(tuple(d for i, d in enumerate(x.shape) if i not in axes), x.kind, bounds)]


def _over(function: Callable[..., np.ndarray]) -> Function:
    return lambda n, x: function(x, axis=tuple(a + 1 for a in n.attrs["axes"]))


OPERATIONS.update(sum=_over(np.sum), mean=_over(np.mean), reduce_max=_over(np.max), reduce_min=_over(np.min))


@rule("function")
def _function(s: Seen) -> list[Outcome]:
    if s.values[0].kind != "real" or s.attrs["function"] not in FUNCTIONS:
        raise GraphError(
            f"function must be one of {', '.join(sorted(FUNCTIONS))} of reals, not {s.attrs['function']!r}"
        )
    return [(s.values[0].shape, "real", None)]


@meaning("function")
def _function_run(node: RealNode, x: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        return FUNCTIONS[node.attrs["function"]].real(x, *map(float, node.attrs.get("params", ())))


@rule("linear")
def _linear(s: Seen) -> list[Outcome]:
    x, weights = s.values[0], s.attrs["weights"]
    if not x.shape or x.shape[-1] != weights.shape[1] or x.kind != "real":
        raise GraphError(
            f"the last axis must be {weights.shape[1]} for weights {list(weights.shape)}, not {list(x.shape)}"
        )
    return [((*x.shape[:-1], weights.shape[0]), "real", None)]


@meaning("linear")
def _linear_run(node: RealNode, x: np.ndarray) -> np.ndarray:
    out = x @ node.attrs["weights"].T
    return out + node.attrs["bias"] if "bias" in node.attrs else out


@rule("conv")
def _conv(s: Seen) -> list[Outcome]:
    a, x = s.attrs, s.values[0]
    weights = a["weights"]
    if weights.shape[1] * a["groups"] != x.shape[0] or weights.shape[0] % a["groups"]:
        raise GraphError(f"weights {list(weights.shape)} in {a['groups']} groups must match {x.shape[0]} channels")
    return [((weights.shape[0], *conv_shape(x.shape[1:], weights.shape[2:], a["strides"], a["pads"])), "real", None)]


@meaning("conv")
def _conv_run(node: RealNode, x: np.ndarray) -> np.ndarray:
    a = node.attrs
    weights, groups, n = a["weights"], a["groups"], len(a["strides"])
    pads, kernel = a["pads"], weights.shape[2:]
    x = np.pad(x, [(0, 0), (0, 0), *zip(pads[:n], pads[n:], strict=True)])
    windows = np.lib.stride_tricks.sliding_window_view(x, kernel, tuple(range(2, 2 + n)))
    windows = windows[(slice(None), slice(None), *(slice(None, None, s) for s in a["strides"]))]
    places, channels, kernels = windows.shape[2 : 2 + n], x.shape[1] // groups, len(weights) // groups
    windows = np.moveaxis(windows, 1, 1 + n)  # [N, places, C, kernel]
    out = np.zeros((len(x), len(weights), *places))
    for g in range(groups):
        part = windows[(slice(None),) * (1 + n) + (slice(g * channels, (g + 1) * channels),)]
        rows = slice(g * kernels, (g + 1) * kernels)
        values = part.reshape(len(x), *places, -1) @ weights[rows].reshape(kernels, -1).T
        out[:, rows] = np.moveaxis(values, -1, 1)
    return out + a["bias"].reshape(-1, *[1] * n) if "bias" in a else out


@rule("contract")
def _contract(s: Seen) -> list[Outcome]:
    if s.kind() != "real":
        raise GraphError("a contraction must be of reals")
    equation = Equation.parse(s.attrs["equation"])
    sizes = equation.sizes(s.values[0].shape, s.values[1].shape)
    return [(tuple(sizes[c] for c in equation.out), "real", None)]


@meaning("contract")
def _contract_run(node: RealNode, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    left, right = node.attrs["equation"].split(",")
    right, out = right.split("->")
    return np.einsum(f"...{left},...{right}->...{out}", a, b, optimize=True)


# ---- choices, truth values, integers


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
        if old.bounds is not None and union([old.bounds, new.bounds]) != old.bounds:
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
