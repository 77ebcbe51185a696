#!/usr/bin/env python3
"""Predicts sunspots in fixed point with two routed experts; says which one answered and what it cost, and draws a picture.

python examples/experts_sunspots/run.py            # draws build/experts_sunspots.png
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

import neuroloom as nl

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

from neuroloom.boards.registry import load_board  # noqa: E402
from neuroloom.host.accuracy import run_source  # noqa: E402
from neuroloom.host.gated.choose import choose_config  # noqa: E402
from neuroloom.host.verify.gated import predicted_cycles  # noqa: E402
from neuroloom.sim import reference  # noqa: E402

from examples.experts_sunspots import data  # noqa: E402
from examples.experts_sunspots.compiled import FILE, compiled, predict  # noqa: E402
from examples.picture import save, subplots  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--board", default="ulx3s_85f")
    parser.add_argument("--picture", type=Path, default=Path("build/experts_sunspots.png"))
    options = parser.parse_args()
    model, board = compiled(), load_board(options.board)
    config = choose_config(model.graph, board)
    for first, last in (data.TRAINING, *data.TESTS):
        part = data.part(first, last)
        real = run_source(FILE, {"window": part.windows})["next"][:, 0]
        found = predict(model, part.windows)
        gru = of_gru(model, part.windows)
        cycles = predicted_cycles(model.graph, config, {"window": part.windows}).ravel()
        print(
            f"{first}-{last}: relative variance {data.relative_variance(part.targets, found):.4f} in fixed point, "
            f"{data.relative_variance(part.targets, real):.4f} in float32 (last year's number again: "
            f"{data.relative_variance(part.targets, part.windows[:, -1]):.4f}); GRU for {gru.sum()} of {len(gru)} years"
        )
        for name, rows in (("GRU", gru), ("MLP", ~gru)):
            if rows.any():
                print(
                    f"  {name}: {cycles[rows].min():,} to {cycles[rows].max():,} cycles on {options.board} ({config.profile})"
                )
    part = data.part(1880, data.TESTS[-1][1])
    gru, found = of_gru(model, part.windows), predict(model, part.windows)
    years = np.arange(1880, 1880 + len(found))
    figure, axes = subplots(1, 1, (9, 3.2))
    axes.plot(years, part.targets * data.SCALE, color="black", linewidth=1, label="sunspots")
    for name, rows, colour in (("GRU", gru, "C1"), ("MLP", ~gru, "C0")):
        axes.plot(
            years[rows], found[rows] * data.SCALE, "o", markersize=3.5, color=colour, label=f"predicted by the {name}"
        )
    axes.axvline(data.TRAINING[1] + 0.5, color="grey", linestyle="--", linewidth=1)
    axes.set(xlabel="year (training ends at the dashed line)", ylabel="sunspot number")
    axes.legend(fontsize=7)
    save(figure, options.picture)


def of_gru(model: nl.Model, windows: np.ndarray) -> np.ndarray:
    """Which windows the router gives to the GRU, bool [N]."""
    (branch,) = (n for n in model.graph.nodes if n.op == "when")
    return reference.run(model.graph, windows, probes=branch.inputs)[branch.inputs[0]].reshape(-1) == 1


if __name__ == "__main__":
    main()
