"""Small drawings as SVG text: the network, bars, histograms, heat maps, thumbnails. No script, no outside file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

import numpy as np
from neuroloom.compiler.ir import Graph, Node
from neuroloom.host.cli.summary import node_luts

COLOURS = {
    "input": "#dbe7f3",
    "compare": "#fde3c8",
    "bits": "#fde3c8",
    "lut": "#d5ead8",
    "lut_conv": "#d5ead8",
    "lookup": "#d5ead8",
    "group_sum": "#e6dcf2",
    "argmax": "#f5d6de",
    "topk": "#f5d6de",
    "output": "#eeeeee",
}
"""Fill by operation; others are white."""

BOX_W, BOX_H, GAP_X, GAP_Y = 124, 64, 30, 18


def svg(width: float, height: float, body: str, label: str) -> str:
    """An <svg> that scales down with the page."""
    return (
        f'<svg viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" role="img" aria-label="{escape(label)}" '
        f'xmlns="http://www.w3.org/2000/svg">{body}</svg>'
    )


def network(graph: Graph) -> str:
    """The dataflow graph, left to right by depth; arrows as wide as the bits that they carry (log scale)."""
    values = graph.values()
    column: dict[str, int] = {i.name: 0 for i in graph.inputs}
    boxes: list[tuple[str, int, str, list[str], tuple[str, ...]]] = []
    for item in graph.inputs:
        boxes.append(
            (item.name, 0, "input", [item.source or item.name, f"{item.value.type}{_shape(item.value.shape)}"], ())
        )
    for node in graph.nodes:
        if not node.outputs:
            continue
        depth = 1 + max((column[i] for i in node.inputs if i in column), default=-1)
        for value in node.outputs:
            column[value.name] = depth
        boxes.append((node.name, depth, node.op, _lines(node), node.inputs))
    last = max(column.values(), default=0) + 1
    for out in graph.outputs:
        kind = values[out.value]
        boxes.append((f"out:{out.name}", last, "output", [out.name, f"{kind.type}{_shape(kind.shape)}"], (out.value,)))
    home = {v.name: n.name for n in graph.nodes for v in n.outputs}
    rows: dict[int, int] = {}
    place: dict[str, tuple[float, float]] = {}
    count = {c: sum(1 for b in boxes if b[1] == c) for c in {b[1] for b in boxes}}
    tallest = max(count.values())
    for name, c, *_ in boxes:
        row = rows[c] = rows.get(c, -1) + 1
        top = (tallest - count[c]) * (BOX_H + GAP_Y) / 2
        place[name] = (10 + c * (BOX_W + GAP_X), 10 + top + row * (BOX_H + GAP_Y))
    parts = []
    for name, _, _, _, inputs in boxes:
        for source in dict.fromkeys(inputs):
            x1, y1 = place[home.get(source, source)]
            x2, y2 = place[name]
            bits = values[source].size * values[source].type.width
            parts.append(_edge(x1 + BOX_W, y1 + BOX_H / 2, x2, y2 + BOX_H / 2, 1 + math.log2(bits + 1) / 3))
    for name, _, op, lines, _ in boxes:
        parts.append(_box(*place[name], op, lines))
    width = 20 + (last + 1) * (BOX_W + GAP_X) - GAP_X
    return svg(width, 20 + tallest * (BOX_H + GAP_Y) - GAP_Y, "".join(parts), f"dataflow graph of {graph.name}")


def _lines(node: Node) -> list[str]:
    luts = node_luts(node)
    value = node.outputs[0]
    size = f"{luts:,} LUTs" if luts else f"{value.type}{_shape(value.shape)}"
    return [node.source or node.name, node.op, size]


def _shape(shape: tuple[int, ...]) -> str:
    return f"[{'×'.join(map(str, shape))}]" if shape else ""


def _box(x: float, y: float, op: str, lines: list[str]) -> str:
    fill = COLOURS.get(op, "#ffffff")
    text = "".join(
        f'<text x="{x + BOX_W / 2:.0f}" y="{y + BOX_H / 2 + 15 * (i - (len(lines) - 1) / 2) + 4:.0f}" text-anchor="middle" '
        f'font-size="{13 if i == 0 else 11}" font-weight="{600 if i == 0 else 400}">{escape(_short(line))}</text>'
        for i, line in enumerate(lines)
    )
    return f'<rect x="{x:.0f}" y="{y:.0f}" width="{BOX_W}" height="{BOX_H}" rx="7" fill="{fill}" stroke="#667"/>{text}'


def _short(text: str, limit: int = 18) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def _edge(x1: float, y1: float, x2: float, y2: float, width: float) -> str:
    middle = (x1 + x2) / 2
    return (
        f'<path d="M{x1:.0f},{y1:.0f} C{middle:.0f},{y1:.0f} {middle:.0f},{y2:.0f} {x2:.0f},{y2:.0f}" '
        f'fill="none" stroke="#99a" stroke-width="{width:.1f}" opacity="0.7"/>'
    )


def bars(rows: Sequence[tuple[str, float, float, str]]) -> str:
    """Horizontal bars: (label, value, full scale, text)."""
    parts = []
    for i, (label, value, full, text) in enumerate(rows):
        y = 6 + 30 * i
        share = min(value / full, 1.0) if full else 0.0
        colour = "#4a8f5b" if share < 0.8 else "#c98a2b" if share < 1 else "#b8404f"
        parts.append(
            f'<text x="112" y="{y + 15}" text-anchor="end" font-size="13">{escape(label)}</text>'
            f'<rect x="120" y="{y}" width="360" height="20" rx="4" fill="#eceff3"/>'
            f'<rect x="120" y="{y}" width="{360 * share:.1f}" height="20" rx="4" fill="{colour}"/>'
            f'<text x="490" y="{y + 15}" font-size="13">{escape(text)}</text>'
        )
    return svg(760, 12 + 30 * len(rows), "".join(parts), "bars")


def histogram(values: np.ndarray, title: str, bins: int = 24) -> str:
    """A histogram of integers with its axis."""
    lo, hi = int(values.min()), int(values.max())
    step = max(1, math.ceil((hi - lo + 1) / bins))
    edges = np.arange(lo, hi + step + 1, step)
    counts, _ = np.histogram(values, edges)
    width = 440 / len(counts)
    top = max(int(counts.max()), 1)
    parts = [
        f'<rect x="{40 + i * width:.1f}" y="{150 - 130 * c / top:.1f}" width="{max(width - 2, 1):.1f}" '
        f'height="{130 * c / top:.1f}" fill="#5b7fae"><title>{edges[i]}..{edges[i + 1] - 1}: {c}</title></rect>'
        for i, c in enumerate(counts)
    ]
    parts.append('<line x1="40" y1="150" x2="480" y2="150" stroke="#667"/>')
    for at, text in ((40, lo), (480, hi)):
        parts.append(f'<text x="{at}" y="168" font-size="12" text-anchor="middle">{text}</text>')
    parts.append(f'<text x="260" y="186" font-size="13" text-anchor="middle">{escape(title)}</text>')
    parts.append(f'<text x="34" y="26" font-size="12" text-anchor="end">{top}</text>')
    return svg(500, 194, "".join(parts), title)


def heatmap(matrix: np.ndarray) -> str:
    """Confusion matrix: rows the true class, columns the answer; shade by the share of the row."""
    size = len(matrix)
    cell = 34 if size <= 20 else max(4, 680 // size)
    left = 40
    parts = []
    total = np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    for i in range(size):
        for j in range(size):
            share = float(matrix[i, j] / total[i, 0])
            colour = _shade("#2f7d4f" if i == j else "#b8404f", min(1.0, share * (1 if i == j else 4)))
            x, y = left + j * cell, left + i * cell
            parts.append(
                f'<rect x="{x}" y="{y}" width="{cell}" height="{cell}" fill="{colour}" stroke="#fff">'
                f"<title>true {i}, answered {j}: {matrix[i, j]}</title></rect>"
            )
            if cell >= 24 and matrix[i, j]:
                ink = "#fff" if share > 0.55 else "#223"
                parts.append(
                    f'<text x="{x + cell / 2}" y="{y + cell / 2 + 4}" font-size="12" fill="{ink}" '
                    f'text-anchor="middle">{matrix[i, j]}</text>'
                )
    if cell >= 12:
        for i in range(size):
            parts.append(
                f'<text x="{left - 8}" y="{left + i * cell + cell / 2 + 4}" font-size="12" text-anchor="end">{i}</text>'
            )
            parts.append(
                f'<text x="{left + i * cell + cell / 2}" y="{left - 8}" font-size="12" text-anchor="middle">{i}</text>'
            )
    side = left + size * cell + 6
    return svg(side, side, "".join(parts), "confusion matrix")


def _shade(colour: str, share: float) -> str:
    rgb = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(247 + (c - 247) * share):02x}" for c in rgb)


def thumbnail(image: np.ndarray, hi: int, caption: str, cell: float = 6) -> str:
    """A grey image int[H, W], 0..hi, with a caption below."""
    rows, columns = image.shape
    cell = min(cell, 84 / max(rows, columns))
    parts = [f'<rect width="{columns * cell:.1f}" height="{rows * cell:.1f}" fill="#000"/>']
    for r, c in zip(*np.nonzero(image), strict=True):
        grey = round(255 * int(image[r, c]) / max(hi, 1))
        parts.append(
            f'<rect x="{c * cell:.2f}" y="{r * cell:.2f}" width="{cell + 0.05:.2f}" height="{cell + 0.05:.2f}" '
            f'fill="#{grey:02x}{grey:02x}{grey:02x}"/>'
        )
    height = rows * cell + 16
    parts.append(
        f'<text x="{columns * cell / 2:.1f}" y="{height - 3:.1f}" font-size="11" text-anchor="middle">{escape(caption)}</text>'
    )
    return svg(columns * cell, height, "".join(parts), caption)
