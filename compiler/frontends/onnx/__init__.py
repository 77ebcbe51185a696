"""Reads ONNX models into graphs; see :func:`load_onnx`."""

from __future__ import annotations

from .inputs import InputRule
from .load import load_onnx, read_program

__all__ = ["InputRule", "load_onnx", "read_program"]
