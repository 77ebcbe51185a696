#!/usr/bin/env python3
"""Learns scikit-learn's digits without labels by STDP in the simulated core, and reports what it reaches.

    python examples/stdp_digits/train.py             # five seeds on both splits, beside random weights
    python examples/stdp_digits/train.py --picture weights.png --save stdp_digits.npz    # of the first seed as well

Every choice was made inside the training part of the stratified split.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

from examples.digits_logic import data  # noqa: E402
from examples.stdp_digits.learning import EPOCHS, Learnt, accuracy, learn  # noqa: E402
from examples.stdp_digits.network import NEURONS, SYNAPSES, network  # noqa: E402


def report(name: str, split: data.Split, seeds: int, *, learning: bool = True) -> list[Learnt]:
    """Learn and test with seeds 0, 1, ...; prints the accuracies."""
    train, test = (split.train_images, split.train_labels), (split.test_images, split.test_labels)
    learnt, shares, started = [], [], time.perf_counter()
    for seed in range(seeds):
        learnt.append(learn(split.train_images, seed, learning=learning))
        shares.append(100 * accuracy(learnt[-1], train, test))
    each = ", ".join(f"{share:.2f}" for share in shares)
    seconds = (time.perf_counter() - started) / seeds
    print(
        f"{name}: {each}: mean {np.mean(shares):.2f} %, worst {min(shares):.2f} % ({seconds:.0f} s per seed)",
        flush=True,
    )
    return learnt


def draw(before: np.ndarray, after: np.ndarray, path: Path, rows: int = 5, columns: int = 12) -> None:
    """ON minus OFF weights of the first neurons, before and after learning."""
    from examples.picture import save, subplots

    figure, axes = subplots(1, 2, (9.6, 2.3))
    for axis, weights, title in zip(axes, (before, after), ("before learning", "after learning"), strict=True):
        fields = (weights[:64] - weights[64:]).T[: rows * columns].reshape(rows, columns, 8, 8)
        tiles = np.pad(fields, ((0, 0), (0, 0), (0, 1), (0, 1)), constant_values=127)
        axis.imshow(tiles.swapaxes(1, 2).reshape(rows * 9, columns * 9), cmap="gray", vmin=-127, vmax=127)
        axis.set_title(f"{title}: ON − OFF weights of {rows * columns} neurons")
        axis.axis("off")
    save(figure, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--picture", type=Path, help="draw the weights of seed 0 before and after learning")
    parser.add_argument("--save", type=Path, help="write the weights and thresholds of seed 0 (.npz)")
    options = parser.parse_args()
    split = data.stratified_fifth()
    print(f"{NEURONS} + 1 neurons, {EPOCHS} epochs")
    learnt = report("stratified fifth", split, options.seeds)
    report("  random weights", split, options.seeds, learning=False)
    report("last fifth", data.last_fifth(), options.seeds)
    report("  random weights", data.last_fifth(), options.seeds, learning=False)
    if options.picture:
        draw(network(0).matrix(SYNAPSES), learnt[0].weights, options.picture)
    if options.save:
        np.savez_compressed(
            options.save, weights=learnt[0].weights.astype(np.int8), adaptation=learnt[0].adaptation.astype(np.int32)
        )
        print(f"wrote {options.save}, {options.save.stat().st_size} bytes")


if __name__ == "__main__":
    main()
