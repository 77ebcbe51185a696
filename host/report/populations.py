"""Draws a spiking network: populations as boxes, projections as arrows."""

from __future__ import annotations

import math
from html import escape

from neuroloom.compiler.spiking.recognise import Network, Projection
from neuroloom.host.look.network import PopulationRow, population_rows

from .svg import svg

BOX_W, BOX_H, GAP_X, GAP_Y, MARGIN = 158, 76, 150, 54, 30
EXCITING, INHIBITING, LEARNING, MIXED = "#2f6db5", "#b0304a", "#2f8f5b", "#7a8797"
COLOURS = {
    "learns": LEARNING,
    "weights above 0": EXCITING,
    "weights below 0": INHIBITING,
    "weights of both signs": MIXED,
}
"""What the arrows' colours mean."""


def columns(net: Network) -> dict[str, int]:
    """Column of every source: inputs 0, populations one behind the last that feeds them (loops left out)."""
    place = dict.fromkeys(net.inputs, 0)
    for name in net.populations:
        feeding = [
            p.source for p in net.projections.values() if p.target == name and p.source != name and p.source in place
        ]
        place[name] = 1 + max((place[s] for s in feeding), default=0)
    return place


def drawing(net: Network) -> str:
    """The network as SVG, from inputs at the left to what they reach at the right."""
    place = columns(net)
    rows: dict[int, list[str]] = {}
    for name, column in place.items():
        rows.setdefault(column, []).append(name)
    tallest = max(len(r) for r in rows.values())
    spots = {}
    for column, names in rows.items():
        for k, name in enumerate(names):
            top = (tallest - len(names)) * (BOX_H + GAP_Y) / 2
            spots[name] = (MARGIN + column * (BOX_W + GAP_X), MARGIN + 34 + top + k * (BOX_H + GAP_Y))
    back = sum(1 for p in net.projections.values() if p.source != p.target and place[p.target] <= place[p.source])
    width = 2 * MARGIN + (max(rows) + 1) * (BOX_W + GAP_X) - GAP_X
    floor = MARGIN + 34 + tallest * (BOX_H + GAP_Y) - GAP_Y
    parts = [_markers()]
    number = 0
    for p in net.projections.values():
        if p.source == p.target:
            parts.append(_loop(p, spots[p.source]))
        elif place[p.target] > place[p.source]:
            parts.append(_forward(p, spots[p.source], spots[p.target]))
        else:
            number += 1
            parts.append(_backward(p, spots[p.source], spots[p.target], floor + 26 * number))
    parts += [_box(row, *spots[row.name], watched=_watched(net, row.name)) for row in population_rows(net)]
    height = floor + 26 * back + (30 if back else MARGIN)
    return svg(max(width, 420), height, "".join(parts), f"populations and projections of {net.graph.name}")


def _watched(net: Network, name: str) -> bool:
    return any(of == name for kind, of in net.outputs.values() if kind != "decision")


def colour_of(p: Projection) -> str:
    """Colour of a projection's arrow."""
    if p.learn:
        return LEARNING
    if p.size and int(p.weights.max()) <= 0:
        return INHIBITING
    return EXCITING if not p.size or int(p.weights.min()) >= 0 else MIXED


def _markers() -> str:
    heads = (
        f'<marker id="head{c[1:]}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="9" markerHeight="9" orient="auto" '
        f'markerUnits="userSpaceOnUse"><path d="M0,0 L8,4 L0,8 z" fill="{c}"/></marker>'
        for c in (EXCITING, INHIBITING, LEARNING, MIXED)
    )
    return f"<defs>{''.join(heads)}</defs>"


