"""Operator handlers, one file per family; importing this package fills the registry."""

from __future__ import annotations

from . import arith, choose, compare, indexing, lnn, logic, neuroloom, noop, reduce, shape

__all__ = [
    "arith",
    "choose",
    "compare",
    "indexing",
    "lnn",
    "logic",
    "neuroloom",
    "noop",
    "reduce",
    "shape",
]
