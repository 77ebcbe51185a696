#!/usr/bin/env python3
"""Trains two experts and their router on the sunspots of 1700-1920 and writes them as ONNX.

    python examples/experts_sunspots/train.py            # about a minute on one core; needs torch and statsmodels

Loss: the mixture's negative log likelihood (Jacobs, Jordan, Nowlan, Hinton 1991), which makes the experts divide the work, and a
term that keeps both in use. The number of epochs was chosen on the last 40 years of the training part; the test years decide
nothing.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch

import neuroloom as nl

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

from examples.experts_sunspots import data  # noqa: E402
from examples.experts_sunspots.network import Experts  # noqa: E402

NOISE, BALANCE, DEVIATION = 0.02, 0.05, 0.08


def train(part: data.Part, *, seed: int, epochs: int) -> Experts:
    """Train on all the windows given, with noise on them."""
    torch.manual_seed(seed)
    network = Experts()
    windows, targets = torch.from_numpy(part.windows), torch.from_numpy(part.targets)[:, None]
    optimizer = torch.optim.AdamW(network.parameters(), lr=4e-3, weight_decay=3e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for epoch in range(epochs):
        found, shares = network.both(windows + NOISE * torch.randn_like(windows))
        likelihood = torch.logsumexp(shares.log() - (found - targets) ** 2 / (2 * DEVIATION**2), dim=1)
        use = shares.mean(0)
        loss = -likelihood.mean() + BALANCE * (2 * (use**2).sum() - 1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if (epoch + 1) % 200 == 0:
            print(
                f"epoch {epoch + 1:4d}/{epochs}  loss {float(loss.detach()):.4f}  GRU {100 * float(use[0].detach()):.0f} %",
                flush=True,
            )
    return network.eval()


def predict(network: Experts, windows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Predictions under top-1 routing, and which expert made them, [N] each."""
    with torch.no_grad():
        found, shares = network.both(torch.from_numpy(windows))
        chosen = shares.argmax(1)
        return found.gather(1, chosen[:, None])[:, 0].numpy(), chosen.numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=1200)
    parser.add_argument(
        "--held-out", action="store_true", help="train on the years before 1881, report 1881-1920, write nothing"
    )
    parser.add_argument("--out", type=Path, default=HERE / "experts_sunspots.onnx", help="file to write")
    options = parser.parse_args()
    torch.set_num_threads(1)
    last = 1880 if options.held_out else data.TRAINING[1]
    network = train(data.part(data.TRAINING[0], last), seed=options.seed, epochs=options.epochs)
    for first, end in ((1881, 1920),) if options.held_out else (data.TRAINING, *data.TESTS):
        part = data.part(first, end)
        found, chosen = predict(network, part.windows)
        same = data.relative_variance(part.targets, part.windows[:, -1])
        reached = data.relative_variance(part.targets, found)
        print(
            f"{first}-{end}: relative variance {reached:.4f} (last year's number again: {same:.4f}), "
            f"GRU for {int((chosen == 0).sum())} of {len(chosen)} years"
        )
    if options.held_out:
        return
    sample = torch.from_numpy(data.part(*data.TRAINING).windows[:1])
    nl.export(
        *(network, sample, options.out),
        name="experts_sunspots",
        dynamic_batch=False,
        input_names=("window",),
        output_names=("next",),
    )
    print(f"wrote {options.out}")


if __name__ == "__main__":
    main()
