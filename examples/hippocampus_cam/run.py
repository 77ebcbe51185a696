#!/usr/bin/env python3
"""Writes patterns into the memory, recalls them from fragments, and lets it forget.

python examples/hippocampus_cam/run.py                 # 3 seeds; draws build/hippocampus_cam.png
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

import neuroloom as nl  # noqa: E402
from examples import picture  # noqa: E402
from examples.hippocampus_cam import memory as ca3  # noqa: E402
from examples.on_core import on_core  # noqa: E402

SIZES = (1, 2, 3, 4, 5, 6, 8, 10, 12)
WRONG = (0, 1, 2, 3, 4)
LOADS = (10, 20, 30, 40)
NOISE_STEPS, NOISE_RATE, BLOCKS = 200, 0.02, 10
AGES, BETWEEN = 8, 300
"""Newest patterns that are asked for while 40 are written, and steps of random firing after each of them."""


def measure(seed: int) -> dict[str, np.ndarray]:
    """All curves of one seed: recall quality over fragment size by load, over wrong cells, over random firing, over age."""
    patterns, rng = ca3.make_patterns(max(LOADS), seed), np.random.default_rng([seed, 3])
    memory, fragment, at_load = ca3.Memory(), [], {}
    for count, pattern in enumerate(patterns, 1):
        memory.see(ca3.writing(pattern, rng))
        if count in LOADS:
            at_load[count] = memory.weights
            fragment.append([ca3.recall(memory.weights, patterns[:count], size).quality for size in SIZES])
    wrong = [ca3.recall(at_load[20], patterns[:20], 6, number).quality for number in WRONG]

    fading, few = ca3.Memory(), patterns[:10]
    for pattern in few:
        fading.see(ca3.writing(pattern, rng))
    forgetting = [ca3.recall(fading.weights, few, 6).quality]
    for _ in range(BLOCKS):
        fading.see(ca3.noise(NOISE_STEPS, NOISE_RATE, rng))
        forgetting.append(ca3.recall(fading.weights, few, 6).quality)

    busy, ages = ca3.Memory(), []
    for number, pattern in enumerate(patterns):
        busy.see(ca3.writing(pattern, rng))
        busy.see(ca3.noise(BETWEEN, NOISE_RATE, rng))
        if number >= AGES and number % 2:
            last = patterns[number - AGES + 1 : number + 1][::-1]
            ages.append([ca3.recall(busy.weights, one[None], 6).quality for one in last])
    found = {"fragment": fragment, "wrong": wrong, "forgetting": forgetting, "age": np.mean(ages, axis=0)}
    return {name: np.array(values) for name, values in found.items()}


def draw(mean: dict[str, np.ndarray], path: Path) -> None:
    """Quality over fragment size, over random firing, and over the age of a pattern."""
    figure, (sizes, noise, age) = picture.subplots(1, 3, (10, 3))
    for load, values in zip(LOADS, mean["fragment"], strict=True):
        sizes.plot(SIZES, values, "o-", markersize=3, label=f"{load} patterns")
    sizes.set(xlabel="cells in the fragment (of 12)", ylabel="recall quality", ylim=(-0.03, 1.05))
    sizes.legend(frameon=False)
    noise.plot(NOISE_STEPS * np.arange(BLOCKS + 1), mean["forgetting"], "o-", markersize=3)
    noise.set(xlabel="steps of random firing since writing", ylim=(-0.03, 1.05))
    age.plot(mean["age"], "o-", markersize=3)
    age.set(xlabel="newer patterns written since", ylim=(-0.03, 1.05))
    picture.save(figure, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--picture", type=Path, default=Path("build/hippocampus_cam.png"), help="PNG to write")
    options = parser.parse_args()
    results = [measure(seed) for seed in range(options.seeds)]
    mean = {name: np.mean([r[name] for r in results], axis=0) for name in results[0]}
    print(f"recall quality (1: exactly the pattern), mean of {options.seeds} seeds")
    print("  fragment of   " + "".join(f"{size:7d}" for size in SIZES))
    for load, values in zip(LOADS, mean["fragment"], strict=True):
        print(f"  {load:2d} patterns   " + "".join(f"{v:7.3f}" for v in values))
    print(
        "  6 of 12 and wrong cells (20 patterns): "
        + ", ".join(f"{n}: {v:.3f}" for n, v in zip(WRONG, mean["wrong"], strict=True))
    )
    shown = ", ".join(f"{NOISE_STEPS * n}: {v:.3f}" for n, v in enumerate(mean["forgetting"]))
    print(f"  steps of random firing (10 patterns, fragment of 6): {shown}")
    ages = ", ".join(f"{n}: {v:.3f}" for n, v in enumerate(mean["age"]))
    print(f"  newer patterns since, {BETWEEN} steps of random firing after each: {ages}")
    patterns, rng = ca3.make_patterns(1, 0), np.random.default_rng(0)
    part = np.concatenate([ca3.writing(patterns[0], rng, 6), ca3.noise(100, NOISE_RATE, rng)])
    print(on_core(nl.compile(ca3.network()), {"mossy": part}))
    draw(mean, options.picture)


if __name__ == "__main__":
    main()
