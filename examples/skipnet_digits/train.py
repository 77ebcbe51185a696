#!/usr/bin/env python3
"""Trains a network with skip gates on scikit-learn's digits and writes it as ONNX.

    python examples/skipnet_digits/train.py            # about two minutes on one core; needs torch

Loss: cross-entropy plus a price for every open gate. Every choice was made inside the training part of the stratified split.
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

from examples.digits_logic import data  # noqa: E402
from examples.skipnet_digits.network import SkipNet  # noqa: E402
from examples.training.epochs import run_epochs  # noqa: E402

SHIFTED_SHARE, GATE_PRICE = 0.5, 0.03


def train(images: np.ndarray, labels: np.ndarray, *, seed: int, epochs: int, price: float = GATE_PRICE) -> SkipNet:
    """Train on all the images given; the price of the gates comes in over the first half."""
    torch.manual_seed(seed)
    generator = np.random.default_rng(seed)
    network, loss_of = SkipNet(), nn.CrossEntropyLoss(label_smoothing=0.02)
    moved, opened = images, 0.0

    def prepare() -> None:
        nonlocal moved, opened
        move = generator.random(len(images)) < SHIFTED_SHARE
        moved, opened = np.where(move[:, None], data.shifted(images, generator), images), 0.0

    def priced(rows: np.ndarray, epoch: int) -> Tensor:
        nonlocal opened
        scores, gates = network.gated(torch.from_numpy(moved[rows].astype(np.float32)))
        opened += float(gates.detach().sum())
        now = price * min(1.0, 2 * epoch / epochs)
        return loss_of(scores, torch.from_numpy(labels[rows])) + now * gates.sum(1).mean()

    def note() -> str:
        return f"{opened / len(images):.2f} gates open  "

    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=1e-2)
    sizes = {"samples": len(images), "batch": 64, "epochs": epochs}
    run_epochs(network, optimizer, priced, **sizes, peak=6e-3, generator=generator, prepare=prepare, note=note)
    return network.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=160)
    parser.add_argument("--out", type=Path, default=HERE / "skipnet_digits.onnx", help="file to write")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name, split in (
        ("last fifth, other writers", data.last_fifth()),
        ("stratified fifth", data.stratified_fifth()),
    ):
        network = train(split.train_images, split.train_labels, seed=options.seed, epochs=options.epochs)
        with torch.no_grad():
            scores, gates = network.gated(torch.from_numpy(split.test_images.astype(np.float32)))
        right = float((scores.argmax(1).numpy() == split.test_labels).mean())
        print(f"{name}: {100 * right:.2f} %, {float(gates.sum(1).mean()):.2f} of 4 blocks run, in float32", flush=True)
    sample = torch.from_numpy(split.test_images[:2].astype(np.float32))
    nl.export(network, sample, options.out, name="skipnet_digits", input_names=("pixels",), output_names=("scores",))
    print(f"wrote {options.out}")


if __name__ == "__main__":
    main()
