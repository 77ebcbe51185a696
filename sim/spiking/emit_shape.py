"""Instructions of operations that move elements: each is a table from output elements to input elements."""

from __future__ import annotations

import numpy as np
from neuroloom.compiler.ir import Node

from . import codes
from .program import Compiler, emits


@emits("reshape", "transpose", "concat", "slice", "gather", "broadcast")
def move(c: Compiler, node: Node) -> None:
    (out,), a = node.outputs, node.attrs
    values = [c.values[i] for i in node.inputs]
    first = np.cumsum([0, *(v.size for v in values)])
    tables = [np.arange(f, f + v.size).reshape(v.shape) for f, v in zip(first, values, strict=False)]
    x = tables[0]
    if node.op == "transpose":
        x = x.transpose(a["perm"])
    elif node.op == "concat":
        x = np.concatenate(tables, axis=a["axis"])
    elif node.op == "slice":
        x = x[tuple(slice(*cut) for cut in zip(a["starts"], a["stops"], a["steps"], strict=True))]
    elif node.op == "gather":
        x = np.take(x, a["indices"], axis=a["axis"])
    elif node.op == "broadcast":
        x = np.broadcast_to(x, a["shape"])
    table = x.reshape(-1)
    refs = [c.ref(i) for i in node.inputs]
    dst = c.allocate(out.name)
    for ref, begin, value in zip(refs, first, values, strict=False):
        where = np.flatnonzero((table >= begin) & (table < begin + value.size))
        source = table[where] - begin
        if not len(where):
            continue
        if (np.diff(where) == 1).all() and (np.diff(source) == 1).all():
            c.emit(codes.COPY, dst + (int(where[0]) << 2), ref + (int(source[0]) << 2), len(where))
        elif len(where) == len(table):
            c.emit(codes.GATHER, dst, ref, len(where), c.memory.index(source))
        else:
            c.emit(codes.MOVE, dst, ref, len(where), c.memory.index(where), c.memory.index(source))
