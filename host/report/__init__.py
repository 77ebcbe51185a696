"""The report: one self-contained HTML page about a compiled network."""

from __future__ import annotations

from .page import Facts, render

__all__ = ["Facts", "render"]
