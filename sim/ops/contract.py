"""Contraction of two values, as :mod:`neuroloom.compiler.ir.ops.contract` defines it."""

from __future__ import annotations

import numpy as np
from neuroloom.compiler.ir import Node

from .table import function


@function("contract")
def contract(node: Node, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    left, right = node.attrs["equation"].split(",")
    right, out = right.split("->")
    return np.einsum(f"...{left},...{right}->...{out}", a, b)  # the ellipsis is the batch axis; integers, so exact
