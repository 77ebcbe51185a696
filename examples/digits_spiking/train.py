#!/usr/bin/env python3
"""Trains a spiking network on scikit-learn's digits with snnTorch and compiles it.

    python examples/digits_spiking/train.py            # trains, reports both test parts, writes digits_spiking.npz

64 input channels with evenly spaced spikes at a rate of pixel / 16 over 20 steps, 128 and 10 Leaky neurons (reset by
subtraction, delayed as snnTorch's default); the class is the output that spikes most, of equals the one with the lower
number. Every choice was made inside the training part of the stratified split. Same seed, same machine: same network.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch
from neuroloom.compiler.frontends.snntorch import import_snntorch
from sklearn.model_selection import StratifiedKFold
from torch import Tensor, nn

import neuroloom as nl

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

from examples.digits_logic import data  # noqa: E402
from examples.digits_spiking.network import SpikingDigits, encode  # noqa: E402

SHIFTED_SHARE = 0.6


def train(images: np.ndarray, labels: np.ndarray, *, seed: int, epochs: int) -> SpikingDigits:
    """Train on all the images given: cross-entropy of the output spike counts, surrogate gradients (fast sigmoid)."""
    torch.manual_seed(seed)
    generator = np.random.default_rng(seed)
    network = SpikingDigits()
    optimizer = torch.optim.AdamW(network.parameters(), lr=4e-3, weight_decay=1e-2)
    batches = -(-len(images) // 64)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 8e-3, total_steps=epochs * batches)
    loss_of = nn.CrossEntropyLoss(label_smoothing=0.05)
    for epoch in range(epochs):
        started, total = time.perf_counter(), 0.0
        move = generator.random(len(images)) < SHIFTED_SHARE
        moved = np.where(move[:, None], data.shifted(images, generator), images)
        for part in np.array_split(generator.permutation(len(images)), batches):
            spikes, _ = network(torch.from_numpy(encode(moved[part]).astype(np.float32)))
            counts = spikes.sum(1)
            loss = loss_of(counts / 2, torch.from_numpy(labels[part]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += float(loss.detach()) * len(part)
        if (epoch + 1) % 10 == 0 or epoch == 0:
            seconds = time.perf_counter() - started
            print(f"epoch {epoch + 1:3d}/{epochs}  loss {total / len(images):.4f}  {seconds:.1f} s", flush=True)
    return network.eval()


def classes(network: SpikingDigits, images: np.ndarray) -> np.ndarray:
    """Class of every image, int64 [images]."""
    with torch.no_grad():
        spikes, _ = network(torch.from_numpy(encode(images).astype(np.float32)))
    counts: Tensor = spikes.sum(1)
    return counts.numpy().argmax(1)


def compiled(network: SpikingDigits, *, margin: int = 2, weight_bits: int = 8) -> nl.Model:
    """The network in integers, with an early decision: the leading output is ``margin`` spikes ahead."""
    sample = torch.from_numpy(encode(np.full((1, 64), 8, np.uint8)).astype(np.float32))
    described = import_snntorch(network, sample=sample, weight_bits=weight_bits).network
    described.decide("last", margin=margin)
    return nl.compile(described, weight_bits=weight_bits)


def folds(seed: int, epochs: int) -> None:
    """Five networks, each tested on the fifth of the training part that it has not seen."""
    split = data.stratified_fifth()
    images, labels, shares = split.train_images, split.train_labels, []
    parts = StratifiedKFold(5, shuffle=True, random_state=0).split(images, labels)
    for number, (inside, outside) in enumerate(parts, 1):
        network = train(images[inside], labels[inside], seed=seed, epochs=epochs)
        shares.append(float((classes(network, images[outside]) == labels[outside]).mean()))
        print(f"fold {number}: {100 * shares[-1]:.2f} %", flush=True)
    print(f"five-fold mean: {100 * np.mean(shares):.2f} %")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--folds", action="store_true", help="five-fold cross-validation inside the training part")
    parser.add_argument("--out", type=Path, default=HERE / "digits_spiking.npz", help="file to write")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.folds:
        folds(options.seed, options.epochs)
        return
    for name, split in (
        ("last fifth, other writers", data.last_fifth()),
        ("stratified fifth", data.stratified_fifth()),
    ):
        network = train(split.train_images, split.train_labels, seed=options.seed, epochs=options.epochs)
        right = int((classes(network, split.test_images) == split.test_labels).sum())
        total = len(split.test_labels)
        print(f"{name}: {right}/{total} = {100 * right / total:.2f} % in float32", flush=True)
    network.save(options.out)
    compiled(network).save(options.out.with_suffix(".nloom"))
    print(f"wrote {options.out} and {options.out.with_suffix('.nloom')}")


if __name__ == "__main__":
    main()
