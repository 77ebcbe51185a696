"""Operations on bits, and those that only move them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from neuroloom.compiler.ir import Node

from .blast import Context, blaster, constant, wide
from .classes import AND2, OR2, XOR2


@blaster("const")
def const(c: Context, node: Node, inputs: Sequence[np.ndarray]) -> np.ndarray:
    return constant(node.attrs["data"], node.outputs[0].type.width)


@blaster("bitwise")
def bitwise(c: Context, node: Node, inputs: Sequence[np.ndarray]) -> np.ndarray:
    kind = node.attrs["kind"]
    if kind == "not":
        return inputs[0] ^ 1
    a, b = wide(c, node, inputs, inputs[0].shape[-1])
    return c.net.gates({"and": AND2, "or": OR2, "xor": XOR2}[kind], a, b)


@blaster("bits")
def bits(c: Context, node: Node, inputs: Sequence[np.ndarray]) -> np.ndarray:
    return inputs[0][..., None]


@blaster("unbits")
def unbits(c: Context, node: Node, inputs: Sequence[np.ndarray]) -> np.ndarray:
    return inputs[0][..., 0]


@blaster("reshape")
def reshape(c: Context, node: Node, inputs: Sequence[np.ndarray]) -> np.ndarray:
    return inputs[0].reshape(*node.attrs["shape"], inputs[0].shape[-1])


@blaster("transpose")
def transpose(c: Context, node: Node, inputs: Sequence[np.ndarray]) -> np.ndarray:
    return inputs[0].transpose(*node.attrs["perm"], inputs[0].ndim - 1)


@blaster("concat")
def concat(c: Context, node: Node, inputs: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate(inputs, axis=node.attrs["axis"])


@blaster("slice")
def slice_(c: Context, node: Node, inputs: Sequence[np.ndarray]) -> np.ndarray:
    a = node.attrs
    return inputs[0][tuple(slice(*s) for s in zip(a["starts"], a["stops"], a["steps"], strict=True))]


@blaster("gather")
def gather(c: Context, node: Node, inputs: Sequence[np.ndarray]) -> np.ndarray:
    return np.take(inputs[0], node.attrs["indices"], axis=node.attrs["axis"])


@blaster("broadcast")
def broadcast(c: Context, node: Node, inputs: Sequence[np.ndarray]) -> np.ndarray:
    return np.broadcast_to(inputs[0], (*node.attrs["shape"], inputs[0].shape[-1]))
