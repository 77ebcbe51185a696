"""Programs over real numbers: what a float network means before it has fixed-point formats.

A frontend builds a :class:`.program.Program`; :mod:`.evaluate` runs it in float64 (to calibrate, and for the error against float);
:mod:`neuroloom.compiler.quantise` turns it into a graph of exact integers.
"""

from __future__ import annotations

from . import choices, operations
from .evaluate import evaluate
from .program import Program, ProgramBuilder, RealNode, RealRegion, RealValue

__all__ = ["Program", "ProgramBuilder", "RealNode", "RealRegion", "RealValue", "choices", "evaluate", "operations"]
