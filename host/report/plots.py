"""Plots with labelled axes as SVG text."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

from .png import data_uri, diverging, shrink
from .svg import svg

PALETTE = ("#2f6db5", "#c2571a", "#2f8f5b", "#8a4fb0", "#b03a5b", "#7d6b1e", "#157f8a", "#555f6d")
"""Colours of populations, in their order."""

Points = Sequence[float] | np.ndarray

INK, GRID = "#5a6472", "#e6eaee"
MOST_MARKS = 20_000
"""Spikes that are drawn as lines; more become an image."""


def ticks(lo: float, hi: float, count: int = 6) -> list[float]:
    """Round numbers (1, 2, 5 times a power of ten) in lo..hi."""
    span = hi - lo
    if span <= 0:
        return [lo]
    raw = span / count
    power = 10 ** math.floor(math.log10(raw))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= raw * 0.999)
    first = math.ceil(lo / step - 1e-9)
    return [k * step for k in range(first, math.floor(hi / step + 1e-9) + 1)]


def number(value: float) -> str:
    """A tick's text."""
    if value == int(value) and abs(value) < 1e6:
        return f"{int(value):,}"
    return f"{value:.3g}"


class Frame:
    """A plot area in data coordinates with axes, ticks and labels; ``add`` draws inside."""

    def __init__(
        self,
        x: tuple[float, float],
        y: tuple[float, float],
        *,
        xlabel: str,
        ylabel: str,
        title: str = "",
        size: tuple[int, int] = (940, 220),
        yticks: Sequence[tuple[float, str]] | None = None,
        integers: bool = False,
    ) -> None:
        self.x, self.y, self.title = x, y, title
        self.width, self.height = size
        self.left, self.right, self.top, self.bottom = 74, 16, 26 if title else 12, 46
        self.parts: list[str] = []
        self.notes: list[str] = []
        self.labels = (xlabel, ylabel)
        self.yticks = yticks if yticks is not None else [(t, number(t)) for t in ticks(*y, 4)]
        self.xticks = [t for t in ticks(*x, 8 if self.width > 500 else 5) if not integers or t == int(t)]

    def px(self, value: float) -> float:
        """Pixels from the left."""
        lo, hi = self.x
        return self.left + (value - lo) / ((hi - lo) or 1) * (self.width - self.left - self.right)

    def py(self, value: float) -> float:
        """Pixels from the top."""
        lo, hi = self.y
        return self.height - self.bottom - (value - lo) / ((hi - lo) or 1) * (self.height - self.top - self.bottom)

    def add(self, part: str) -> None:
        """SVG in pixels."""
        self.parts.append(part)

    def line(self, xs: Points, ys: Points, colour: str, width: float = 1.5, extra: str = "") -> None:
        """A line through points."""
        points = " ".join(f"{self.px(a):.1f},{self.py(b):.1f}" for a, b in zip(xs, ys, strict=True))
        self.add(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="{width}" {extra}/>')

    def level(self, value: float, colour: str, text: str) -> None:
        """A dashed horizontal line with a text at its right end."""
        y = self.py(value)
        self.add(
            f'<line x1="{self.left}" x2="{self.width - self.right}" y1="{y:.1f}" y2="{y:.1f}" stroke="{colour}" '
            f'stroke-dasharray="5 4" opacity="0.8"/>'
        )
        self.notes.append(
            f'<text x="{self.width - self.right - 4}" y="{y - 4:.1f}" font-size="11" '
            f'text-anchor="end" fill="{colour}" paint-order="stroke" stroke="#fff" stroke-width="3">{escape(text)}</text>'
        )

    def text(self) -> str:
        """The whole drawing."""
        x0, x1, y0, y1 = self.left, self.width - self.right, self.height - self.bottom, self.top
        out = []
        for t in self.xticks:
            at = self.px(t)
            out.append(
                f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{y0}" y2="{y1}" stroke="{GRID}"/>'
                f'<text x="{at:.1f}" y="{y0 + 17}" font-size="12" fill="{INK}" text-anchor="middle">{number(t)}</text>'
            )
        for t, text in self.yticks:
            at = self.py(t)
            out.append(
                f'<line x1="{x0}" x2="{x1}" y1="{at:.1f}" y2="{at:.1f}" stroke="{GRID}"/>'
                f'<text x="{x0 - 8}" y="{at + 4:.1f}" font-size="12" fill="{INK}" text-anchor="end">{escape(text)}</text>'
            )
        out += self.parts
        out += self.notes
        out.append(f'<path d="M{x0},{y1} V{y0} H{x1}" fill="none" stroke="{INK}"/>')
        centre, middle = (x0 + x1) / 2, (y0 + y1) / 2
        below, beside = (escape(label) for label in self.labels)
        out.append(
            f'<text x="{centre:.0f}" y="{self.height - 8}" font-size="13" text-anchor="middle">{below}</text>'
            f'<text x="15" y="{middle:.0f}" font-size="13" text-anchor="middle" '
            f'transform="rotate(-90 15 {middle:.0f})">{beside}</text>'
        )
        if self.title:
            out.append(f'<text x="{x0}" y="15" font-size="13" font-weight="600">{escape(self.title)}</text>')
        return svg(self.width, self.height, "".join(out), self.title or f"{self.labels[1]} over {self.labels[0]}")


def legend(items: Mapping[str, str]) -> str:
    """Coloured names, as HTML."""
    spans = (f'<span class="key"><i style="background:{c}"></i>{escape(name)}</span>' for name, c in items.items())
    return f'<div class="legend">{"".join(spans)}</div>'


def raster(spikes: Mapping[str, np.ndarray], colours: Mapping[str, str], xlabel: str) -> str:
    """Spikes [steps, n] of sources one above the other, the first at the bottom; every source gets a share of the height."""
    steps = len(next(iter(spikes.values())))
    total = sum(a.shape[1] for a in spikes.values())
    shares = {name: max(a.shape[1], total / 12) for name, a in spikes.items()}
    whole = sum(shares.values())
    height = min(760, max(240, round(3.2 * whole)))
    base, yticks, bands = 0.0, [], []
    for name, array in spikes.items():
        bands.append((name, array, base, shares[name] / array.shape[1]))
        yticks.append((base + shares[name] / 2, name if len(name) <= 9 else f"{name[:8]}…"))
        base += shares[name]
    frame = Frame(
        (0, steps), (0, whole), xlabel=xlabel, ylabel="neurons", size=(940, height), yticks=yticks, integers=True
    )
    for name, array, start, scale in bands:
        top, bottom = frame.py(start + shares[name]), frame.py(start)
        if int(np.count_nonzero(array)) > MOST_MARKS:
            frame.add(_spike_image(array, colours[name], frame, top, bottom))
        else:
            frame.add(_spike_marks(array, colours[name], frame, start, scale))
        if start:
            frame.add(
                f'<line x1="{frame.left}" x2="{frame.width - frame.right}" y1="{bottom:.1f}" y2="{bottom:.1f}" stroke="#aab"/>'
            )
    return frame.text()


def _spike_marks(array: np.ndarray, colour: str, frame: Frame, start: float, scale: float) -> str:
    pitch = abs(frame.py(0) - frame.py(scale))
    length, width = max(1.5, min(pitch * 0.85, 9.0)), max(1.0, min(3.0, (frame.px(1) - frame.px(0)) * 0.5))
    steps, neurons = np.nonzero(array)
    marks = (
        f"M{frame.px(t + 0.5):.1f},{frame.py(start + (n + 0.5) * scale) - length / 2:.1f}v{length:.1f}"
        for t, n in zip(steps.tolist(), neurons.tolist(), strict=True)
    )
    return f'<path d="{"".join(marks)}" stroke="{colour}" stroke-width="{width:.1f}" fill="none"/>'


def _spike_image(array: np.ndarray, colour: str, frame: Frame, top: float, bottom: float) -> str:
    dots = shrink(array.T[::-1].astype(np.int8), 800) != 0
    rgb = np.full((*dots.shape, 3), 255, np.uint8)
    rgb[dots] = [int(colour[k : k + 2], 16) for k in (1, 3, 5)]
    return (
        f'<image href="{data_uri(rgb)}" x="{frame.left}" y="{top:.1f}" width="{frame.width - frame.left - frame.right}" '
        f'height="{bottom - top:.1f}" preserveAspectRatio="none"/>'
    )


def histogram(values: np.ndarray, colour: str, *, title: str, xlabel: str, ylabel: str, bins: int = 24) -> str:
    """A histogram of numbers; integers of a small span get a bar each."""
    lo, hi = float(values.min()), float(values.max())
    small = np.issubdtype(values.dtype, np.integer) and hi - lo < 40
    edges = np.arange(lo - 0.5, hi + 1, 1) if small else np.linspace(lo, hi if hi > lo else lo + 1, bins + 1)
    counts, edges = np.histogram(values, edges)
    top = max(int(counts.max()), 1)
    frame = Frame((edges[0], edges[-1]), (0, top * 1.05), xlabel=xlabel, ylabel=ylabel, title=title, size=(460, 220))
    for count, a, b in zip(counts.tolist(), edges, edges[1:], strict=False):
        x0, x1, y = frame.px(a), frame.px(b), frame.py(count)
        frame.add(
            f'<rect x="{x0 + 0.5:.1f}" y="{y:.1f}" width="{max(x1 - x0 - 1, 1):.1f}" height="{frame.py(0) - y:.1f}" '
            f'fill="{colour}"><title>{count:,} at {a:.4g}..{b:.4g}</title></rect>'
        )
    return frame.text()


def matrix(cells: np.ndarray, present: np.ndarray, reach: int, *, title: str, xlabel: str, ylabel: str) -> str:
    """Weights [sources, targets] in colours −reach (blue) to reach (red), grey where there is no synapse."""
    rows, columns = cells.shape
    scale = min(400 / columns, 400 / rows, 16)
    size = max(150, round(columns * scale)), max(90, round(rows * scale))
    frame = Frame(
        (0, columns),
        (rows, 0),
        xlabel=xlabel,
        ylabel=ylabel,
        title=title,
        size=(size[0] + 90, size[1] + 72),
        yticks=[(t, number(t)) for t in ticks(0, rows, 5) if t == int(t)],
        integers=True,
    )
    shown, mask = shrink(np.where(present, cells, 0)), shrink(present.astype(np.int8)) == 0
    frame.add(
        f'<image href="{data_uri(diverging(shown, reach, mask))}" x="{frame.left}" y="{frame.top}" '
        f'width="{frame.width - frame.left - frame.right}" height="{frame.height - frame.top - frame.bottom}" '
        f'preserveAspectRatio="none" style="image-rendering:pixelated"/>'
    )
    return frame.text()


def scale_bar(reach: int) -> str:
    """The colours of :func:`matrix` with their numbers."""
    rgb = diverging(np.linspace(-1, 1, 101)[None].repeat(8, axis=0), 1.0)
    marks = ((74, f"−{reach:,}"), (144, "0"), (214, f"{reach:,}"))
    texts = "".join(
        f'<text x="{x}" y="32" font-size="12" text-anchor="middle" fill="{INK}">{t}</text>' for x, t in marks
    )
    image = f'<image href="{data_uri(rgb)}" x="74" y="4" width="140" height="13" preserveAspectRatio="none"/>'
    return svg(250, 38, image + texts, "colour scale")
