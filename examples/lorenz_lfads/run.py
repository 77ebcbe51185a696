#!/usr/bin/env python3
"""Infers firing rates in fixed point, compares them with the truth and with float32, and draws a picture.

python examples/lorenz_lfads/run.py            # half a minute; draws build/lorenz_lfads.png
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

from neuroloom.host.accuracy import run_source  # noqa: E402

from examples.lorenz_lfads import data  # noqa: E402
from examples.lorenz_lfads.compiled import FILE, compiled, cycles, rates  # noqa: E402
from examples.picture import save, subplots  # noqa: E402

WIDTHS = ((16, 16), (16, 8), (12, 8), (10, 6), (8, 6))
"""Bits of activations and of weights."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--picture", type=Path, default=Path("build/lorenz_lfads.png"))
    options = parser.parse_args()
    training, test = data.make()
    real = run_source(FILE, {"counts": test.counts})["rates"]
    print(
        f"float32 (onnxruntime): R² of log rates {data.r_squared(test.rates, real):.4f} on {len(test.counts)} test trials"
    )
    shown = None
    for bits, weight_bits in WIDTHS:
        model = compiled(training, bits=bits, weight_bits=weight_bits)
        found = rates(model, test.counts)
        shown = found if shown is None else shown
        print(
            f"{bits:2d}-bit activations, {weight_bits:2d}-bit weights: R² {data.r_squared(test.rates, found):.4f}, "
            f"largest difference to float32 {abs(found - real).max():.4f} spikes per bin; {cycles(model):,} cycles on 128 lanes"
        )
    assert shown is not None
    figure, axes = subplots(1, 3, (11, 3.2))
    trial = 5
    axes[0].imshow(test.counts[trial].T, aspect="auto", cmap="Greys", interpolation="nearest")
    axes[0].set(title="spikes of one trial", xlabel="bin of 10 ms", ylabel="neuron")
    axes[1].imshow(shown[trial].T, aspect="auto", cmap="viridis", interpolation="nearest")
    axes[1].set(title="rates inferred in fixed point", xlabel="bin of 10 ms")
    for neuron, colour in ((3, "C0"), (21, "C1"), (40, "C2")):
        axes[2].plot(test.rates[trial, :, neuron], colour, linestyle="--", linewidth=1)
        axes[2].plot(shown[trial, :, neuron], colour, linewidth=1.5)
    axes[2].set(title="true (dashed) and inferred", xlabel="bin of 10 ms", ylabel="spikes per bin")
    save(figure, options.picture)


if __name__ == "__main__":
    main()
