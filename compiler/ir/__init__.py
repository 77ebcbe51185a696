"""The graph: types, values, nodes, operations, verifier, text and file."""

from __future__ import annotations

from .affine import IDENTITY, Affine
from .builder import Builder
from .graph import Graph, Input, Node, Output, Region, Value, walk
from .types import BIT, Range, Type, smallest_type
from .verify import ranges, verify

__all__ = [
    "BIT",
    "IDENTITY",
    "Affine",
    "Builder",
    "Graph",
    "Input",
    "Node",
    "Output",
    "Range",
    "Region",
    "Type",
    "Value",
    "ranges",
    "smallest_type",
    "verify",
    "walk",
]
