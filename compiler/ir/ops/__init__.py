"""Operations of the graph, one file per family; importing this package fills the registry."""

from __future__ import annotations

from . import arith, choose, contract, control, logic, loops, neurons, plasticity, shape, source, spiking, tables
from .registry import REGISTRY, Op, Operands, Result, check_form, infer, op, spec

__all__ = [
    "REGISTRY",
    "Op",
    "Operands",
    "Result",
    "arith",
    "check_form",
    "choose",
    "contract",
    "control",
    "infer",
    "logic",
    "loops",
    "neurons",
    "op",
    "plasticity",
    "shape",
    "source",
    "spec",
    "spiking",
    "tables",
]
