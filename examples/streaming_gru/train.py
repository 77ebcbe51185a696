#!/usr/bin/env python3
"""Trains a causal decoder of the Lorenz system's coordinates from spikes and writes one step of it as ONNX.

    python examples/streaming_gru/train.py            # about two minutes on one core; needs torch

The data are those of ``examples/lorenz_lfads``. The decoder sees the past alone. Same seed, same machine: same network. The test
trials decide nothing.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

import neuroloom as nl

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

from examples.lorenz_lfads import data  # noqa: E402
from examples.streaming_gru.network import UNITS, Decoder  # noqa: E402
from examples.streaming_gru.score import SETTLING, r_squared  # noqa: E402

BATCH = 65


def train(trials: data.Trials, *, seed: int, epochs: int) -> Decoder:
    """Train on the trials given; the first ten bins, in which nobody can know much, do not count."""
    torch.manual_seed(seed)
    generator = np.random.default_rng(seed)
    network = Decoder()
    x, y = (torch.from_numpy(a.astype(np.float32)) for a in (trials.counts, trials.path))
    optimizer = torch.optim.AdamW(network.parameters(), lr=5e-3, weight_decay=1e-2)
    batches = -(-len(x) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 8e-3, total_steps=epochs * batches)
    for epoch in range(epochs):
        started, total = time.perf_counter(), 0.0
        for part in np.array_split(generator.permutation(len(x)), batches):
            found = network.over_time(x[part])
            loss = ((found - y[part])[:, SETTLING:] ** 2).mean()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 5.0)
            optimizer.step()
            schedule.step()
            total += float(loss.detach()) * len(part)
        if (epoch + 1) % 5 == 0 or epoch == 0:
            seconds = time.perf_counter() - started
            print(f"epoch {epoch + 1:3d}/{epochs}  loss {total / len(x):.4f}  {seconds:.1f} s", flush=True)
    return network.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--out", type=Path, default=HERE / "streaming_gru.onnx", help="file to write")
    options = parser.parse_args()
    torch.set_num_threads(1)
    training, test = data.make()
    network = train(training, seed=options.seed, epochs=options.epochs)
    for name, trials in (("training trials", training), ("test trials", test)):
        with torch.no_grad():
            found = network.over_time(torch.from_numpy(trials.counts.astype(np.float32))).numpy()
        print(f"{name}: R² of the coordinates {r_squared(trials.path, found):.4f} in float32", flush=True)
    sample = torch.from_numpy(test.counts[:2, 0].astype(np.float32)), torch.zeros(2, UNITS)
    names = {"input_names": ("counts", "state"), "output_names": ("coordinates", "new_state")}
    nl.export(network, sample, options.out, name="streaming_gru", **names)
    print(f"wrote {options.out}")


if __name__ == "__main__":
    main()
