"""Event files give the rasters that their lists mean, and bad ones a sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from neuroloom.compiler.errors import InputError
from neuroloom.compiler.ir import Graph
from neuroloom.host.address_events import read_clocked

import neuroloom as nl

EVENTS = [(0, 2), (3, 0), (3, 5), (9, 2)]


def _graph(channels: int = 6, *, second: bool = False) -> Graph:
    net = nl.Network("small")
    net.input("in", channels)
    net.population("out", 2, nl.IF(threshold=1.0), record=["spikes"])
    net.connect("in", "out", weights=np.full((channels, 2), 0.5))
    if second:
        net.drive("out", name="push", bounds=(0.0, 1.0))
    return nl.compile(net).graph


def _raster(steps: int, channels: int = 6) -> np.ndarray:
    out = np.zeros((1, steps, channels), np.uint8)
    for t, i in EVENTS:
        out[0, t, i] = 1
    return out


def _write(folder: Path, kind: str) -> Path:
    rows = np.array(EVENTS)
    path = folder / f"x{kind.split()[0]}"
    if kind == ".csv":
        path.write_text("t,i\n" + "".join(f"{t},{i}\n" for t, i in EVENTS))
    elif kind == ".npy":
        np.save(path, rows)
    elif kind == ".npz t i":
        np.savez(path, t=rows[:, 0], i=rows[:, 1])
    elif kind == ".npz events":
        np.savez(path, events=rows)
    else:
        np.savez(path, **{"in": rows})
    return path


@pytest.mark.parametrize("kind", [".csv", ".npy", ".npz t i", ".npz events", ".npz name"])
def test_every_form_of_an_event_list(tmp_path, kind) -> None:
    graph, path = _graph(), _write(tmp_path, kind)
    for steps, length in ((None, 10), (25, 25)):
        data = read_clocked(path, graph, steps=steps)
        array = data["in"] if isinstance(data, dict) else data
        np.testing.assert_array_equal(array, _raster(length))


def test_rasters_are_left_as_they_are(tmp_path) -> None:
    x = _raster(12)
    np.save(tmp_path / "x.npy", x)
    np.savez(tmp_path / "x.npz", x=x, y=np.zeros(1))
    np.testing.assert_array_equal(read_clocked(tmp_path / "x.npy", _graph()), x)
    np.testing.assert_array_equal(read_clocked(tmp_path / "x.npz", _graph()), x)


@pytest.mark.parametrize("ending", [".csv", ".npy", ".npz"])
def test_polarity_takes_two_channels(tmp_path, ending) -> None:
    rows = [(1, 0, 1), (1, 0, 0), (4, 2, 0)]
    path = tmp_path / f"x{ending}"
    if ending == ".csv":
        path.write_text("t,i,p\n" + "".join(",".join(map(str, r)) + "\n" for r in rows))
    elif ending == ".npy":
        np.save(path, np.array(rows))
    else:
        t, i, p = np.array(rows).T
        np.savez(path, t=t, i=i, p=p)
    data = read_clocked(path, _graph())
    array = data["in"] if isinstance(data, dict) else data
    want = np.zeros((1, 5, 6), np.uint8)
    want[0, 1, 0] = want[0, 1, 3] = want[0, 4, 5] = 1
    np.testing.assert_array_equal(array, want)


def test_events_beside_a_current(tmp_path) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, **{"in": np.array(EVENTS), "push": np.ones((1, 17, 2))})
    data = read_clocked(path, _graph(second=True))
    assert isinstance(data, dict)
    np.testing.assert_array_equal(data["in"], _raster(17))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("t,i\n3,0\n1,0\n", "in the order of time"),
        ("t,i\n0,6\n", r"channels of .* must be in 0..5, not 6"),
        ("t,i\n0,1\n0,1\n", "once per step"),
        ("t,i\n0,x\n", "line 2"),
        ("0,1,1\n", None),
        ("t,i\n900,1\n", "below 50 steps, not 900"),
    ],
)
def test_bad_events_are_refused(tmp_path, text, sentence) -> None:
    path = tmp_path / "x.csv"
    path.write_text(text)
    if sentence is None:
        assert isinstance(read_clocked(path, _graph(), steps=50), dict)
        return
    with pytest.raises(InputError, match=sentence):
        read_clocked(path, _graph(), steps=50)


def test_files_that_fit_no_input(tmp_path) -> None:
    (tmp_path / "x.csv").write_text("0,1\n")
    with pytest.raises(InputError, match="must be an .npz with an array or event list for each of the inputs in, push"):
        read_clocked(tmp_path / "x.csv", _graph(second=True))
    np.save(tmp_path / "x.npy", np.zeros((4, 5)))
    with pytest.raises(InputError, match=r"events \(n, 2 or 3\), not \(4, 5\)"):
        read_clocked(tmp_path / "x.npy", _graph())
    (tmp_path / "p.csv").write_text("0,1,1\n")
    with pytest.raises(InputError, match="even number of channels"):
        read_clocked(tmp_path / "p.csv", _graph(5))
    (tmp_path / "bad.npz").write_bytes(b"PK\x03\x04nonsense")
    with pytest.raises(InputError, match="must be a whole"):
        read_clocked(tmp_path / "bad.npz", _graph())
    with pytest.raises(InputError, match="cannot be read"):
        read_clocked(tmp_path / "gone.csv", _graph())
