"""Drawing for the examples: matplotlib without a screen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from neuroloom.compiler.errors import MissingToolError

DPI = 80


def subplots(rows: int, columns: int, size: tuple[float, float]) -> tuple[Any, Any]:
    """A figure of ``size`` inches and its axes. Raises MissingToolError without matplotlib."""
    try:
        import matplotlib
    except ImportError:
        raise MissingToolError("the picture needs matplotlib; install it with `pip install neuroloom[train]`") from None
    matplotlib.use("Agg")
    from matplotlib import pyplot

    pyplot.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
    return pyplot.subplots(rows, columns, figsize=size, layout="constrained")


def save(figure: Any, path: Path) -> None:
    """Write a PNG, small enough for a README."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=DPI)
    print(f"wrote {path}")
