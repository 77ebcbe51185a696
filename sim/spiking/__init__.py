"""The event-driven fast simulator of spiking graphs."""

from __future__ import annotations

from .engine import Engine
from .program import Program, compile_program
from .session import Session

__all__ = ["Engine", "Program", "Session", "compile_program"]