def _arrow(p: Projection, path: str, at: tuple[float, float]) -> str:
    colour = colour_of(p)
    width = 1.2 + math.log10(max(p.size, 1)) * 0.7
    delays = sorted({int(p.delay.min()), int(p.delay.max())}) if p.size else [0]
    delay = "" if delays == [0] else f", delay {'..'.join(map(str, delays))}"
    rule = "" if not p.learn else " · learns"
    return (
        f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="{width:.1f}" opacity="0.85" '
        f'marker-end="url(#head{colour[1:]})"><title>{escape(p.name)}</title></path>'
        f'<text x="{at[0]:.0f}" y="{at[1]:.0f}" font-size="11.5" text-anchor="middle" fill="{colour}" paint-order="stroke" '
        f'stroke="#fff" stroke-width="4">{p.size:,}{delay}{rule}</text>'
    )


def _forward(p: Projection, a: tuple[float, float], b: tuple[float, float]) -> str:
    x1, y1, x2, y2 = a[0] + BOX_W, a[1] + BOX_H / 2, b[0] - 2, b[1] + BOX_H / 2
    bend = (x2 - x1) / 2
    if x2 - x1 > GAP_X + 2:  # over a column: pass above its boxes
        high = min(y1, y2) - BOX_H
        path = f"M{x1:.0f},{y1 - 14:.0f} C{x1 + 90:.0f},{high:.0f} {x2 - 90:.0f},{high:.0f} {x2:.0f},{y2 - 14:.0f}"
        return _arrow(p, path, ((x1 + x2) / 2, high * 0.75 + min(y1, y2) * 0.25 - 8))
    path = f"M{x1:.0f},{y1:.0f} C{x1 + bend:.0f},{y1:.0f} {x2 - bend:.0f},{y2:.0f} {x2:.0f},{y2:.0f}"
    return _arrow(p, path, ((x1 + x2) / 2, (y1 + y2) / 2 - 8))


def _backward(p: Projection, a: tuple[float, float], b: tuple[float, float], low: float) -> str:
    x1, x2, y1, y2 = a[0] + BOX_W / 2 + 14, b[0] + BOX_W / 2 - 14, a[1] + BOX_H, b[1] + BOX_H + 2
    if abs(x1 - x2) < 40:  # in one column
        x1, x2 = a[0] + BOX_W * 0.25, b[0] + BOX_W * 0.25
    path = f"M{x1:.0f},{y1:.0f} C{x1:.0f},{low + 8:.0f} {x2:.0f},{low + 8:.0f} {x2:.0f},{y2:.0f}"
    return _arrow(p, path, ((x1 + x2) / 2, max(y1, y2) * 0.25 + (low + 8) * 0.75 + 16))


def _loop(p: Projection, a: tuple[float, float]) -> str:
    x, y = a[0] + BOX_W / 2, a[1]
    path = f"M{x + 24:.0f},{y:.0f} C{x + 44:.0f},{y - 40:.0f} {x - 44:.0f},{y - 40:.0f} {x - 24:.0f},{y - 2:.0f}"
    return _arrow(p, path, (x, y - 36))


def _box(row: PopulationRow, x: float, y: float, *, watched: bool) -> str:
    fill, edge = ("#e4edf7", "#6b8fb8") if row.model == "input" else ("#fdf6e8", "#b08a3c")
    detail = "spikes from outside" if row.model == "input" else f"threshold {row.threshold}"
    if row.drives:
        detail += ", current in"
    lines = [(row.name, 14, 700), (f"{row.neurons:,} × {row.model}", 12, 400), (detail, 11, 400)]
    text = "".join(
        f'<text x="{x + BOX_W / 2:.0f}" y="{y + 24 + 19 * k:.0f}" font-size="{size}" font-weight="{weight}" '
        f'text-anchor="middle">{escape(line if len(line) <= 28 else line[:27] + "…")}</text>'
        for k, (line, size, weight) in enumerate(lines)
    )
    return (
        f'<rect x="{x:.0f}" y="{y:.0f}" width="{BOX_W}" height="{BOX_H}" rx="12" fill="{fill}" stroke="{edge}" '
        f'stroke-width="{2.4 if watched else 1.2}"/>{text}'
    )
