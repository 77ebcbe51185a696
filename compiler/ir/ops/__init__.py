"""Operations of the graph, one file per family; importing this package fills the registry."""

from __future__ import annotations

from . import arith, choose, control, logic, shape, source, tables
from .registry import REGISTRY, Op, Operands, Result, check_form, infer, op, spec

__all__ = [
    "REGISTRY",
    "Op",
    "Operands",
    "Result",
    "arith",
    "check_form",
    "choose",
    "control",
    "infer",
    "logic",
    "op",
    "shape",
    "source",
    "spec",
    "tables",
]
