"""Plain numpy reading of a written model: each operator as :mod:`functions` defines it, with nothing shared with its body.

It checks an export against the module it came from, and stands beside onnxruntime in the tests.  Small batches only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import product
from typing import Any

import numpy as np
import onnx
from neuroloom.compiler.errors import UnsupportedError
from onnx import helper, numpy_helper

from .functions import LNN_DOMAIN, NL_DOMAIN

Kernel = Callable[[list[np.ndarray], dict[str, Any]], np.ndarray]

_KERNELS: dict[tuple[str, str], Kernel] = {}


def evaluate(model: onnx.ModelProto, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Run a model written by :class:`LogicModelWriter` on arrays by input name; return arrays by output name.

    Raises UnsupportedError for an operator that the writer does not write.
    """
    values: dict[str, np.ndarray] = dict(inputs)
    for tensor in model.graph.initializer:
        values[tensor.name] = numpy_helper.to_array(tensor)
    for node in model.graph.node:
        kernel = _KERNELS.get((node.domain, node.op_type))
        if kernel is None:
            raise UnsupportedError(f"node '{node.name}': this check does not know the operator {node.op_type}")
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        values[node.output[0]] = kernel([values[name] for name in node.input], attributes)
    return {output.name: values[output.name] for output in model.graph.output}


def _kernel(op_type: str, domain: str = "") -> Callable[[Kernel], Kernel]:
    def register(function: Kernel) -> Kernel:
        _KERNELS[domain, op_type] = function
        return function

    return register


def _look_up(bits: np.ndarray, table: np.ndarray, input_bits: int) -> np.ndarray:
    """Address ``table[..., entries]`` by ``bits[N, ..., slots]``, slot 0 least significant."""
    address = np.zeros(bits.shape[:-1], dtype=np.int32)
    for slot in range(bits.shape[-1]):
        address |= bits[..., slot].astype(np.int32) << (input_bits * slot)
    rows = np.broadcast_to(table, (*address.shape, table.shape[-1]))
    return np.take_along_axis(rows, address[..., None], axis=-1)[..., 0]


@_kernel("LookupTable", LNN_DOMAIN)
def _lookup_table(inputs: list[np.ndarray], attributes: dict[str, Any]) -> np.ndarray:
    x, indices, table = inputs
    return _look_up(x[..., indices], table, attributes.get("input_bits", 1))


def _windows(x: np.ndarray, attributes: dict[str, Any]) -> tuple[np.ndarray, tuple[int, ...]]:
    """Every window of a channels-last image, zero-padded: ``[N, O, K.., C]``, and the shape of ``O``."""
    kernel, strides, pads = (attributes[name] for name in ("kernel_shape", "strides", "pads"))
    axes = len(kernel)
    margins = [(0, 0), *((pads[d], pads[d + axes]) for d in range(axes)), (0, 0)]
    padded = np.pad(x, margins)
    steps = tuple((padded.shape[1 + d] - kernel[d]) // strides[d] + 1 for d in range(axes))
    windows = []
    for position in product(*(range(count) for count in steps)):
        cut = tuple(slice(p * s, p * s + k) for p, s, k in zip(position, strides, kernel, strict=True))
        windows.append(padded[(slice(None), *cut)])
    return np.stack(windows, axis=1), steps


@_kernel("LookupTableConv", LNN_DOMAIN)
def _lookup_table_conv(inputs: list[np.ndarray], attributes: dict[str, Any]) -> np.ndarray:
    x, indices = inputs[:2]
    windows, steps = _windows(x, attributes)
    patches = windows.reshape(*windows.shape[:2], -1)
    level = patches[..., indices]
    kernels, _, rank = indices.shape
    if attributes["tree_depth"] == 0:
        return level.reshape(x.shape[0], *steps, kernels, rank)
    row = 0
    for depth in range(attributes["tree_depth"] - 1, -1, -1):
        nodes = rank**depth
        out = _look_up(level, inputs[2][:, row : row + nodes], 1)
        row += nodes
        level = out.reshape(*out.shape[:-1], -1, rank) if depth else out
    return level.reshape(x.shape[0], *steps, kernels)


@_kernel("OrPool", NL_DOMAIN)
def _or_pool(inputs: list[np.ndarray], attributes: dict[str, Any]) -> np.ndarray:
    (x,) = inputs
    windows, steps = _windows(x, attributes)
    pooled = windows.reshape(*windows.shape[:2], -1, x.shape[-1]).max(axis=2)
    return pooled.reshape(x.shape[0], *steps, x.shape[-1])


@_kernel("Thermometer", NL_DOMAIN)
def _thermometer(inputs: list[np.ndarray], attributes: dict[str, Any]) -> np.ndarray:
    x, thresholds = inputs
    column = x[..., None].astype(thresholds.dtype)
    bits = column >= thresholds if attributes.get("inclusive", 1) else column > thresholds
    return bits.reshape(*x.shape[:-1], -1)


@_kernel("GroupSum", NL_DOMAIN)
def _group_sum(inputs: list[np.ndarray], attributes: dict[str, Any]) -> np.ndarray:
    (x,) = inputs
    count = x.reshape(*x.shape[:-1], attributes["groups"], -1).astype(np.int64).sum(axis=-1)
    tau, beta, offset = (np.float32(attributes[name]) for name in ("tau", "beta", "offset"))
    return (count.astype(np.float32) + offset) / tau + beta


@_kernel("ArgMax")
def _argmax(inputs: list[np.ndarray], attributes: dict[str, Any]) -> np.ndarray:
    return inputs[0].argmax(axis=attributes["axis"])


@_kernel("Reshape")
def _reshape(inputs: list[np.ndarray], attributes: dict[str, Any]) -> np.ndarray:
    x, shape = inputs
    return x.reshape(x.shape[0], *(int(d) for d in shape[1:]))


@_kernel("Flatten")
def _flatten(inputs: list[np.ndarray], attributes: dict[str, Any]) -> np.ndarray:
    return inputs[0].reshape(inputs[0].shape[0], -1)


@_kernel("Transpose")
def _transpose(inputs: list[np.ndarray], attributes: dict[str, Any]) -> np.ndarray:
    return inputs[0].transpose(attributes["perm"])


@_kernel("Concat")
def _concat(inputs: list[np.ndarray], attributes: dict[str, Any]) -> np.ndarray:
    return np.concatenate(inputs, axis=attributes["axis"])


@_kernel("Or")
def _or(inputs: list[np.ndarray], attributes: dict[str, Any]) -> np.ndarray:
    return inputs[0] | inputs[1]


@_kernel("And")
def _and(inputs: list[np.ndarray], attributes: dict[str, Any]) -> np.ndarray:
    return inputs[0] & inputs[1]


@_kernel("Xor")
def _xor(inputs: list[np.ndarray], attributes: dict[str, Any]) -> np.ndarray:
    return inputs[0] ^ inputs[1]


@_kernel("Not")
def _not(inputs: list[np.ndarray], attributes: dict[str, Any]) -> np.ndarray:
    return ~inputs[0]


@_kernel("Identity")
def _identity(inputs: list[np.ndarray], attributes: dict[str, Any]) -> np.ndarray:
    return inputs[0]


@_kernel("Cast")
def _cast(inputs: list[np.ndarray], attributes: dict[str, Any]) -> np.ndarray:
    return inputs[0].astype(helper.tensor_dtype_to_np_dtype(attributes["to"]))
