"""The networks that are measured: random ones from a seed, and the trained ones of the examples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from neuroloom.compiler.frontends.export import LogicModelWriter

from bench.record import ROOT

PIXELS = 784
GATES = np.array([1, 2, 4, 6, 7, 8, 9, 11, 13, 14], np.uint64)
"""The ten functions of two inputs that depend on both."""

TRAINED = {
    "mnist_small": ROOT / "examples" / "mnist_logic" / "mnist_small.onnx",
    "mnist_gates48k": ROOT / "examples" / "mnist_logic" / "mnist_gates48k.onnx",
    "mnist_conv": ROOT / "examples" / "mnist_logic" / "mnist_conv.onnx",
    "digits": ROOT / "examples" / "digits_logic" / "digits_logic.onnx",
}


BOUNDS = {"digits": (0, 16)}
"""Integers that the pixels of a network really are, as its example says; others take all of their type."""


def trained() -> dict[str, Path]:
    """The trained networks whose files are there, by name."""
    return {name: path for name, path in TRAINED.items() if path.exists()}


def images(count: int, seed: int) -> np.ndarray:
    """Random images uint8 [count, 784]; a spatial network's speed does not depend on the data."""
    return np.random.default_rng(seed).integers(0, 256, (count, PIXELS), dtype=np.uint8)


def random_onnx(path: Path, layers: int, width: int, seed: int, *, classes: int = 10, levels: int = 3) -> Path:
    """Write a random network of ``layers`` layers of ``width`` two-input gates on 784 bytes; every gate needs both inputs.

    Wiring as in difflogic: each layer reads every wire below it before it reads one again, so no gate is trivially dead.
    """
    rng = np.random.default_rng(seed)
    writer = LogicModelWriter(path.stem)
    x = writer.input("image", (PIXELS,), "uint8")
    h = writer.thermometer(x, np.tile(np.linspace(64, 192, levels).astype(np.int64), (PIXELS, 1)), name="encoder")
    for number in range(layers):
        count = h.shape[-1]
        draws = -(-2 * width // count)
        wires = np.concatenate([rng.permutation(count) for _ in range(draws)])[: 2 * width]
        indices = rng.permutation(wires).reshape(width, 2)
        tables = rng.choice(GATES, width)
        truth = (tables[:, None] >> np.arange(4, dtype=np.uint64) & np.uint64(1)).astype(bool)
        h = writer.lookup_table(h, indices.astype(np.int32), truth, name=f"layer{number + 1}")
    h = writer.group_sum(h, classes, name="sum")
    writer.output(writer.argmax(h, name="class"), "label")
    return writer.save(path)
