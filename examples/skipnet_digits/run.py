#!/usr/bin/env python3
"""Cycles that the skip gates save on a board's gated engine, image by image, and a picture.

python examples/skipnet_digits/run.py            # draws build/skipnet_digits.png
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
from neuroloom.sim import reference  # noqa: E402

from examples.digits_logic import data  # noqa: E402
from examples.picture import save, subplots  # noqa: E402
from examples.skipnet_digits.compiled import classes, compiled, gates  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--board", default="ulx3s_85f")
    parser.add_argument("--picture", type=Path, default=Path("build/skipnet_digits.png"))
    options = parser.parse_args()
    model, test, board = compiled(), data.stratified_fifth(), load_board(options.board)
    config = choose_config(model.graph, board)
    cycles = predicted_cycles(model.graph, config, {"pixels": test.test_images}).ravel()
    bits = reference.run(model.graph, test.test_images, probes=gates(model))
    opened = np.stack([bits[name].reshape(-1) for name in gates(model)], axis=1)
    found = classes(model, test.test_images)
    full = int(cycles.max()) if (opened.sum(1) == opened.shape[1]).any() else None
    right = int((found == test.test_labels).sum())
    print(f"{right} of {len(found)} right, {opened.sum(1).mean():.2f} of {opened.shape[1]} blocks run")
    print(f"gates open: {', '.join(f'{100 * share:.0f} %' for share in opened.mean(0))}")
    print(
        f"{cycles.mean():,.1f} cycles on average on {options.board} ({config.profile}), {cycles.min():,} to {cycles.max():,}"
        + (f"; all blocks open: {full:,}" if full else "")
    )
    figure, (left, middle) = subplots(1, 2, (9, 3.2))
    counts = [cycles[opened.sum(1) == n] for n in range(opened.shape[1] + 1)]
    left.hist(
        [c for c in counts if len(c)],
        bins=40,
        stacked=True,
        label=[f"{n} open" for n, c in enumerate(counts) if len(c)],
    )
    left.set(xlabel="cycles", ylabel="images", title="cycles by blocks that ran")
    left.legend(fontsize=7)
    shares = np.array([opened[test.test_labels == digit].mean(0) for digit in range(10)])
    middle.imshow(shares.T, aspect="auto", cmap="Blues", vmin=0, vmax=1)
    middle.set(
        xlabel="digit",
        ylabel="block",
        title="share of images that run it",
        xticks=range(10),
        yticks=range(opened.shape[1]),
    )
    save(figure, options.picture)


if __name__ == "__main__":
    main()
