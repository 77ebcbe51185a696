"""The engine for fixed-point graphs: whole tensors of many samples at a time, the same bits as the reference interpreter."""

from __future__ import annotations

from .engine import Engine, Watch
from .kernels import KERNELS

__all__ = ["KERNELS", "Engine", "Watch"]
