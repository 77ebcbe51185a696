"""Images are whole PNG files with the right pixels; plots put data where their axes say."""

from __future__ import annotations

import struct
import xml.etree.ElementTree as xml
import zlib

import numpy as np
from neuroloom.host.report import plots
from neuroloom.host.report.png import diverging, png, shrink

SVG = "{http://www.w3.org/2000/svg}"


def _decode(data: bytes) -> np.ndarray:
    """A reader of its own: chunks with their sums, then rows without filters."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at, chunks = 8, {}
    while at < len(data):
        (length,), kind = struct.unpack(">I", data[at : at + 4]), data[at + 4 : at + 8]
        body = data[at + 8 : at + 8 + length]
        assert struct.unpack(">I", data[at + 8 + length : at + 12 + length])[0] == zlib.crc32(kind + body)
        chunks[kind] = body
        at += 12 + length
    width, height, depth, colour, *_ = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    assert (depth, colour) == (8, 2) and b"IEND" in chunks
    rows = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(height, 1 + 3 * width)
    assert not rows[:, 0].any()
    return rows[:, 1:].reshape(height, width, 3)


def test_png_holds_the_pixels() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (7, 11, 3)).astype(np.uint8)
    np.testing.assert_array_equal(_decode(png(rgb)), rgb)


def test_colours_of_weights() -> None:
    rgb = diverging(np.array([[-4, 0, 4, 9]]), 4, np.array([[False, False, False, True]]))
    assert rgb[0, 1].tolist() == [255, 255, 255] and rgb[0, 3].tolist() == [222, 226, 231]
    assert rgb[0, 0, 2] > rgb[0, 0, 0] and rgb[0, 2, 0] > rgb[0, 2, 2]


def test_large_matrices_keep_their_extremes() -> None:
    cells = np.zeros((50, 33), np.int64)
    cells[49, 32], cells[3, 20], cells[0, 0] = -9, 7, 2
    small = shrink(cells, 10)
    assert small.shape == (10, 9)
    assert sorted(small[small != 0].tolist()) == [-9, 2, 7]
    np.testing.assert_array_equal(shrink(cells, 50), cells)


def test_ticks_are_round_and_inside() -> None:
    assert plots.ticks(0, 20) == [0, 5, 10, 15, 20]
    for lo, hi in ((0, 1), (-3.2, 17), (0, 1e-3), (5, 5), (-2e6, 3e6)):
        found = plots.ticks(lo, hi)
        assert 1 <= len(found) <= 12 and all(lo - 1e-9 <= t <= hi + 1e-9 for t in found)


def test_every_spike_has_its_mark_at_its_step() -> None:
    spikes = np.zeros((40, 6), np.uint8)
    places = [(0, 0), (10, 3), (39, 5)]
    for t, n in places:
        spikes[t, n] = 1
    tree = xml.fromstring(plots.raster({"a": spikes}, {"a": "#2f6db5"}, "time step"))
    (path,) = [p for p in tree.iter(f"{SVG}path") if p.get("stroke") == "#2f6db5"]
    marks = [m.split("v")[0].split(",") for m in path.get("d").split("M")[1:]]
    frame = plots.Frame((0, 40), (0, 6), xlabel="", ylabel="")
    assert [float(m[0]) for m in marks] == [round(frame.px(t + 0.5), 1) for t, _ in places]
    heights = [float(m[1]) for m in marks]
    assert heights == sorted(heights, reverse=True)  # neuron 0 is lowest
    texts = {t.text for t in tree.iter(f"{SVG}text")}
    assert {"time step", "neurons", "a", "0", "40"} <= texts


def test_many_spikes_become_an_image() -> None:
    dense = np.ones((300, 100), np.uint8)
    drawn = plots.raster({"a": dense}, {"a": "#2f6db5"}, "time step")
    assert "data:image/png" in drawn and len(drawn) < 20_000


def test_histograms_count_everything() -> None:
    values = np.array([1, 1, 2, 5, 5, 5])
    tree = xml.fromstring(plots.histogram(values, "#123456", title="t", xlabel="x", ylabel="n"))
    said = [t.text for t in tree.iter(f"{SVG}title")]
    assert [int(s.split()[0]) for s in said] == [2, 1, 0, 0, 3]
    one = plots.histogram(np.array([3.0, 3.0]), "#123456", title="t", xlabel="x", ylabel="n")
    assert xml.fromstring(one) is not None
