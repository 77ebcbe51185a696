"""List the compiler's passes in the order in which they run."""

from __future__ import annotations

import argparse

from neuroloom.compiler.passes.manager import all_passes

from .ui import Ui


def arguments(parser: argparse.ArgumentParser) -> None:
    """No options of its own."""


def run(args: argparse.Namespace, ui: Ui) -> int:
    """Print the table."""
    passes = all_passes()
    ui.table(
        "", ("phase", "pass", "what it does", "requires"), [(p.phase, p.name, p.summary, p.requires) for p in passes]
    )
    ui.result([{"phase": p.phase, "name": p.name, "summary": p.summary, "requires": p.requires} for p in passes])
    return 0
