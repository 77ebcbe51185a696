#!/usr/bin/env python3
"""Accuracy against the mean number of cycles over the exit threshold, on a board's gated engine, and a picture.

python examples/digits_early_exit/run.py            # draws build/digits_early_exit.png
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

from neuroloom.boards.registry import load_board  # noqa: E402
from neuroloom.host.gated.choose import choose_config  # noqa: E402
from neuroloom.host.verify.gated import predicted_cycles  # noqa: E402

from examples.digits_early_exit.compiled import ALWAYS, NEVER, classes, compiled  # noqa: E402
from examples.digits_logic import data  # noqa: E402
from examples.picture import save, subplots  # noqa: E402

THRESHOLDS = (ALWAYS, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, NEVER)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--board", default="icebreaker")
    parser.add_argument("--picture", type=Path, default=Path("build/digits_early_exit.png"))
    options = parser.parse_args()
    board, test = load_board(options.board), data.stratified_fifth()
    clock_hz = board.speed("gated").plan.logic_hz
    rows = []
    for threshold in THRESHOLDS:
        model = compiled(threshold)
        config = choose_config(model.graph, board)
        cycles = predicted_cycles(model.graph, config, {"pixels": test.test_images}).ravel()
        right = int((classes(model, test.test_images) == test.test_labels).sum())
        early = float((cycles == cycles.min()).mean()) if threshold != NEVER else 0.0
        rows.append((threshold, right / len(test.test_labels), float(cycles.mean())))
        print(
            f"threshold {threshold:4.2f}: {100 * rows[-1][1]:.2f} %, {100 * early:5.1f} % early, {cycles.mean():7,.1f} cycles on "
            f"average ({1e6 * cycles.mean() / clock_hz:5.1f} us at {clock_hz / 1e6:g} MHz), {cycles.min():,} to {cycles.max():,}"
        )
    figure, axes = subplots(1, 1, (5.5, 3.4))
    always_full = rows[-1][2]
    axes.plot([r[2] for r in rows], [100 * r[1] for r in rows], "o-", markersize=4)
    for threshold, share, cycles_mean in rows:
        axes.annotate(
            f"{threshold:g}", (cycles_mean, 100 * share), textcoords="offset points", xytext=(4, -9), fontsize=7
        )
    axes.axvline(always_full, color="grey", linestyle="--", linewidth=1)
    axes.text(always_full, 100 * min(r[1] for r in rows), "always the whole network ", ha="right", fontsize=8)
    axes.set(xlabel=f"mean cycles per image ({options.board})", ylabel="accuracy, %", title="exit threshold")
    save(figure, options.picture)


if __name__ == "__main__":
    main()
