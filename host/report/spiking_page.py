"""The report about a spiking network: what is known becomes a section, what is not is left out and said so."""

from __future__ import annotations

from collections.abc import Callable
from html import escape

import numpy as np
from neuroloom.compiler.ir.file import graph_hash
from neuroloom.host.accuracy import confusion
from neuroloom.host.look.energy import CONSTANTS, REFERENCE
from neuroloom.host.look.network import network_facts, population_rows, projection_rows, span

from . import plots, populations, svg
from .shell import card, document, table
from .spiking_facts import SpikingFacts
from .spiking_weights import plural, weights

Section = Callable[[SpikingFacts], str]


def render_spiking(facts: SpikingFacts) -> str:
    """The page as HTML text; the same facts give the same bytes."""
    return document(facts.model.graph.name, "".join(section(facts) for section in SECTIONS))


def colours(f: SpikingFacts) -> dict[str, str]:
    """A colour for every source: inputs grey, populations from the palette."""
    found = dict.fromkeys(f.net.inputs, "#6b7686")
    return found | {name: plots.PALETTE[k % len(plots.PALETTE)] for k, name in enumerate(f.net.populations)}


def _time(f: SpikingFacts) -> str:
    return "time step" if f.dt is None else f"time step (1 step = {1e3 * f.dt:g} ms)"


def _heading(f: SpikingFacts) -> str:
    graph, totals = f.model.graph, network_facts(f.net)
    tiles = []
    if f.scores:
        s = f.scores["graph"]
        tiles.append((f"{100 * s.accuracy:.2f} %", f"accuracy, {s.correct:,} of {s.count:,}"))
    tiles.append((f"{totals['neurons']:,}", "neurons in " + plural(len(f.net.populations), "population")))
    plastic = f", {totals['plastic_synapses']:,} learn" if totals["plastic_synapses"] else ""
    tiles.append((f"{totals['synapses']:,}", f"synapses{plastic}"))
    if f.activity:
        inner = sum(int(f.activity.spikes[n].sum()) for n in f.net.populations) / f.activity.samples
        tiles.append((f"{inner:,.0f}", f"spikes per sample of {f.activity.steps} steps"))
        tiles.append((f"{f.activity.operations_per_step:,.0f}", "synaptic operations per step"))
    if f.timing:
        what = "steps to the decision" if f.timing.decided is not None else "steps until the answer stands"
        tiles.append((f"{f.timing.steps.mean():.1f}", f"{what}, of {f.timing.of}"))
    for core in [c for c in f.cores if c.fits][:1]:
        tiles.append((f"{core.worst_steps_per_s:,.0f}", f"steps/s at worst on {escape(core.board)}"))
    if f.energy:
        tiles.append((f"{f.energy.total_pj / 1e3:,.1f} nJ", "per sample, estimated (see below)"))
    shown = "".join(f'<div class="tile"><b>{b}</b><span>{t}</span></div>' for b, t in tiles)
    source = graph.records.get("source", {})
    origin = f"from {escape(str(source.get('file', '')))} · " if isinstance(source, dict) and source.get("file") else ""
    return (
        f'<h1>{escape(graph.name)}</h1><div class="sub">{origin}SHA-256 of the graph <code>{graph_hash(graph).hex()}</code></div>'
        f'<div class="tiles">{shown}</div>'
    )


def _network(f: SpikingFacts) -> str:
    pops = [
        [
            f"<b>{escape(r.name)}</b>",
            f"{r.neurons:,}",
            escape(r.model),
            escape(r.threshold),
            escape(r.details),
            f"{r.state_bits}" if r.state_bits else "",
        ]
        for r in population_rows(f.net)
    ]
    projections = [
        [
            escape(r.name),
            f"{escape(r.source)} → {escape(r.target)}",
            f"{r.synapses:,}",
            f"{100 * r.density:.3g} %",
            f"{r.weight_bits}",
            span(r.weights),
            span(r.delays),
            escape(r.learning),
        ]
        for r in projection_rows(f.net)
    ]
    body = plots.legend({k: v for k, v in populations.COLOURS.items() if v in _arrow_colours(f)})
    body += f"{populations.drawing(f.net)}<p class='note'>Arrows carry the number of synapses; thick frames are outputs.</p>"
    body += "<h3>Populations</h3>" + table(["name", ">neurons", "model", "threshold", "neuron", ">state bits"], pops)
    head = ["name", "from → to", ">synapses", ">density", ">weight bits", ">weights", ">delay (steps)", "learning"]
    return card("Network", body + "<h3>Projections</h3>" + table(head, projections))


def _arrow_colours(f: SpikingFacts) -> set[str]:
    return {populations.colour_of(p) for p in f.net.projections.values()}


