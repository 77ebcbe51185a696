"""Event lists and encoders: what comes in, what it becomes, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from neuroloom.compiler.errors import InputError
from neuroloom.compiler.ir import Builder, Type
from neuroloom.compiler.spiking import encoders
from neuroloom.compiler.spiking.events import check_events, read_events, to_events, to_raster, to_steps
from neuroloom.sim import reference

EVENTS = np.array([[0, 2], [0, 0], [3, 1], [7, 2]])


def test_events_and_rasters_say_the_same() -> None:
    raster = to_raster(EVENTS, 3, steps=10)
    assert raster.shape == (10, 3) and raster.dtype == np.uint8
    assert np.argwhere(raster).tolist() == [[0, 0], [0, 2], [3, 1], [7, 2]]
    assert to_events(raster).tolist() == [[0, 0], [0, 2], [3, 1], [7, 2]]
    assert to_raster(EVENTS, 3).shape == (8, 3)
    rng = np.random.default_rng(0)
    x = (rng.random((50, 7)) < 0.2).astype(np.uint8)
    assert (to_raster(to_events(x), 7, steps=50) == x).all()
    assert to_raster(np.zeros((0, 2), int), 3, steps=4).sum() == 0


def test_polarities_get_channels_of_their_own() -> None:
    raster = to_raster(np.array([[0, 1, 1], [0, 1, 0], [2, 0, 0]]), 2)
    assert np.argwhere(raster).tolist() == [[0, 1], [0, 3], [2, 2]]


def test_files_are_read(tmp_path: Path) -> None:
    np.save(tmp_path / "e.npy", EVENTS)
    np.savez(tmp_path / "a.npz", t=EVENTS[:, 0], i=EVENTS[:, 1])
    np.savez(tmp_path / "b.npz", events=EVENTS)
    np.savez(tmp_path / "p.npz", t=EVENTS[:, 0], i=EVENTS[:, 1], p=[1, 0, 1, 0])
    (tmp_path / "e.csv").write_text("t,i\n0, 2\n0,0\n# remark\n3,1\n\n7,2\n")
    (tmp_path / "plain.csv").write_text("0,2\n0,0\n3,1\n7,2\n")
    for name in ("e.npy", "a.npz", "b.npz", "e.csv", "plain.csv"):
        assert (read_events(tmp_path / name, 3) == EVENTS).all(), name
    assert read_events(tmp_path / "p.npz", 3)[:, 2].tolist() == [1, 0, 1, 0]


@pytest.mark.parametrize(
    ("events", "message"),
    [
        ([[3, 0], [1, 0]], "events must be in the order of time, but event 1 is at step 1, behind step 3"),
        ([[0, 3]], "channels of events must be in 0..2, not 3 (event 0)"),
        ([[0, -1]], "channels of events must be in 0..2, not -1 (event 0)"),
        ([[-1, 0]], "times of events must be at least 0, not -1"),
        ([[20, 0]], "times of events must be below 10 steps, not 20"),
        ([[1, 0], [1, 0]], "events must name a channel once per step, not twice 0 in step 1"),
        ([[1, 0, 2]], "polarity of events must be 0 or 1, not 2"),
        ([[1.5, 0]], "events must be integers; quantise times to steps with to_steps"),
        ([1, 2], "events must be rows of t, i or t, i, polarity, not of shape [2]"),
        ([["a", "b"]], "events must be integers, not <U1"),
    ],
)
def test_bad_events_are_refused(events: list[list[float]], message: str) -> None:
    with pytest.raises(InputError) as error:
        check_events(np.array(events), 3, steps=10)
    assert str(error.value) == message


def test_bad_files_are_refused(tmp_path: Path) -> None:
    def refused(name: str) -> str:
        with pytest.raises(InputError) as error:
            read_events(tmp_path / name, 3)
        return str(error.value).replace(f"{tmp_path}/", "")

    (tmp_path / "late.csv").write_text("5,0\n2,0\n")
    assert (
        refused("late.csv")
        == "events of late.csv must be in the order of time, but event 1 is at step 2, behind step 5"
    )
    (tmp_path / "text.csv").write_text("0,1\n1,x\n")
    assert refused("text.csv") == "line 2 of text.csv must be t,i or t,i,p in integers, not '1,x'"
    (tmp_path / "columns.csv").write_text("0,1\n1,1,1\n")
    assert refused("columns.csv") == "line 2 of columns.csv must have 2 columns, not 3"
    np.savez(tmp_path / "t.npz", t=[1])
    assert refused("t.npz") == "t.npz must hold the arrays t and i (and p), or events, not t"
    (tmp_path / "x.npy").write_bytes(b"nonsense")
    assert refused("x.npy").startswith("x.npy must be an .npy of numbers")
    assert refused("absent.csv") == "absent.csv cannot be read: No such file or directory"
    assert refused("x.txt") == "event file must end in .npy, .npz, .csv, not 'x.txt'"
    np.save(tmp_path / "object.npy", np.array([{}], dtype=object), allow_pickle=True)
    assert "must be an .npy of numbers" in refused("object.npy")


def test_times_become_steps() -> None:
    assert to_steps([0.0, 0.0029999999999999996, 0.003, 0.0035, 0.9], 1e-3).tolist() == [0, 3, 3, 3, 900]
    with pytest.raises(InputError, match="times must be finite"):
        to_steps([np.inf], 1e-3)


def test_even_rates_are_spaced_evenly() -> None:
    raster = encoders.rate(np.array([0.0, 0.25, 0.5, 1.0]), 8)
    assert raster.T.tolist() == [[0] * 8, [0, 0, 0, 1] * 2, [0, 1] * 4, [1] * 8]


def test_drawn_rates_come_from_the_graphs_lfsr() -> None:
    builder = Builder("lfsr", clocked=True)
    builder.input("clock", Type(1), (1,))
    state = builder.state(np.array(9), Type(32), "sample", name="lfsr")
    builder.update(state, builder.node("lfsr", [state], name="next"))
    builder.output("next", "next")
    numbers = reference.run(builder.finish(), np.zeros((1, 40, 1), int))["next"][0]
    assert (encoders.lfsr_numbers(40, 9) == numbers).all()
    drawn = encoders.rate(np.array([[0.25, 0.75]]), 20, seed=9)
    target = np.rint(np.array([0.25, 0.75]) * 65536)
    assert (drawn.ravel() == ((numbers & 0xFFFF).reshape(20, 2) < target).ravel()).all()
    many = encoders.rate(np.full((2, 5), 0.3), 2000, seed=1)
    assert many.shape == (2, 2000, 5) and abs(many.mean() - 0.3) < 0.02


def test_larger_values_spike_earlier() -> None:
    raster = encoders.latency(np.array([1.0, 0.5, 0.0]), 5)
    assert raster.argmax(axis=0)[:2].tolist() == [0, 2] and raster.sum(axis=0).tolist() == [1, 1, 0]


def test_delta_follows_a_signal() -> None:
    signal = np.array([0.0, 0.5, 1.2, 1.2, 0.9, -0.5])[:, None]
    spikes = encoders.delta(signal, 0.5)
    assert spikes.T.tolist() == [[0, 1, 1, 0, 0, 0], [0, 0, 0, 0, 0, 1]]
    assert np.abs(np.cumsum(spikes[:, 0].astype(int) - spikes[:, 1]) * 0.5 - signal[:, 0]).max() < 1.01


def test_constant_currents_are_repeated() -> None:
    assert encoders.constant(np.array([[1.0, 2.0]]), 3).tolist() == [[[1.0, 2.0]] * 3]


def test_normalise_brings_data_to_0_1() -> None:
    assert encoders.normalise(np.array([2.0, 4.0, 6.0])).tolist() == [0, 0.5, 1]
    assert encoders.normalise(np.array([2.0, 8.0]), 4, 6).tolist() == [0, 1]


@pytest.mark.parametrize(
    ("encode", "message"),
    [
        (lambda: encoders.rate(np.array([1.5]), 4), "values must be in 0..1, not 1.5; bring them there with normalise"),
        (lambda: encoders.rate(np.array([np.nan]), 4), "values must be finite, not nan (at 0)"),
        (lambda: encoders.rate(np.array([0.5]), 0), "steps must be an integer of at least 1, not 0"),
        (lambda: encoders.rate(np.array([0.5]), 4, seed=0), "seed must be in 1..4294967295, not 0"),
        (lambda: encoders.delta(np.zeros((3, 1)), 0.0), "threshold must be above 0, not 0.0"),
        (lambda: encoders.delta(np.zeros(3), 1.0), "signal must be [..., steps, channels], not of shape [3]"),
        (lambda: encoders.normalise(np.ones(3)), "low must be below high, not 1 and 1"),
    ],
)
def test_encoders_refuse_in_one_sentence(encode: object, message: str) -> None:
    with pytest.raises(InputError) as error:
        encode()  # type: ignore[operator]
    assert str(error.value) == message
