"""Moves and arithmetic of a real program."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from neuroloom.compiler.errors import GraphError
from neuroloom.compiler.ir.ops.contract import Equation
from neuroloom.compiler.ir.ops.logic import conv_shape
from neuroloom.compiler.ir.ops.shape import need_axis

from .functions import FUNCTIONS
from .program import RealNode
from .registry import OPERATIONS, RULES, Function, Outcome, Seen, aligned, meaning, rule

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


def _reshaped(a: dict[str, Any], shape: tuple[int, ...]) -> tuple[int, ...]:
    if math.prod(a["shape"]) != math.prod(shape):
        raise GraphError(f"a value of shape {list(shape)} cannot have the shape {list(a['shape'])}")
    return tuple(a["shape"])


_moved("reshape", _reshaped, lambda n, x: x.reshape(len(x), *n.attrs["shape"]))
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
