"""Tabulated functions: multi-bit lookup layers and elementwise tables."""

from __future__ import annotations

import numpy as np
from neuroloom.compiler.errors import GraphError
from neuroloom.compiler.ir.types import Type

from .registry import Operands, Result, need_indices, op, out_shape

MAX_ADDRESS_BITS = 24
"""Widest table address: 16.8 million entries, more than any supported device holds."""


@op("lookup", attrs={"indices": "tensor", "tables": "tensor", "input_bits": "int", "type": "str", "shape": "tuple?"})
def lookup(o: Operands) -> list[Result]:
    """A layer of M tables over K multi-bit inputs each, of any integer output type (the ONNX LookupTable).

    x is flattened; ``indices`` int32[M,K]; address[m] = sum_k((x[indices[m,k]] mod 2**input_bits) << (k*input_bits)), so
    input 0 is the least significant field; out[m] = tables[m, address[m]], ``tables`` int64[M, 2**(K*input_bits)].
    The input's range must lie in 0..2**input_bits-1.
    """
    indices, tables, width = o.tensor("indices", 2), o.tensor("tables", 2), o.attr("input_bits")
    count, k = indices.shape
    if width < 1 or k * width > MAX_ADDRESS_BITS:
        raise GraphError(f"a table address must have 1 to {MAX_ADDRESS_BITS} bits, not {k}*{width}")
    if tables.shape != (count, 1 << (k * width)):
        raise GraphError(f"tables must be [{count},{1 << (k * width)}], not {list(tables.shape)}")
    lo, hi = o.ranges[0]
    if lo < 0 or hi >= 1 << width:
        raise GraphError(f"input must be in 0..{(1 << width) - 1} for input_bits {width}, not {lo}..{hi}")
    need_indices(indices, o.values[0].size)
    return [_from_tables(o, tables, out_shape(o, count))]


@op("table", attrs={"entries": "tensor", "lo": "int", "type": "str"})
def table(o: Operands) -> list[Result]:
    """Apply a tabulated function to every element: out = entries[x - lo], ``entries`` int64[n].

    The input's proven range must lie in lo..lo+n-1. Entries are correctly rounded by whoever makes them, so no libm
    decides a bit.
    """
    x, entries, start = o.values[0], o.tensor("entries", 1), o.attr("lo")
    lo, hi = o.ranges[0]
    if len(entries) > 1 << MAX_ADDRESS_BITS:
        raise GraphError(f"a table must have at most 2**{MAX_ADDRESS_BITS} entries, not {len(entries)}")
    if lo < start or hi >= start + len(entries):
        raise GraphError(
            f"input must be proven in {start}..{start + len(entries) - 1}, the table's span, not {lo}..{hi}"
        )
    return [_from_tables(o, entries[lo - start : hi - start + 1], x.shape)]


def _from_tables(o: Operands, tables: np.ndarray, shape: tuple[int, ...]) -> Result:
    type_ = Type.parse(o.attr("type"))
    bounds = (int(tables.min()), int(tables.max())) if tables.size else (0, 0)
    if not type_.holds(bounds):
        raise GraphError(f"table entries must be in {type_.lo}..{type_.hi} for {type_}, not {bounds[0]}..{bounds[1]}")
    return Result(shape, bounds, type_.frac, type_)
