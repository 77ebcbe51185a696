"""Puts the report together: what is known becomes a section, what is not is left out and said so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from html import escape
from typing import Any

import numpy as np
from neuroloom.compiler.ir import Graph
from neuroloom.compiler.ir.file import graph_hash
from neuroloom.host.accuracy import Score, confusion
from neuroloom.host.cli.summary import graph_facts, layer_gains, value_rows

from . import svg
from .shell import document, table


@dataclass
class Facts:
    """Everything a report may show; what is None is left out.

    ``build`` is :func:`neuroloom.host.cli.cmd_build.build_facts`'s dict, ``rungs`` the list that ``verify -o`` writes.
    """

    graph: Graph
    inputs: dict[str, np.ndarray] | None = None
    outputs: dict[str, np.ndarray] | None = None
    labels: np.ndarray | None = None
    scores: dict[str, Score] = field(default_factory=dict)
    build: dict[str, Any] | None = None
    board_title: str = ""
    schedule: dict[str, Any] | None = None
    rungs: list[dict[str, Any]] | None = None
    gated: dict[str, Any] | None = None
    """What :func:`neuroloom.host.cli.gated_facts.program_facts` tells, and ``cycles_of_samples`` where there are samples."""


Section = Callable[[Facts], str]


def render(facts: Facts) -> str:
    """The page as HTML text; the same facts give the same bytes."""
    return document(facts.graph.name, "".join(section(facts) for section in SECTIONS))


def _heading(f: Facts) -> str:
    facts = graph_facts(f.graph)
    tiles = []
    if f.scores:
        s = f.scores["graph"]
        tiles.append((f"{100 * s.accuracy:.2f} %", f"accuracy, {s.correct:,} of {s.count:,}"))
    tiles.append((f"{facts['luts']:,}", f"lookup tables, {facts['levels']} levels"))
    if f.schedule:
        tiles.append((f"{f.schedule['latency_cycles']}", "cycles latency, 1 inference per clock"))
    if f.gated and "cycles" in f.gated:
        least, most = f.gated["cycles"]
        tiles.append((f"{most:,}", "cycles a run" if least == most else f"cycles a run at most, {least:,} at least"))
    if f.build:
        used, available = f.build["used"].get("luts", 0), f.build["available"].get("luts", 1)
        worst = min(s["fmax_hz"] for s in f.build["seeds"] if not s.get("unrouted")) / 1e6
        tiles.append((f"{100 * used / available:.0f} %", f"of the logic of {escape(f.build['board'])}"))
        tiles.append((f"{worst:.0f} MHz", f"slowest seed; the clock is {f.build['clock_hz'] / 1e6:g} MHz"))
        tiles.append((f"{f.build['latency_ns']:,.0f} ns", "from sample to answer in the core"))
    if f.rungs:
        passed = [r["name"] for r in f.rungs if r["ok"]]
        tiles.append((f"{len(passed)}/{len(f.rungs)}", f"rungs equal, up to {passed[-1] if passed else 'none'}"))
    shown = "".join(f'<div class="tile"><b>{b}</b><span>{t}</span></div>' for b, t in tiles)
    source = f.graph.records.get("source", {})
    origin = f"from {escape(str(source.get('file', '')))} · " if isinstance(source, dict) and source.get("file") else ""
    digest = f"<code>{graph_hash(f.graph).hex()}</code>"
    return (
        f'<h1>{escape(f.graph.name)}</h1><div class="sub">{origin}SHA-256 of the graph {digest}</div>'
        f'<div class="tiles">{shown}</div>'
    )


def _network(f: Facts) -> str:
    wide = "scroll" if len(f.graph.nodes) > 10 else ""
    return f'<h2>Network</h2><div class="card {wide}">{svg.network(f.graph)}</div>'


def _layers(f: Facts) -> str:
    gains = layer_gains(f.graph)
    first = {layer: b for g in reversed(gains) for layer, (b, _) in g["layers"].items()}
    rows = [
        [
            f"<code>%{escape(row.value)}</code>",
            row.operation,
            escape(row.type.replace(", ", "×")),
            f"{row.lo}..{row.hi}",
            f"{first[row.source]:,}" if row.luts and row.source in first else "",
            f"{row.luts:,}" if row.luts else "",
            f"{row.bits:,}" if row.bits else "",
            escape(row.source),
        ]
        for row in value_rows(f.graph)
    ]
    head = ["value", "operation", "type", "proven range", ">gates in source", ">LUTs", ">constant bits", "source node"]
    out = f'<h2>Layers</h2><div class="card">{table(head, rows)}</div>'
    if gains:
        rows = [
            [
                escape(g["pass"]),
                f"{g['before']:,}",
                f"{g['after']:,}",
                f"{100 * (1 - g['after'] / max(g['before'], 1)):.1f} %",
            ]
            for g in gains
        ]
        out += f'<h2>Optimiser</h2><div class="card">{table(["pass", ">gates before", ">after", ">saved"], rows)}</div>'
    return out


def _accuracy(f: Facts) -> str:
    if not f.scores or f.labels is None:
        return ""
    rows = [[escape(k), f"{100 * s.accuracy:.2f} %", f"{s.correct:,} / {s.count:,}"] for k, s in f.scores.items()]
    matrix = confusion(f.scores["graph"].classes, f.labels)
    out = f'<h2>Accuracy</h2><div class="card row"><div>{table(["rung", ">accuracy", ">correct"], rows)}'
    margins = _margins(f)
    if margins is not None:
        out += f"<p>{svg.histogram(margins, 'lead of the answer over the runner-up')}</p>"
    drawing = svg.heatmap(matrix) if len(matrix) <= 100 else ""
    out += f'</div><div>{drawing}<div class="sub">rows: true class, columns: answer</div></div></div>'
    return out + _mistakes(f)


def _margins(f: Facts) -> np.ndarray | None:
    """Difference of the two best scores, where the graph shows scores."""
    values = f.graph.values()
    for out in f.graph.outputs:
        if f.outputs is not None and values[out.value].size > 1 and len(values[out.value].shape) == 1:
            top = np.sort(f.outputs[out.name], axis=1)
            return top[:, -1] - top[:, -2]
    return None


def _mistakes(f: Facts) -> str:
    """Thumbnails of wrong answers, when the one input is a square grey image."""
    if f.inputs is None or f.labels is None or len(f.graph.inputs) != 1:
        return ""
    item = f.graph.inputs[0]
    side = round(item.value.size**0.5)
    if side * side != item.value.size or side < 4:
        return ""
    classes = f.scores["graph"].classes
    images = next(iter(f.inputs.values())).reshape(len(classes), side, side)
    lo, hi = item.range
    wrong = np.flatnonzero(classes != f.labels)[:24]
    tiles = "".join(
        f"<div>{svg.thumbnail(images[i].astype(int) - lo, hi - lo, f'{f.labels[i]} → {classes[i]}')}</div>"
        for i in wrong
    )
    return f'<h2>Mistakes</h2><div class="card row">{tiles or "none"}</div>'


def _hardware(f: Facts) -> str:
    if not f.build:
        return ""
    b = f.build
    rows = [
        (k, v, b["available"].get(k) or 0, f"{v:,} of {b['available'].get(k, 0):,}")
        for k, v in b["used"].items()
        if b["available"].get(k)
    ]
    clock = b["clock_hz"]
    fastest = max(max(s["fmax_hz"] for s in b["seeds"]), clock)
    seeds = [
        [
            str(s["seed"]),
            "not routed" if s.get("unrouted") else f"{s['fmax_hz'] / 1e6:.1f} MHz",
            f'<span class="{"ok" if s["met"] else "no"}">{"met" if s["met"] else "not met"}</span>',
            f"{s['seconds']:.0f} s",
        ]
        for s in b["seeds"]
    ]
    tools = [[escape(k), escape(str(v))] for k, v in b["tools"].items()]
    return (
        f'<h2>Hardware: {escape(f.board_title or b["board"])}</h2><div class="card">{svg.bars(rows)}'
        f"<p>Of these the link shell takes {b['shell_luts']:,} LUTs. The core answers {b['latency_cycles']} cycles after a sample "
        f"({b['latency_ns']:,.0f} ns at {clock / 1e6:g} MHz), one sample per clock: {clock / 1e6:g} million inferences per second. "
        f"Fastest seed {fastest / 1e6:.1f} MHz.</p>"
        f"{table(['place-and-route seed', '>Fmax', f'{clock / 1e6:g} MHz', '>took'], seeds)}"
        f"<p></p>{table(['tool', 'version'], tools)}</div>"
    )


def _verification(f: Facts) -> str:
    if f.rungs is None:
        how = "<code>neuroloom verify … -o v.json</code> and <code>--verified v.json</code>"
        return f'<h2>Verification</h2><div class="card">not run; add it with {how}</div>'
    rows = []
    for r in f.rungs:
        skipped = r["detail"].startswith("skipped")
        mark = (
            '<span class="ok">equal</span>'
            if r["ok"]
            else '<span class="skip">skipped</span>'
            if skipped
            else '<span class="no">differs</span>'
        )
        rows.append(
            [
                escape(r["name"]),
                mark,
                f"{r['samples']:,}",
                f"{r['cycles']:,}" if r["cycles"] else "",
                escape(r["detail"]),
            ]
        )
    head = ["rung", "against the graph", ">samples", ">cycles", "what ran"]
    return f'<h2>Verification</h2><div class="card">{table(head, rows)}</div>'


def _records(f: Facts) -> str:
    kept = {k: v for k, v in f.graph.records.items() if k not in ("passes", "layers")}
    rows = [[escape(k), f"<code>{escape(str(v))}</code>"] for k, v in kept.items()]
    meaning = [
        [
            escape(o.name),
            f"real = {o.affine.scale[0]} · q + {o.affine.offset[0]}" + (" …" if len(o.affine.scale) > 1 else ""),
        ]
        for o in f.graph.outputs
    ]
    tables = f"{table(['output', 'meaning'], meaning)}<p></p>{table(['record', 'value'], rows)}"
    return f'<h2>Record</h2><div class="card">{tables}</div>'


def _gated(f: Facts) -> str:
    """The gated engine: what of it is filled, and how many cycles the samples took."""
    if not f.gated:
        return ""
    if "reason" in f.gated:
        return f"<h2>Gated engine</h2><p>{escape(f.gated['reason'])}</p>"
    g = f.gated
    rows = [
        ("engine", f"{escape(g['engine'])}: {g['lanes']} lanes, {g['multipliers']} multipliers"),
        ("weight rows", f"{g['weight_rows']:,}"),
        ("words of the vector memory", f"{g['vector_words']:,}"),
        ("words of tables", f"{g['table_words']:,}"),
        ("words of program", f"{g['program_words']:,}"),
    ]
    cycles = g.get("cycles_of_samples")
    if cycles is not None:
        flat = np.sort(np.asarray(cycles).ravel())
        shares = " · ".join(f"{q} %: {int(np.percentile(flat, q)):,}" for q in (0, 10, 50, 90, 100))
        rows.append(("cycles of the samples", f"mean {flat.mean():,.1f}; {shares}"))
    remarks = "".join(f"<p>{escape(remark)}</p>" for remark in g.get("remarks", ()))
    return "<h2>Gated engine</h2>" + table(("", ""), rows) + remarks


SECTIONS: tuple[Section, ...] = (_heading, _network, _accuracy, _verification, _hardware, _gated, _layers, _records)
"""The page from top to bottom."""
