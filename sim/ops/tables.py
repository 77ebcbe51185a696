"""Tabulated functions, as :mod:`neuroloom.compiler.ir.ops.tables` defines them."""

from __future__ import annotations

import numpy as np
from neuroloom.compiler.ir import Node

from .table import flat, function, shaped


@function("lookup")
def lookup(node: Node, x: np.ndarray) -> np.ndarray:
    indices, tables, width = node.attrs["indices"], node.attrs["tables"], node.attrs["input_bits"]
    address = (flat([x])[:, indices] << (np.arange(indices.shape[1]) * width)).sum(axis=2)
    return shaped(node, tables.astype(np.int64)[np.arange(len(tables)), address])


@function("table")
def table(node: Node, x: np.ndarray) -> np.ndarray:
    return node.attrs["entries"].astype(np.int64)[x - node.attrs["lo"]]
