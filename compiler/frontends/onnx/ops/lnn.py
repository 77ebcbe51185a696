"""LookupTable and LookupTableConv of the domain ``qonnx.custom_op.lnn``.

Their definition is the docstring of :mod:`neuroloom.compiler.frontends.export.functions`; this reads it independently of the
bodies written there.
"""

from __future__ import annotations

import math

import numpy as np
from neuroloom.compiler.frontends.onnx import build
from neuroloom.compiler.frontends.onnx.importer import NarrowInput
from neuroloom.compiler.frontends.onnx.registry import Call, operator
from neuroloom.compiler.frontends.onnx.tensors import Sym
from neuroloom.compiler.frontends.onnx.windows import geometry, window_pixels
from neuroloom.compiler.ir import smallest_type
from neuroloom.compiler.ir.ops.logic import MAX_LUT_INPUTS
from neuroloom.compiler.ir.ops.tables import MAX_ADDRESS_BITS

DOMAIN = "qonnx.custom_op.lnn"
_INPUTS = ("bool", "uint8", "uint16", "uint32")
_TABLES = (*_INPUTS, "int8", "int16", "int32")


def need_range(call: Call, x: Sym, bits: int) -> None:
    """Ensure that every element lies in 0..2**bits - 1; a model input that feeds the node directly is narrowed to it."""
    if x.is_float or x.dtype.name not in _INPUTS:
        call.bad(f"input must be one of {', '.join(_INPUTS)}, not {x.dtype}")
    if x.dtype == np.bool_ and bits != 1:
        call.bad(f"a bool input must have input_bits 1, not {bits}")
    lo, hi = call.importer.range(x.name)
    top = (1 << bits) - 1
    if lo >= 0 and hi <= top:
        return
    if x.origin is not None:
        raise NarrowInput(x.origin, (0, top), call.where)
    call.refuse(
        f"its input must be in 0..{top}, but only {lo}..{hi} is proven",
        "compare or mask the values before the lookup",
    )


def _indices(call: Call, number: int, dims: int, size: int) -> np.ndarray:
    indices = call.const(number, "indices")
    if indices.dtype.name not in ("int32", "int64"):
        call.bad(f"indices must be int32 or int64, not {indices.dtype}")
    if indices.ndim != dims or 0 in indices.shape:
        call.bad(f"indices must have {dims} axes, none of them empty, not shape {list(indices.shape)}")
    low, high = int(indices.min()), int(indices.max())
    if low < 0 or high >= size:
        value = low if low < 0 else high
        at = [int(i) for i in np.argwhere(indices == value)[0]]
        call.bad(f"index {value} at {at} must be in 0..{size - 1}")
    return indices


def _table(call: Call, number: int, allowed: tuple[str, ...], shape: tuple[int, ...]) -> np.ndarray:
    table = call.const(number, "table")
    if table.dtype.name not in allowed:
        call.bad(f"table must be one of {', '.join(allowed)}, not {table.dtype}")
    if table.shape != shape:
        call.bad(f"table must have the shape {list(shape)}, not {list(table.shape)}")
    return table


def _pack(bits: np.ndarray) -> np.ndarray:
    """Truth tables [..., 2**k] of 0 and 1 as uint64[...]: entry a is bit a."""
    width = bits.shape[-1]
    padded = np.packbits(bits.astype(np.uint8, copy=False), axis=-1, bitorder="little")
    whole = np.zeros((*bits.shape[:-1], 8), np.uint8)
    whole[..., : padded.shape[-1]] = padded
    assert width <= 64
    return whole.view("<u8")[..., 0].astype(np.uint64)


