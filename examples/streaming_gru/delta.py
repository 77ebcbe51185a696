#!/usr/bin/env python3
"""The decoder as a delta network: what it costs and how well it follows, over the threshold; draws a picture.

    python examples/streaming_gru/delta.py            # about a minute; draws build/streaming_gru_delta.png

With ``delta: THETA`` a matrix product sees only those elements of its input that are at least theta away from what it saw last.
Cycles are those of the engine's program, run word by word, which the hardware takes to the cycle.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

from neuroloom.boards.registry import load_board  # noqa: E402
from neuroloom.host.gated.choose import choose_config  # noqa: E402
from neuroloom.host.verify.gated import predicted_cycles  # noqa: E402

from examples.lorenz_lfads import data  # noqa: E402
from examples.picture import save, subplots  # noqa: E402
from examples.streaming_gru.compiled import compiled, decode  # noqa: E402
from examples.streaming_gru.score import r_squared  # noqa: E402

THRESHOLDS = (0.0, 0.01, 0.02, 0.03, 0.04, 0.06, 0.08, 0.1, 0.15, 0.2)
TIMED = 4
"""Trials whose cycles are counted, bin by bin."""


def measure(
    training: data.Trials, test: data.Trials, threshold: float | None, board: str = "ulx3s_85f"
) -> tuple[float, np.ndarray]:
    """R² of the coordinates on all test trials, and the cycles of every bin of the first few, int64 [TIMED, bins]."""
    model = compiled(training, **({} if threshold is None else {"delta": threshold}))
    config = choose_config(model.graph, load_board(board))
    cycles = predicted_cycles(model.graph, config, {"counts": test.counts[:TIMED]})
    return r_squared(test.path, decode(model, test.counts)), cycles


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--board", default="ulx3s_85f")
    parser.add_argument("--picture", type=Path, default=Path("build/streaming_gru_delta.png"))
    options = parser.parse_args()
    training, test = data.make()
    dense, whole = measure(training, test, None, options.board)
    print(f"dense         R² {dense:.4f}  {whole.mean():8,.1f} cycles a bin, {whole.min():,} to {whole.max():,}")
    rows = []
    for threshold in THRESHOLDS:
        score, cycles = measure(training, test, threshold, options.board)
        rows.append((threshold, score, cycles))
        print(
            f"theta {threshold:5.2f}   R² {score:.4f}  {cycles.mean():8,.1f} cycles a bin, {cycles.min():,} to {cycles.max():,}",
            flush=True,
        )
    figure, axes = subplots(1, 3, (12, 3.2))
    thetas = [row[0] for row in rows]
    scores, means = [row[1] for row in rows], [row[2].mean() for row in rows]
    for axis, values, plain, what in (
        (axes[0], means, whole.mean(), "mean cycles a bin"),
        (axes[1], scores, dense, "R² of the coordinates"),
    ):
        axis.plot(thetas, values, marker="o", markersize=4, label="delta network")
        axis.axhline(plain, color="black", linestyle="--", linewidth=1, label="dense network")
        axis.set(xlabel="theta", title=what)
        axis.legend(fontsize=7)
    for threshold, _, cycles in rows[:: len(rows) // 3]:
        axes[2].hist(cycles.ravel(), bins=30, histtype="step", label=f"theta {threshold:g}")
    axes[2].set(xlabel="cycles", title="bins by their cycles")
    axes[2].legend(fontsize=7)
    save(figure, options.picture)


if __name__ == "__main__":
    main()
