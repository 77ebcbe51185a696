"""Float ONNX models into real programs, which calibration then turns into fixed point; see :func:`.load.load_program`."""

from __future__ import annotations

from . import arith, choose, control, convolution, linear, loops, moves, quantised, recurrent, reduce, scatter
from .load import load_program

__all__ = [
    "arith",
    "choose",
    "control",
    "convolution",
    "linear",
    "load_program",
    "loops",
    "moves",
    "quantised",
    "recurrent",
    "reduce",
    "scatter",
]