def _raster(f: SpikingFacts) -> str:
    if f.activity is None:
        how = "<code>-i X</code> (and <code>--labels Y</code>) shows spikes, membranes, learning, accuracy and cycles"
        return card("Activity", f"no samples were given; {how}")
    tint = colours(f)
    answer = ""
    if f.labels is not None:
        answer = f": class {int(f.labels[0])}, answer {int(f.scores['graph'].classes[0])}"
    body = plots.legend(tint) + plots.raster(f.spikes, tint, _time(f))
    operations = sum(o[0] for o in f.activity.operations.values())
    if isinstance(operations, np.ndarray):
        steps = len(operations)
        frame = plots.Frame(
            (0, steps),
            (0, max(1.0, 1.05 * operations.max())),
            xlabel=_time(f),
            ylabel="operations",
            size=(940, 170),
            title="synaptic operations per step",
            integers=True,
        )
        frame.line(np.arange(steps) + 0.5, operations, "#3d4653")
        body += frame.text()
    return card(f"Spikes of the first sample{answer}", body)


def _membranes(f: SpikingFacts) -> str:
    parts = []
    for name, m in f.membranes.items():
        reach = [m.values.min(), m.values.max(), *(m.threshold if m.threshold is not None else [])]
        lo, hi = float(min(reach)), float(max(reach))
        pad = 0.08 * ((hi - lo) or 1)
        steps = len(m.values)
        frame = plots.Frame(
            (0, steps),
            (lo - pad, hi + 2 * pad),
            xlabel=_time(f),
            ylabel=m.unit,
            title=f"membranes of {name}",
            size=(940, 230),
            integers=True,
        )
        tint = {f"neuron {k}": plots.PALETTE[c % len(plots.PALETTE)] for c, k in enumerate(m.index)}
        if m.threshold is not None and len(set(m.threshold.tolist())) == 1:
            frame.level(float(m.threshold[0]), "#b03a5b", "threshold at rest" if m.adaptive else "threshold")
        for column, colour in enumerate(tint.values()):
            frame.line(np.arange(steps) + 0.5, m.values[:, column], colour)
            for t in np.flatnonzero(m.spikes[:, column]).tolist():
                x = frame.px(t + 0.5)
                frame.add(f'<path d="M{x:.1f},{frame.top + 2 + 5 * column}v7" stroke="{colour}" stroke-width="2"/>')
        parts.append(frame.text() + plots.legend(tint))
    note = "<p class='note'>After the step, as recorded; marks at the top are spikes.</p>"
    return card("Membranes of the first sample", "".join(parts) + note) if parts else ""


def _rates(f: SpikingFacts) -> str:
    if f.activity is None:
        return ""
    parts = []
    unit, scale = ("Hz", 1 / f.dt) if f.dt else ("spikes per step", 1.0)
    for name, colour in colours(f).items():
        rate = f.activity.spikes[name].sum(axis=0) / (f.activity.samples * f.activity.steps) * scale
        silent = int((rate == 0).sum())
        title = f"{name}: mean {rate.mean():.3g} {unit}" + (f", {silent} silent" if silent else "")
        parts.append(plots.histogram(rate, colour, title=title, xlabel=f"firing rate ({unit})", ylabel="neurons"))
    what = f"over {plural(f.activity.samples, 'sample')} of {f.activity.steps} steps"
    return card(f"Firing rates {what}", f'<div class="row">{"".join(parts)}</div>')


def _accuracy(f: SpikingFacts) -> str:
    if not f.scores or f.labels is None or f.reading is None:
        return ""
    rows = [[escape(k), f"{100 * s.accuracy:.2f} %", f"{s.correct:,} / {s.count:,}"] for k, s in f.scores.items()]
    words = f"<p>Class: {escape(f.reading.text())}. " + (
        f"{escape(f.timing.text().capitalize())}.</p>" if f.timing else "</p>"
    )
    matrix = confusion(f.scores["graph"].classes, f.labels)
    drawing = svg.heatmap(matrix) if len(matrix) <= 100 else ""
    right = _early(f)
    if f.timing:
        decided = "steps to the decision" if f.timing.decided is not None else "steps until the answer stands"
        right += plots.histogram(f.timing.steps, "#5b7fae", title=decided, ylabel="samples", xlabel="steps")
    left = f'<div>{drawing}<div class="sub">rows: true class, columns: answer</div></div>'
    table_of = table(["rung", ">accuracy", ">correct"], rows)
    return card("Accuracy", f'{table_of}{words}<div class="row">{left}<div style="max-width:480px">{right}</div></div>')


def _early(f: SpikingFacts) -> str:
    if not f.early or f.timing is None:
        return ""
    xs, ys = [r.steps for r in f.early], [100 * r.accuracy for r in f.early]
    low = min(ys)
    frame = plots.Frame(
        (0, f.timing.of),
        (max(0.0, low - 5), 101),
        xlabel="mean steps to the decision",
        ylabel="accuracy (%)",
        size=(460, 220),
        title="early decision by a margin of spikes (at the points)",
    )
    frame.line(xs, ys, "#5b7fae")
    for row, x, y in zip(f.early, xs, ys, strict=True):
        at, high, text = frame.px(x), frame.py(y), row.margin or "all"
        frame.add(
            f'<circle cx="{at:.1f}" cy="{high:.1f}" r="4" fill="#2f6db5"/>'
            f'<text x="{at:.1f}" y="{high + 18:.1f}" font-size="11" text-anchor="middle">{text}</text>'
        )
    return frame.text()


