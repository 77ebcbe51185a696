"""Turns the graph's operations into three-input gates, one function per operation.

A value of the graph becomes an int64 array of literals [*shape, width], least significant bit first, two's complement when
its type is signed. This is a reading of the operations of its own, independent of the reference interpreter's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from neuroloom.compiler.errors import UnsupportedError
from neuroloom.compiler.ir import Node, Type, Value

from .netlist import FALSE, Netlist

Blaster = Callable[["Context", Node, Sequence[np.ndarray]], "np.ndarray | Sequence[np.ndarray]"]

BLASTERS: dict[str, Blaster] = {}


class Context:
    """The netlist being built and the graph's values by name."""

    def __init__(self, net: Netlist, values: dict[str, Value]) -> None:
        self.net = net
        self.values = values

    def types(self, node: Node) -> list[Type]:
        """Types of the node's inputs."""
        return [self.values[name].type for name in node.inputs]


def blaster(name: str) -> Callable[[Blaster], Blaster]:
    """Register the decorated function for operation ``name``."""

    def register(run: Blaster) -> Blaster:
        BLASTERS[name] = run
        return run

    return register


def blast(context: Context, node: Node, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Literals of the node's outputs, each cut or extended to its declared width; raises UnsupportedError."""
    run = BLASTERS.get(node.op)
    if run is None:
        raise UnsupportedError(f"{node.where()}: the bit-packed engine has no {node.op}; use the reference engine")
    result = run(context, node, inputs)
    outputs = [result] if isinstance(result, np.ndarray) else list(result)
    return [extend(o, v.type.signed, v.type.width) for o, v in zip(outputs, node.outputs, strict=True)]


def extend(x: np.ndarray, signed: bool, width: int) -> np.ndarray:
    """Cut, or extend by the sign or zeros, to ``width`` bits."""
    if x.shape[-1] >= width:
        return x[..., :width]
    fill = x[..., -1:] if signed else np.full((*x.shape[:-1], 1), FALSE, np.int64)
    return np.concatenate([x, np.repeat(fill, width - x.shape[-1], axis=-1)], axis=-1)


def flat(inputs: Sequence[np.ndarray]) -> np.ndarray:
    """All literals of all inputs, one after the other."""
    return np.concatenate([x.reshape(-1) for x in inputs])


def wide(context: Context, node: Node, inputs: Sequence[np.ndarray], width: int) -> list[np.ndarray]:
    """Operands extended to ``width`` bits and broadcast to one shape."""
    grown = [extend(x, t.signed, width) for x, t in zip(inputs, context.types(node), strict=True)]
    ndim = max(g.ndim for g in grown)
    return list(np.broadcast_arrays(*[g.reshape(*[1] * (ndim - g.ndim), *g.shape) for g in grown]))


def common_width(context: Context, node: Node, names: slice = slice(None)) -> int:
    """Bits in which all operands fit as two's complement."""
    return max(t.width + (not t.signed) for t in context.types(node)[names])


def constant(value: np.ndarray | int, width: int) -> np.ndarray:
    """Literals of constant integers."""
    return (np.asarray(value, np.int64)[..., None] >> np.arange(width)) & 1
