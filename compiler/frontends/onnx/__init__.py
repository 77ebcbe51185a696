"""Reads ONNX models into graphs; see :func:`load_onnx`."""

from __future__ import annotations

from .inputs import InputRule
from .load import Prepared, load_onnx, prepare, read_program

__all__ = ["InputRule", "Prepared", "load_onnx", "prepare", "read_program"]
