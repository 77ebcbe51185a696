#!/usr/bin/env python3
"""Trains an LFADS network on spikes of a Lorenz system and writes it as ONNX.

    python examples/lorenz_lfads/train.py            # about 6 min on one core; needs torch

Loss: Poisson likelihood of the counts plus the divergence of the initial state's posterior, faded in. Same seed, same machine:
same network. The test trials decide nothing.
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

from examples.lorenz_lfads import data  # noqa: E402
from examples.lorenz_lfads.network import Lfads  # noqa: E402
from examples.training.epochs import run_epochs  # noqa: E402

BATCH, DIVERGENCE_WEIGHT = 65, 0.1


def train(counts: np.ndarray, *, seed: int, epochs: int) -> Lfads:
    """Train on the counts given."""
    torch.manual_seed(seed)
    generator = np.random.default_rng(seed)
    network, x = Lfads(), torch.from_numpy(counts.astype(np.float32))
    likelihood = nn.PoissonNLLLoss(log_input=True, reduction="none")

    def bound(rows: np.ndarray, epoch: int) -> Tensor:
        log_rates, divergence = network.sampled(x[rows])
        faded = min(1.0, 3 * epoch / epochs)
        return likelihood(log_rates, x[rows]).sum((1, 2)).mean() + DIVERGENCE_WEIGHT * faded * divergence.mean()

    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2, eps=1e-4)
    sizes = {"samples": len(counts), "batch": BATCH, "epochs": epochs}
    run_epochs(network, optimizer, bound, **sizes, peak=1e-2, generator=generator, clip=200.0, every=10)
    return network.eval()


def rates(network: Lfads, counts: np.ndarray) -> np.ndarray:
    """Inferred rates, float64, spikes per bin."""
    with torch.no_grad():
        return network(torch.from_numpy(counts.astype(np.float32))).double().numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=120)
    parser.add_argument("--out", type=Path, default=HERE / "lorenz_lfads.onnx", help="file to write")
    options = parser.parse_args()
    torch.set_num_threads(1)
    training, test = data.make()
    network = train(training.counts, seed=options.seed, epochs=options.epochs)
    for name, trials in (("training trials", training), ("test trials", test)):
        found = data.r_squared(trials.rates, rates(network, trials.counts))
        print(f"{name}: R² of log rates {found:.4f} in float32", flush=True)
    sample = torch.from_numpy(test.counts[:2].astype(np.float32))
    nl.export(network, sample, options.out, name="lorenz_lfads", input_names=("counts",), output_names=("rates",))
    print(f"wrote {options.out}")


if __name__ == "__main__":
    main()
