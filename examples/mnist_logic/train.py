#!/usr/bin/env python3
"""Trains one of the three MNIST networks, reports its accuracy on all 10,000 test images and writes it as ONNX.

    python examples/mnist_logic/train.py small --data mnist.npz

50,000 training images are trained on; the other 10,000 choose the epoch whose Boolean network is kept. The test
images are looked at once, after training. Accuracy is always that of the Boolean network. Same seed: same network.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import torch

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

from examples.mnist_logic import data  # noqa: E402
from examples.mnist_logic.networks import RECIPES  # noqa: E402
from examples.training.loop import fit  # noqa: E402
from examples.training.network import LogicNetwork  # noqa: E402
from examples.training.onnx_file import write  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "network", choices=RECIPES, help="; ".join(f"{name}: {recipe.about}" for name, recipe in RECIPES.items())
    )
    parser.add_argument("--data", type=Path, default=data.DEFAULT_PATH, help="the .npz file (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, help="instead of the recipe's")
    parser.add_argument("--out", type=Path, help="file to write (default: mnist_NETWORK.onnx beside this script)")
    parser.add_argument("--checkpoint", type=Path, help="write the best state so far here")
    options = parser.parse_args()
    torch.set_num_threads(1)
    recipe = RECIPES[options.network]
    schedule = recipe.schedule
    if options.epochs:
        schedule = type(schedule)(**{**schedule.__dict__, "epochs": options.epochs})
    try:
        parts = data.load(options.data)
    except FileNotFoundError as error:
        parser.error(str(error))
    out = options.out or HERE / f"mnist_{options.network}.onnx"
    network = recipe.build(options.seed)
    print(
        f"{recipe.about}: {len(parts.train.labels)} images, {schedule.epochs} epochs, seed {options.seed}", flush=True
    )

    def keep(best: LogicNetwork, correct: int) -> None:
        if options.checkpoint:
            torch.save({"state": best.state_dict(), "validation": correct}, options.checkpoint)

    started = time.perf_counter()
    best = fit(
        network,
        parts.train,
        parts.validation,
        schedule,
        seed=options.seed,
        augment=lambda images, generator: data.shifted(images, generator, recipe.shifted),
        report=lambda line: print(line, flush=True),
        checkpoint=keep,
    )
    seconds = time.perf_counter() - started
    hard = network.freeze()
    correct = hard.correct(*parts.test)
    print(f"validation {best}/{len(parts.validation.labels)}, test {correct}/{len(parts.test.labels)}", end="")
    print(f" = {100 * correct / len(parts.test.labels):.2f} %, trained in {seconds / 60:.1f} min")
    write(hard, out, name=f"mnist_{options.network}", input_name="image", input_shape=(28 * 28,))
    print(f"wrote {out}, {out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
