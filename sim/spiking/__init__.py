"""The event-driven fast simulator of spiking graphs."""

from __future__ import annotations

from .engine import Engine
from .program import Program, compile_program

__all__ = ["Engine", "Program", "compile_program"]