@operator("LookupTable", domain=DOMAIN, whole=True, inputs=(3, 3), attributes=("input_bits", "out_bits"))
def lookup_table(call: Call) -> Sym:
    """Y[..., m] = table[m, sum_k X[..., indices[m, k]] << (input_bits * k)]: ``lut`` for bits, else ``lookup``."""
    x = call.sym(0)
    build.check_order_only(call, x)
    if not x.rank or x.batch == x.rank - 1:
        call.bad("input must have an axis of features behind the batch axis")
    bits, out_bits = call.integer("input_bits", 1), call.integer("out_bits", 0)
    if bits < 1 or out_bits < 0:
        call.bad(f"input_bits must be at least 1 and out_bits at least 0, not {bits} and {out_bits}")
    channels = x.shape[-1]
    indices = _indices(call, 1, 2, channels)
    count, k = indices.shape
    if k * bits > MAX_ADDRESS_BITS:
        call.refuse(f"a table address of {k} x {bits} bits is wider than the limit of {MAX_ADDRESS_BITS}")
    table = _table(call, 2, _TABLES, (count, 1 << (k * bits)))
    low, high = int(table.min()), int(table.max())
    if out_bits and (low < 0 or high >= 1 << out_bits):
        call.bad(f"table entries must be in 0..{(1 << out_bits) - 1} for out_bits {out_bits}, not {low}..{high}")
    need_range(call, x, bits)
    leading = x.shape[:-1]
    places = math.prod(leading)
    build.size_guard(call, (places, count, 1 << (k * bits)) if places > 1 else (count,))
    if places > 1:
        corner = np.arange(places, dtype=np.int64) * channels
        indices = (corner[:, None, None] + indices).reshape(places * count, k)
    indices = indices.astype(np.int32)
    shape = (*leading, count)
    if call.importer.value(x.name).type.is_bit and low >= 0 and high <= 1 and k <= MAX_LUT_INPUTS:
        tables = _pack(table)
        name = call.importer.emit("lut", [x.name], indices=indices, tables=np.tile(tables, places), shape=shape)
    else:
        tables = np.tile(table.astype(np.int64), (places, 1))
        type_ = smallest_type((low, high))
        name = call.importer.emit(
            "lookup", [x.name], indices=indices, tables=tables, input_bits=bits, type=str(type_), shape=shape
        )
    return Sym(name, table.dtype, shape, x.batch)


@operator(
    "LookupTableConv",
    domain=DOMAIN,
    whole=True,
    inputs=(2, 3),
    attributes=("tree_depth", "kernel_shape", "strides", "pads", "channel_group_size"),
)
def lookup_table_conv(call: Call) -> Sym:
    """Trees of lookup tables over the windows of a channels-last image; with tree_depth 0 the gathered window elements."""
    x = call.sym(0)
    build.check_order_only(call, x)
    spatial = x.shape[:-1]
    if x.batch not in (0, None) or (x.batch is None and x.rank and x.shape[0] != 1):
        call.bad("input must be [N, D_1, ..., D_n, C] with the batch axis first")
    if x.batch is None:
        spatial = spatial[1:]
    if len(spatial) not in (2, 3):
        call.bad(f"input must have 2 or 3 spatial axes between the batch axis and the channels, not {len(spatial)}")
    depth = call.integer("tree_depth", 1)
    if depth < 0:
        call.bad(f"tree_depth must be at least 0, not {depth}")
    kernel, strides, pads = geometry(call, spatial)
    channels = x.shape[-1]
    indices = _indices(call, 1, 3, math.prod(kernel) * channels)
    kernels, leaves, rank = indices.shape
    expected = rank ** (depth - 1) if depth else 1
    if leaves != expected:
        call.bad(f"indices must have {expected} leaves per kernel for tree_depth {depth} and rank {rank}, not {leaves}")
    if depth == 0:
        if call.has(2):
            call.bad("the table must be omitted when tree_depth is 0")
        return _passthrough(call, x, indices, window_pixels(spatial, kernel, strides, pads), channels)
    if rank > MAX_LUT_INPUTS:
        call.refuse(f"a lookup rank of {rank} is larger than {MAX_LUT_INPUTS}")
    nodes = sum(rank**level for level in range(depth))
    table = _table(call, 2, ("bool", "uint8"), (kernels, nodes, 1 << rank))
    if int(table.max()) > 1:
        call.bad(f"table entries must be 0 or 1, not {int(table.max())}")
    need_range(call, x, 1)
    tables = _pack(table) if rank > 1 else _pack(_unary_chain(table))
    image = build.reshaped(call, x, (*spatial, channels), x.batch, "image")
    name = call.importer.emit(
        "lut_conv",
        [image.name],
        indices=indices.astype(np.int32),
        tables=tables,
        kernel=kernel,
        strides=strides,
        pads=pads,
        groups=1,
    )
    return _with_leading(call, Sym(name, table.dtype, call.importer.value(name).shape, x.batch))


def _unary_chain(table: np.ndarray) -> np.ndarray:
    """A tree of rank 1 is a chain of one-input tables: composed into one."""
    out = table[:, 0]
    for level in range(1, table.shape[1]):
        out = np.take_along_axis(table[:, level], out.astype(np.int64), axis=1)
    return out[:, None]


def _passthrough(call: Call, x: Sym, indices: np.ndarray, pixels: np.ndarray, channels: int) -> Sym:
    pixel, channel = np.divmod(indices[:, 0].astype(np.int64), channels)
    build.size_guard(call, (*pixels.shape[:-1], *pixel.shape))
    where = pixels[..., pixel]
    result = build.gathered(call, x, np.where(where < 0, -1, where * channels + channel), x.batch, fill=0)
    return _with_leading(call, result)


def _with_leading(call: Call, y: Sym) -> Sym:
    """Restore the leading axis of one where the model is a single sample."""
    return y if y.batch is not None else build.reshaped(call, y, (1, *y.shape), None, "sample")
