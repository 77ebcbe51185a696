"""How the class is read and when it stood, against plain loops and against the graph's own early decision."""

from __future__ import annotations

import numpy as np
import pytest
from neuroloom.compiler.errors import InputError, UnsupportedError
from neuroloom.compiler.spiking.recognise import recognise
from neuroloom.host.look.answers import early_decisions, reading_of, timing
from neuroloom.host.look.network import population_rows
from neuroloom.host.look.sources import source_outputs

import neuroloom as nl


def test_the_last_population_is_read_by_its_spikes(layers, noise) -> None:
    reading = reading_of(layers.graph)
    assert (reading.output, reading.kind) == ("out.spikes", "count")
    y = layers.outputs(noise(6, 30, 10))
    want = [int(np.argmax([y["out.spikes"][n, :, c].sum() for c in range(3)])) for n in range(6)]
    assert reading.classes(y).tolist() == want
    by_membrane = reading_of(layers.graph, "out.v")
    assert by_membrane.kind == "membrane"
    np.testing.assert_array_equal(by_membrane.classes(y), y["out.v"][:, -1].argmax(axis=1))


def test_several_last_populations_must_be_named(learning, random_graphs) -> None:
    with pytest.raises(InputError, match="--output-name.*exc.spikes"):
        reading_of(learning.graph)
    assert reading_of(learning.graph, "exc.spikes").kind == "count"
    with pytest.raises(InputError, match="--output-name must be one of"):
        reading_of(learning.graph, "nobody")
    assert reading_of(random_graphs(1)).kind == "score"


def test_an_early_decision_is_the_answer_and_equals_the_one_worked_out_from_the_spikes(
    described, layers, noise
) -> None:
    x, labels = noise(40, 30, 10), np.random.default_rng(1).integers(0, 3, 40)
    rows = {r.margin: r for r in early_decisions(layers.outputs(x)["out.spikes"], labels, range(1, 5))}
    for margin in (1, 2, 4):
        model = nl.compile(described("layers", extra=f"decision: {{population: out, margin: {margin}}}\n"))
        reading = reading_of(model.graph)
        y = model.outputs(x)
        when = timing(reading, y)
        assert reading.kind == "winner" and when is not None and when.decided is not None
        assert float(when.steps.mean()) == rows[margin].steps
        assert float((reading.classes(y) == labels).mean()) == rows[margin].accuracy
        assert "decided after" in when.text()
    whole = rows[None]
    assert whole.steps == 30
    assert whole.accuracy == float((reading_of(layers.graph).classes(layers.outputs(x)) == labels).mean())


def test_an_answer_stands_from_the_step_behind_the_last_other_leader(layers, noise) -> None:
    reading = reading_of(layers.graph)
    y = layers.outputs(noise(12, 30, 10))
    when = timing(reading, y)
    assert when is not None and when.decided is None and "stands after" in when.text()
    for n in range(12):
        leaders = [int(np.argmax(y["out.spikes"][n, : t + 1].sum(axis=0))) for t in range(30)]
        want = next(t for t in range(30) if all(k == leaders[-1] for k in leaders[t:])) + 1
        assert when.steps[n] == want


def test_sources_are_run_in_real_numbers(described, layers, noise, tmp_path) -> None:
    x = noise(3, 20, 10)
    path = described("layers")
    got = source_outputs(path, layers.graph, {"in": x})
    np.testing.assert_array_equal(got["out.spikes"], nl.Network.load(path) and _simulated(path, x))
    with pytest.raises(UnsupportedError, match="must not learn"):
        source_outputs(described("learning", "learn.yaml"), layers.graph, {"in": x})
    with pytest.raises(InputError, match="source must end in .onnx"):
        source_outputs(tmp_path / "a.txt", layers.graph, {"in": x})


def _simulated(path, x):
    from neuroloom.compiler.spiking.real import simulate

    return simulate(nl.Network.load(path), x)["out.spikes"]


def test_membranes_that_never_spike_are_the_readout(noise) -> None:
    net = nl.Network("readout")
    net.input("in", 10)
    net.population("hid", 6, nl.LIF(tau=20e-3), record=["spikes"])
    net.population("out", 3, nl.LI(tau=20e-3), record=["spikes", "v"])
    rng = np.random.default_rng(0)
    net.connect("in", "hid", weights=rng.random((10, 6)))
    net.connect("hid", "out", weights=rng.random((6, 3)))
    model = nl.compile(net)
    reading = reading_of(model.graph)
    assert (reading.output, reading.kind) == ("out.v", "membrane")
    row = next(r for r in population_rows(recognise(model.graph)) if r.name == "out")
    assert (row.model, row.threshold) == ("LI", "none")
