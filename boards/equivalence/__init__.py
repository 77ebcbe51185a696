"""Combinational equivalence of two graphs, proved by ABC; a reading of the operations of its own, besides sim and rtl."""

from __future__ import annotations

from .check import Counterexample, UndecidedError, check_equivalence

__all__ = ["Counterexample", "UndecidedError", "check_equivalence"]
