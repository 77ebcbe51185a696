"""Moves of integers in hardware: wires only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from neuroloom.compiler.ir import Node, Type

from .lower import Bits, component
from .netlist import Netlist


@component("const")
def const(net: Netlist, node: Node, inputs: Sequence[Bits]) -> Sequence[np.ndarray]:
    """Constant bits."""
    width = node.outputs[0].type.width
    return [(node.attrs["data"].astype(np.int64)[..., None] >> np.arange(width)) & 1]


@component("reshape", "bits", "unbits")
def same(net: Netlist, node: Node, inputs: Sequence[Bits]) -> Sequence[np.ndarray]:
    """The same bits in the same order."""
    return [inputs[0].array]


@component("transpose")
def transpose(net: Netlist, node: Node, inputs: Sequence[Bits]) -> Sequence[np.ndarray]:
    """Wires."""
    perm = node.attrs["perm"]
    return [inputs[0].array.transpose(*perm, len(perm))]


@component("concat")
def concat(net: Netlist, node: Node, inputs: Sequence[Bits]) -> Sequence[np.ndarray]:
    """Wires."""
    return [np.concatenate([i.array for i in inputs], axis=node.attrs["axis"])]


@component("slice")
def slice_(net: Netlist, node: Node, inputs: Sequence[Bits]) -> Sequence[np.ndarray]:
    """Wires."""
    a = node.attrs
    cuts = tuple(slice(*cut) for cut in zip(a["starts"], a["stops"], a["steps"], strict=True))
    return [inputs[0].array[cuts]]


@component("gather")
def gather(net: Netlist, node: Node, inputs: Sequence[Bits]) -> Sequence[np.ndarray]:
    """Wires."""
    return [np.take(inputs[0].array, node.attrs["indices"], axis=node.attrs["axis"])]


@component("broadcast")
def broadcast(net: Netlist, node: Node, inputs: Sequence[Bits]) -> Sequence[np.ndarray]:
    """Wires."""
    x, shape = inputs[0], node.attrs["shape"]
    lead = (1,) * (len(shape) - len(x.shape))
    return [np.broadcast_to(x.array.reshape(*lead, *x.array.shape), (*shape, x.width))]


@component("shift")
def shift(net: Netlist, node: Node, inputs: Sequence[Bits]) -> Sequence[np.ndarray]:
    """Zeros below, the sign above."""
    type_, amount = node.outputs[0].type, node.attrs["amount"]
    low = np.zeros((*inputs[0].shape, amount), np.int32)
    wide = inputs[0].extended(Type(max(1, type_.width - amount), inputs[0].signed))
    return [np.concatenate([low, wide.array], axis=-1)[..., : type_.width]]
