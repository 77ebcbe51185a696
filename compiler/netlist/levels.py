"""Logic depth per bit."""

from __future__ import annotations

import numpy as np
from neuroloom.compiler.ir import Graph

from .rewrite import WIRE


def levels(graph: Graph) -> dict[str, np.ndarray]:
    """Lookup tables on the longest way to each element of each top-level bit value, int32 in the value's shape.

    Everything that is not a ``lut`` starts at 0; wires and constants add nothing, inverters count as tables.
    """
    out = {i.name: np.zeros(i.value.shape, np.int32) for i in graph.inputs if i.value.type.is_bit}
    for node in graph.nodes:
        for value in node.outputs:
            if value.type.is_bit:
                out[value.name] = np.zeros(value.shape, np.int32)
        if node.op != "lut":
            continue
        below = np.concatenate([*(out[i].reshape(-1) for i in node.inputs), np.full(1, -1, np.int32)])
        indices, tables, value = node.attrs["indices"], node.attrs["tables"], node.outputs[0]
        connected = (indices >= 0).sum(axis=1)
        deepest = below[indices].max(axis=1, initial=-1)
        free = (connected == 0) | ((connected == 1) & (indices[:, :1] >= 0).all(axis=1) & (tables == WIRE))
        out[value.name] = np.maximum(deepest + ~free, 0).astype(np.int32).reshape(value.shape)
        out[value.name].reshape(-1)[connected == 0] = 0
    return out
