#!/usr/bin/env python3
"""Trains a network with an early exit on scikit-learn's digits and writes it as ONNX.

    python examples/digits_early_exit/train.py            # about a minute on one core; needs torch

Both heads learn at once (cross-entropy, equal weights). Every choice was made inside the training part of the stratified split.
Same seed, same machine: same network.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

import neuroloom as nl

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

from examples.digits_early_exit.network import Branchy  # noqa: E402
from examples.digits_logic import data  # noqa: E402
from examples.training.epochs import run_epochs  # noqa: E402

SHIFTED_SHARE = 0.5


def train(images: np.ndarray, labels: np.ndarray, *, seed: int, epochs: int) -> Branchy:
    """Train on all the images given."""
    torch.manual_seed(seed)
    generator = np.random.default_rng(seed)
    network, loss_of = Branchy(), nn.CrossEntropyLoss(label_smoothing=0.02)
    moved = images

    def prepare() -> None:
        nonlocal moved
        move = generator.random(len(images)) < SHIFTED_SHARE
        moved = np.where(move[:, None], data.shifted(images, generator), images)

    def both(rows: np.ndarray, epoch: int) -> Tensor:
        target = torch.from_numpy(labels[rows])
        early, late = network.heads(torch.from_numpy(moved[rows].astype(np.float32)))
        return loss_of(early, target) + loss_of(late, target)

    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=1e-2)
    sizes = {"samples": len(images), "batch": 64, "epochs": epochs}
    run_epochs(network, optimizer, both, **sizes, peak=6e-3, generator=generator, prepare=prepare)
    return network.eval()


def shares(network: Branchy, images: np.ndarray, labels: np.ndarray) -> tuple[float, float, float, float]:
    """Accuracy of the first head, of the second, of both with the exit, and the share of early answers."""
    with torch.no_grad():
        early, late = network.heads(torch.from_numpy(images.astype(np.float32)))
        sure = (early.softmax(-1).amax(-1) > network.threshold).numpy()
    first, second = early.argmax(-1).numpy(), late.argmax(-1).numpy()
    right = np.where(sure, first, second) == labels
    return float((first == labels).mean()), float((second == labels).mean()), float(right.mean()), float(sure.mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=160)
    parser.add_argument("--out", type=Path, default=HERE / "digits_early_exit.onnx", help="file to write")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name, split in (
        ("last fifth, other writers", data.last_fifth()),
        ("stratified fifth", data.stratified_fifth()),
    ):
        network = train(split.train_images, split.train_labels, seed=options.seed, epochs=options.epochs)
        first, second, both, early = shares(network, split.test_images, split.test_labels)
        print(
            f"{name}: first head {100 * first:.2f} %, second {100 * second:.2f} %, with the exit {100 * both:.2f} %, "
            f"{100 * early:.1f} % of the answers early, in float32",
            flush=True,
        )
    sample = torch.from_numpy(split.test_images[:1].astype(np.float32))
    model = nl.export(
        *(network, sample, options.out),
        name="digits_early_exit",
        dynamic_batch=False,
        input_names=("pixels",),
        output_names=("scores",),
    )
    print(f"wrote {options.out}: {len(model.graph.node)} nodes")


if __name__ == "__main__":
    main()