def _cores(f: SpikingFacts) -> str:
    rows: list[list[str]] = []
    refused: dict[str, str] = {}
    for c in f.cores:
        if c.fits:
            share = 100 * c.pool_used / c.pool_words
            rows.append(
                [
                    escape(c.board),
                    escape(c.profile),
                    f"{c.pool_used:,} of {c.pool_words:,} ({share:.0f} %)",
                    f"{c.program_used:,} of {c.program_words:,}",
                    f"{c.idle_cycles:,}",
                    f"{c.worst_cycles:,}",
                    f"{c.idle_steps_per_s:,.0f}",
                    f"{c.worst_steps_per_s:,.0f}",
                    f"{c.clock_hz / 1e6:g} MHz",
                ]
            )
        else:
            refused.setdefault(c.refusal, f"{c.board} {c.profile}")
    head = [
        "board",
        "core",
        ">memory words",
        ">program words",
        ">cycles idle",
        ">worst",
        ">steps/s idle",
        ">worst",
        ">clock",
    ]
    body = table(head, rows) if rows else "<p>No board's core holds this network.</p>"
    body += "<p class='note'>Idle: no spikes. Worst: every neuron and input spikes in every step. Steps/s with spikes on chip.</p>"
    for name, cycles in f.cycles.items():
        core = next(c for c in f.cores if f"{c.board} {c.profile}" == name)
        assert core.idle_cycles is not None and core.worst_cycles is not None
        frame = plots.Frame(
            (0, len(cycles)),
            (0, 1.1 * max(core.worst_cycles, int(cycles.max()))),
            xlabel=_time(f),
            ylabel="cycles",
            size=(940, 190),
            title=f"cycles per step of the first sample on {name}: {cycles.mean():,.0f} on average",
            integers=True,
        )
        frame.level(core.worst_cycles, "#b03a5b", f"worst {core.worst_cycles:,}")
        frame.level(core.idle_cycles, "#2f8f5b", f"idle {core.idle_cycles:,}")
        frame.line(np.repeat(np.arange(len(cycles) + 1), 2)[1:-1], np.repeat(cycles, 2), "#2f6db5")
        body += frame.text()
    for sentence, where in refused.items():
        body += f"<p class='note'>Not on {escape(where)}: {escape(sentence)}.</p>"
    return card("On a board's spiking core", body)


def _energy(f: SpikingFacts) -> str:
    if f.activity is None or f.energy is None:
        return ""
    e, a = f.energy, f.activity
    rows = [
        [
            escape(name),
            f"{o.sum() / a.samples:,.1f}",
            f"{o.mean():,.1f}",
            f"{e.bit_budget[name]:,}",
            f"{e.bit_operations[name] / a.samples:,.0f}",
        ]
        for name, o in a.operations.items()
    ]
    head = ["projection", ">synaptic operations per sample", ">per step", ">Bit Budget", ">bit operations per sample"]
    parts = (
        ("additions of synapses", e.synapses_pj),
        ("reads of weights", e.weights_pj),
        ("neurons", e.neurons_pj),
        ("their states", e.states_pj),
    )
    total = e.total_pj or 1.0
    bars = svg.bars([(k, v, total, f"{v / 1e3:,.2f} nJ ({100 * v / total:.0f} %)") for k, v in parts])
    assumed = [[escape(c.name), f"{c.value:.3g} {escape(c.unit)}", escape(c.source)] for c in CONSTANTS.values()]
    return card(
        "Synaptic operations, bits, energy",
        f"{table(head, rows)}<p class='note'>Bit Budget: weight bits × 1 activation bit × steps per synapse; an 8-bit network "
        f"without time has 64.</p><h3>Energy estimate: {e.total_pj / 1e3:,.2f} nJ per sample</h3>{bars}<p>Arithmetic and memory "
        f"alone, learning not counted; an FPGA spends more. It stands on:</p>{table(['constant', 'value', 'source'], assumed)}"
        f"<p class='note'>{escape(REFERENCE)}</p>",
    )


def _records(f: SpikingFacts) -> str:
    kept = {k: v for k, v in f.model.graph.records.items() if k not in ("passes", "layers")}
    rows = [[escape(k), f"<code>{escape(str(v))}</code>"] for k, v in kept.items()]
    meaning = [
        [escape(o.name), f"real = {float(o.affine.scale[0]):.6g} · q + {float(o.affine.offset[0]):g}"]
        for o in f.model.graph.outputs
    ]
    return card("Record", f"{table(['output', 'meaning'], meaning)}<p></p>{table(['record', 'value'], rows)}")


SECTIONS: tuple[Section, ...] = (
    _heading, _network, _raster, _membranes, _accuracy, weights, _rates, _cores, _energy, _records,
)  # fmt: skip
"""The page from top to bottom."""
