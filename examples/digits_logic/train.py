#!/usr/bin/env python3
"""Trains the digits network of the demo: 64 pixels, learned thermometers, two layers of 4-input tables, group sum.

    python examples/digits_logic/train.py            # trains, reports the test part, writes digits_logic.onnx
    python examples/digits_logic/train.py --folds    # five-fold cross-validation over all 1,797 images

Every choice (sizes, rates, number of epochs) was made by cross-validation inside the training part of the
stratified split; the test part is looked at once, after training. Same seed, same machine: same network.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.model_selection import StratifiedKFold

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

from examples.digits_logic import data  # noqa: E402
from examples.training.layers import GroupSum, Lut, Thermometer  # noqa: E402
from examples.training.loop import Schedule, fit  # noqa: E402
from examples.training.network import LogicNetwork  # noqa: E402
from examples.training.onnx_file import write  # noqa: E402

SCHEDULE = Schedule(epochs=200, batch=64, rate=0.1, wiring_rate=0.03, threshold_rate=0.05, hard_from=0.0)
SHIFTED_SHARE = 0.6


def network(seed: int) -> LogicNetwork:
    """The untrained network: 64 x 3 thresholds, 800 and 300 tables of four inputs, 30 wires per class."""
    generator = np.random.default_rng(seed)
    levels = np.tile(16 * (np.arange(3) + 0.5) / 3, (64, 1))
    options: dict[str, Any] = {"generator": generator, "copy_strength": 1.0}
    return LogicNetwork(
        Thermometer(levels, width=1.5),
        Lut(64 * 3, 800, 4, candidates=16, **options),
        Lut(800, 300, 4, candidates=8, **options),
        GroupSum(300, 10, tau=2.5),
    )


def some_shifted(images: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Augmentation: most images moved by up to one pixel."""
    move = generator.random(len(images)) < SHIFTED_SHARE
    return np.where(move[:, None], data.shifted(images, generator), images)


def train(images: np.ndarray, labels: np.ndarray, *, seed: int, epochs: int, every: int) -> LogicNetwork:
    """Train one network on all the images given."""
    schedule = Schedule(**{**SCHEDULE.__dict__, "epochs": epochs})
    trained = network(seed)
    fit(trained, (images, labels), None, schedule, seed=seed, augment=some_shifted, every=every)
    return trained


def folds(seed: int, epochs: int) -> None:
    """Five networks, each tested on the fifth of the data that it has not seen."""
    images, labels = data.images_and_labels()
    shares = []
    parts = StratifiedKFold(5, shuffle=True, random_state=0).split(images, labels)
    for number, (inside, outside) in enumerate(parts, 1):
        trained = train(images[inside], labels[inside], seed=seed, epochs=epochs, every=epochs).freeze()
        correct = trained.correct(images[outside], labels[outside])
        shares.append(correct / len(outside))
        print(f"fold {number}: {correct}/{len(outside)} = {100 * shares[-1]:.2f} %", flush=True)
    print(f"five-fold mean: {100 * np.mean(shares):.2f} %")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=SCHEDULE.epochs)
    parser.add_argument("--out", type=Path, default=HERE / "digits_logic.onnx", help="file to write")
    parser.add_argument("--folds", action="store_true", help="five-fold cross-validation instead; writes nothing")
    parser.add_argument("--no-last-fifth", action="store_true", help="leave out the run on the last-fifth split")
    options = parser.parse_args()
    torch.set_num_threads(1)
    started = time.perf_counter()
    if options.folds:
        folds(options.seed, options.epochs)
    else:
        split = data.stratified_fifth()
        print(f"training on {len(split.train_labels)} images, {options.epochs} epochs, seed {options.seed}")
        trained = train(*split[:2], seed=options.seed, epochs=options.epochs, every=50).freeze()
        correct, count = trained.correct(*split[2:]), len(split.test_labels)
        print(f"test part (stratified fifth): {correct}/{count} = {100 * correct / count:.2f} %")
        write(trained, options.out, name="digits_logic", input_name="image", input_shape=(64,))
        print(f"wrote {options.out}, {options.out.stat().st_size} bytes")
        if not options.no_last_fifth:
            split = data.last_fifth()
            other = train(*split[:2], seed=options.seed, epochs=options.epochs, every=options.epochs).freeze()
            correct, count = other.correct(*split[2:]), len(split.test_labels)
            print(f"last fifth (other writers; trained anew on the first four): {correct}/{count}", end="")
            print(f" = {100 * correct / count:.2f} %")
    print(f"{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
