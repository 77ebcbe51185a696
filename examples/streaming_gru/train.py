#!/usr/bin/env python3
"""Trains a causal decoder of the Lorenz system's coordinates from spikes and writes one step of it as ONNX.

    python examples/streaming_gru/train.py            # about two minutes on one core; needs torch

The data are those of ``examples/lorenz_lfads``. The decoder sees the past alone. Same seed, same machine: same network. The test
trials decide nothing.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import neuroloom as nl

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

from examples.lorenz_lfads import data  # noqa: E402
from examples.streaming_gru.network import UNITS, Decoder  # noqa: E402
from examples.streaming_gru.score import SETTLING, r_squared  # noqa: E402
from examples.training.epochs import run_epochs  # noqa: E402

BATCH = 65


def train(trials: data.Trials, *, seed: int, epochs: int) -> Decoder:
    """Train on the trials given; the first ten bins, in which nobody can know much, do not count."""
    torch.manual_seed(seed)
    generator = np.random.default_rng(seed)
    network = Decoder()
    x, y = (torch.from_numpy(a.astype(np.float32)) for a in (trials.counts, trials.path))

    def squared(rows: np.ndarray, epoch: int) -> Tensor:
        return ((network.over_time(x[rows]) - y[rows])[:, SETTLING:] ** 2).mean()

    optimizer = torch.optim.AdamW(network.parameters(), lr=5e-3, weight_decay=1e-2)
    sizes = {"samples": len(x), "batch": BATCH, "epochs": epochs}
    run_epochs(network, optimizer, squared, **sizes, peak=8e-3, generator=generator, clip=5.0, every=5)
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
