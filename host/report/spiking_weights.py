"""The report's section about weights: matrices before and after learning, distributions, delays."""

from __future__ import annotations

from html import escape

import numpy as np
from neuroloom.compiler.spiking.recognise import Projection

from . import plots, populations
from .shell import card
from .spiking_facts import Learned, SpikingFacts

MOST_CELLS = 1 << 24
"""Largest matrix of sources times targets that is drawn."""


def plural(count: int, noun: str) -> str:
    """The number with its noun."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def weights(f: SpikingFacts) -> str:
    """The section: matrices, distributions, delays, the course of learning."""
    parts = []
    for p in f.net.projections.values():
        learned = f.learned.get(p.name)
        parts.append(f"<h3>{escape(p.name)}: {escape(p.source)} → {escape(p.target)}</h3>")
        drawn = _matrices(f, p, learned)
        if learned is None:
            drawn.append(_spread(p.weights, populations.colour_of(p), "weight (integers)", "weights"))
        if p.size and p.delay.max() > p.delay.min():
            drawn.append(_spread(p.delay, "#157f8a", "delay (steps)", "delays"))
        parts.append(f'<div class="row">{"".join(drawn)}</div>')
        if learned:
            parts.append(_learning(learned))
    note = "<p class='note'>Colours: weights in integers, grey where there is no synapse.</p>"
    return card("Weights", "".join(parts) + note)


def _matrices(f: SpikingFacts, p: Projection, learned: Learned | None) -> list[str]:
    """The weights as coloured cells; of plastic ones before, after, and the change."""
    rows, columns = f.net.sources[p.source].size, f.net.sources[p.target].size
    if rows * columns > MOST_CELLS:
        return [f"<p>{rows:,} × {columns:,} cells are too many to be drawn.</p>"]
    shown = {"weights": p.weights}
    if learned:
        after = f"after {plural(learned.samples, 'sample')}"
        shown = {"before learning": learned.before, after: learned.after, "change": learned.after - learned.before}
    reach = max(int(np.abs(w).max(initial=1)) for title, w in shown.items() if title != "change")
    present = np.zeros((rows, columns), bool)
    present[p.pre, p.post] = True
    out = []
    for title, values in shown.items():
        cells = np.zeros((rows, columns), np.int64)
        np.add.at(cells, (p.pre, p.post), values)
        most = max(1, int(np.abs(values).max(initial=0))) if title == "change" else reach
        label = {"xlabel": f"target ({p.target})", "ylabel": f"source ({p.source})"}
        out.append(
            f"<div>{plots.matrix(cells, present, most, title=title, **label)}<div>{plots.scale_bar(most)}</div></div>"
        )
    return out


def _spread(values: np.ndarray, colour: str, xlabel: str, what: str) -> str:
    """A histogram, or a line when there is nothing to see."""
    if not len(values) or values.min() == values.max():
        return f"<p>All {len(values):,} {what} are {int(values[0])}.</p>" if len(values) else ""
    return f"<div>{plots.histogram(values, colour, title=f'distribution of {what}', xlabel=xlabel, ylabel='synapses')}</div>"


def _learning(learned: Learned) -> str:
    steps = len(learned.mean)
    lo, hi = float(learned.mean.min()), float(learned.mean.max())
    pad = 0.1 * ((hi - lo) or 1)
    frame = plots.Frame(
        (0, steps),
        (lo - pad, hi + pad),
        xlabel="time step, samples one behind the other",
        ylabel="mean weight",
        size=(700, 190),
        title="course of learning",
        integers=True,
    )
    keep = np.unique(np.linspace(0, steps - 1, min(steps, 1400)).astype(int))
    frame.line(keep + 0.5, learned.mean[keep], populations.LEARNING)
    both = np.concatenate([learned.before, learned.after])
    edges = np.linspace(both.min() - 0.5, both.max() + 0.5, min(40, int(np.ptp(both)) + 2))
    counts = [np.histogram(w, edges)[0] for w in (learned.before, learned.after)]
    top = max(1, max(int(c.max()) for c in counts))
    bars = plots.Frame(
        (float(edges[0]), float(edges[-1])),
        (0, 1.05 * top),
        xlabel="weight (integers)",
        ylabel="synapses",
        size=(560, 190),
        title="distribution before (grey) and after (green)",
    )
    for count, colour in zip(counts, ("#9aa4b1", populations.LEARNING), strict=True):
        bars.line(np.repeat(edges, 2)[1:-1], np.repeat(count, 2), colour, 2)
    return f'<div class="row">{frame.text()}{bars.text()}</div>'
