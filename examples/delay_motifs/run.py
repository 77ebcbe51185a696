#!/usr/bin/env python3
"""Finds timed motifs in noise with learnt delays, beside the same network with all delays equal.

python examples/delay_motifs/run.py                 # 5 seeds; draws build/delay_motifs.png
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
from examples.delay_motifs import motifs as task  # noqa: E402
from examples.on_core import on_core  # noqa: E402

JITTERS = (0.0, 1.0, 2.0, 3.0)
TRAINING, TEST = 100, 200
"""Seeds of the streams, added to the motifs' seed."""


def measure(seed: int) -> dict[str, list[task.Score]]:
    """Scores on test streams of all jitters by network; both are tuned on a training stream with jitter 1."""
    motifs = task.make_motifs(seed)
    training = task.make_stream(motifs, TRAINING + seed, shown=40)
    out = {}
    for name, delays in (("own delays", task.learn_delays(motifs, seed)), ("equal delays", np.zeros((32, 4), int))):
        threshold, leak = task.tune(delays, training)
        streams = [task.make_stream(motifs, TEST + seed, jitter=jitter) for jitter in JITTERS]
        out[name] = [task.detect(delays, stream, threshold, leak) for stream in streams]
        print(f"seed {seed}, {name}: threshold {threshold}, keeps {leak} per step", flush=True)
    return out


def draw(results: list[dict[str, list[task.Score]]], path: Path) -> None:
    """A piece of a stream with both sides of the delays, and F1 over jitter."""
    figure, (raw, lined, curve) = picture.subplots(1, 3, (10, 3))
    motifs = task.make_motifs(0)
    stream, delays = task.make_stream(motifs, TEST), task.learn_delays(motifs, 0)
    first, last = int(stream.end[0]) - task.SPAN - 5, int(stream.end[0]) + 15
    step, channel = np.nonzero(stream.spikes[first:last])
    raw.plot(step, channel, "k.", markersize=3)
    raw.set(title=f"motif {stream.which[0]} in noise", xlabel="step", ylabel="channel", xlim=(0, last - first))
    later = step + delays[channel, stream.which[0]]
    lined.plot(later, channel, "k.", markersize=3)
    lined.set(title="behind its detector's delays", xlabel="step", xlim=(0, last - first))
    for name in results[0]:
        values = np.array([[s.f1 for s in result[name]] for result in results])
        curve.plot(JITTERS, values.mean(0), "o-", label=name)
    curve.axhline(0.4, color="grey", linestyle=":", label="every detector at every motif")
    curve.set(xlabel="jitter of the spikes (steps)", ylabel="F1 (mean of the seeds)", ylim=(0, 1.05))
    curve.legend(frameon=False)
    picture.save(figure, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--picture", type=Path, default=Path("build/delay_motifs.png"), help="PNG to write")
    options = parser.parse_args()
    results = [measure(seed) for seed in range(options.seeds)]
    print(f"test streams of 100 motifs, mean of {options.seeds} seeds (worst F1)")
    for name in results[0]:
        for number, jitter in enumerate(JITTERS):
            scores = [result[name][number] for result in results]
            recall, precision, f1 = (
                np.mean([getattr(s, key) for s in scores]) for key in ("recall", "precision", "f1")
            )
            worst = min(s.f1 for s in scores)
            print(
                f"  {name:13s} jitter {jitter:.0f}: recall {recall:.3f}  precision {precision:.3f}  F1 {f1:.3f} ({worst:.3f})"
            )
    motifs = task.make_motifs(0)
    stream = task.make_stream(motifs, TEST, shown=4)
    print(
        on_core(
            nl.compile(task.network(task.learn_delays(motifs, 0), 288, 0.85)), {"channels": stream.spikes}, "icebreaker"
        )
    )
    draw(results, options.picture)


if __name__ == "__main__":
    main()
