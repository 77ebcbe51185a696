"""inspect, compare, eval, report and traces on spiking networks: the trained digits, and one that learns."""

from __future__ import annotations

import json
import os
import re
import xml.etree.ElementTree as xml
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from neuroloom.compiler.spiking import encoders
from neuroloom.compiler.spiking.recognise import recognise

import neuroloom as nl
from neuroloom.model import load

DIGITS = Path(__file__).resolve().parents[3] / "examples/digits_spiking/digits_spiking.nloom"

PAIRS = """
network: pairs
dt: 1e-3
seed: 3
inputs: {in: 12}
populations:
  exc: {size: 8, model: LIF, tau: 20e-3, threshold: 1.0, refractory: 2, record: [spikes, v]}
  inh: {size: 3, model: LIF, tau: 10e-3, threshold: 0.8, record: [spikes]}
projections:
  - {from: in, to: exc, name: plastic, topology: all_to_all, weights: {uniform: {low: 0.1, high: 0.5, seed: 2}},
     plasticity: {STDP: {a_plus: 0.03, a_minus: 0.02, w_max: 0.8}}}
  - {from: exc, to: inh, topology: {fixed_fan_in: {count: 4, seed: 5}}, weights: 0.3, delay: {uniform: {low: 1, high: 5, seed: 4}}}
  - {from: inh, to: exc, topology: all_to_all, weights: -0.2, delay: 1}
  - {from: inh, to: inh, topology: {random: {probability: 0.9, seed: 1}}, weights: 0.1, delay: 2}
decision: {population: exc, margin: 3}
"""

LAYERS = """
network: layers
dt: 1e-3
weight_bits: 5
inputs: {in: 10}
populations:
  hid: {size: 20, model: LIF, tau: 20e-3, threshold: 1.0}
  out: {size: 3, model: LIF, tau: 20e-3, threshold: 1.0, record: [spikes, v]}
projections:
  - {from: in, to: hid, topology: all_to_all, weights: {normal: {mean: 0.1, deviation: 0.3, seed: 2}}}
  - {from: hid, to: out, topology: all_to_all, weights: {normal: {mean: 0.05, deviation: 0.3, seed: 4}}, delay: 2}
"""


@pytest.fixture
def digits(require_tool: Callable[[str], None], tmp_path: Path) -> Path:
    """d.npz: the 40 first digits as spikes, and their labels."""
    require_tool("sklearn")
    from sklearn.datasets import load_digits

    data = load_digits()
    path = tmp_path / "d.npz"
    np.savez(path, x=encoders.rate(data.data[:40] / 16, 20), y=data.target[:40])
    return path


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """pairs.nloom: recurrent, with STDP, delays, an inhibiting loop and a decision."""
    (tmp_path / "pairs.yaml").write_text(PAIRS)
    return nl.compile(tmp_path / "pairs.yaml").save(tmp_path / "pairs.nloom")


@pytest.fixture
def noise(tmp_path: Path) -> Path:
    """n.npy: 2 samples of 60 steps for :func:`pairs`."""
    np.save(tmp_path / "n.npy", (np.random.default_rng(0).random((2, 60, 12)) < 0.15).astype(np.uint8))
    return tmp_path / "n.npy"


def test_inspect_shows_populations_projections_and_cores(cli, pairs: Path) -> None:
    outcome = cli("inspect", pairs)
    assert outcome.code == 0, outcome.err
    for text in (
        "pairs: 11 neurons, 12 spike inputs",
        "plastic",
        "STDP exponential",
        "early decision on exc",
        "cores that hold it",
    ):
        assert text in outcome.out
    for text in ("LUTs", "logic engine", "pipeline"):
        assert text not in outcome.out
    facts = json.loads(cli("inspect", pairs, "--json").out)
    assert [p["name"] for p in facts["populations"]] == ["in", "exc", "inh"]
    assert facts["synapses"] == sum(p["synapses"] for p in facts["projections"])
    assert facts["plastic_synapses"] == 96
    core = next(c for c in facts["cores"] if c["board"] == "ulx3s_85f" and not c["refusal"])
    assert 0 < core["idle_cycles"] < core["worst_cycles"]
    assert "activity" not in facts


def test_inspect_counts_on_data(cli, digits: Path) -> None:
    facts = json.loads(cli("inspect", DIGITS, "-i", digits, "--json").out)
    seen = facts["activity"]
    x = np.load(digits)["x"]
    assert seen["spikes"]["spikes"] == int(x.sum())
    assert seen["synaptic_operations"]["spikes-first"] == int(x.sum()) * 128
    assert seen["synaptic_operations"]["first-last"] == seen["spikes"]["first"] * 10
    assert seen["synaptic_operations_per_sample"] == sum(seen["synaptic_operations"].values()) / 40
    assert seen["energy"]["bit_budget"] == {"spikes-first": 160, "first-last": 160}
    assert {c["source"] for c in seen["energy"]["assumptions"]} and seen["energy"]["total_pj_per_sample"] > 0
    cycles = seen["cycles_of_first_sample"]["icebreaker"]
    core = next(c for c in facts["cores"] if c["board"] == "icebreaker" and not c["refusal"])
    assert core["idle_cycles"] <= cycles["mean"] <= cycles["most"] <= core["worst_cycles"]
    text = cli("inspect", DIGITS, "-i", digits).out
    for word in ("synaptic operations:", "Bit Budget", "energy estimate", "Horowitz", "assumed", "silent neurons"):
        assert word in text


def test_inspect_takes_data_of_spiking_networks_only(cli, model: Path, samples: Path) -> None:
    outcome = cli("inspect", model, "-i", samples)
    assert outcome.code == 2 and "-i must come with a spiking network" in outcome.err


def test_compare_says_where(cli, pairs: Path, noise: Path, tmp_path: Path) -> None:
    same = cli("compare", pairs, pairs, "-i", noise)
    assert same.code == 0 and "structure: equal" in same.out
    (tmp_path / "b.yaml").write_text(PAIRS.replace("threshold: 0.8", "threshold: 0.9"))
    nl.compile(tmp_path / "b.yaml").save(tmp_path / "b.nloom")
    other = cli("compare", pairs, "b.nloom", "-i", noise)
    assert other.code == 1 and "threshold" in other.out and "sample 0, step" in other.out
    found = json.loads(cli("compare", pairs, "b.nloom", "-i", noise, "--json").out)
    a, b = load(pairs).outputs(np.load(noise)), load("b.nloom").outputs(np.load(noise))
    for row in found["outputs"]:
        differs = a[row["name"]] != b[row["name"]]
        assert row["differ"] == int(differs.sum())
        if row["differ"]:
            place = (row["sample"], row["step"], *row["element"])
            assert differs[place] and not differs.reshape(-1)[: np.ravel_multi_index(place, differs.shape)].any()
    assert cli("compare", pairs, "b.nloom", "--most", 0).code == 2


def test_compare_logic_networks(cli, model: Path, samples: Path) -> None:
    assert cli("compare", model, model, "-i", samples).code == 0


def test_eval_by_the_decision(cli, digits: Path) -> None:
    facts = json.loads(cli("eval", DIGITS, "-i", digits, "--json").out)
    x, labels = np.load(digits)["x"], np.load(digits)["y"]
    y = load(DIGITS).outputs(x)
    answers = y["decision.winner"][:, -1] if "decision.winner" in y else y["last.spikes"].sum(1).argmax(1)
    assert facts["scores"]["graph"]["correct"] == int((answers == labels).sum()) >= 36
    assert np.sum(facts["confusion"]) == 40 and np.trace(facts["confusion"]) == facts["scores"]["graph"]["correct"]
    assert 1 <= facts["steps"]["mean"] <= 20
    early = {r["margin"]: r for r in facts["early"]}
    whole = y["last.spikes"].sum(axis=1).argmax(axis=1)
    assert early[None]["accuracy"] == float((whole == labels).mean()) and early[1]["steps"] < early[6]["steps"]
    text = cli("eval", DIGITS, "-i", digits).out
    assert "confusion (graph)" in text and "of 20 steps on average" in text


def test_eval_beside_the_float_source(cli, tmp_path: Path) -> None:
    (tmp_path / "net.yaml").write_text(LAYERS)
    rng = np.random.default_rng(3)
    np.savez("x.npz", x=(rng.random((20, 40, 10)) < 0.2).astype(np.uint8), y=rng.integers(0, 3, 20))
    outcome = cli("eval", "net.yaml", "-i", "x.npz", "-q")
    assert outcome.code == 0, outcome.err
    assert re.search(
        r"\d+ of 2,400 \([\d.]+ %\) of out.spikes differ from source; first at sample 0, step \d+",
        " ".join(outcome.out.split()),
    )
    facts = json.loads(cli("eval", "net.yaml", "-i", "x.npz", "--json", "-q").out)
    assert set(facts["scores"]) == {"graph", "source"} and facts["divergences"]["source"].startswith("sample 0, step ")


def test_eval_beside_a_source_without_an_early_decision(cli, tmp_path: Path) -> None:
    (tmp_path / "net.yaml").write_text(LAYERS + "decision: {population: out, margin: 2}\n")
    rng = np.random.default_rng(3)
    np.savez("x.npz", x=(rng.random((20, 40, 10)) < 0.2).astype(np.uint8), y=rng.integers(0, 3, 20))
    outcome = cli("eval", "net.yaml", "-i", "x.npz", "-q")
    assert outcome.code == 0, outcome.err
    assert (
        "class: decision.winner at the last step" in outcome.out and "of out.spikes differ from source" in outcome.out
    )


def test_eval_in_onnxruntime_is_equal(cli, digits: Path, require_tool) -> None:
    require_tool("onnxruntime")
    from neuroloom.compiler.frontends.export.spiking import export_spiking

    export_spiking(load(DIGITS), "digits.onnx")
    outcome = cli("eval", DIGITS, "-i", digits, "--source", "digits.onnx")
    assert outcome.code == 0, outcome.err
    assert "source and graph agree on all 40 samples" in outcome.out
    assert "last.spikes equals source in every step" in outcome.out


def test_eval_does_not_run_sources_that_learn(cli, pairs: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    np.savez("x.npz", x=(rng.random((4, 30, 12)) < 0.2).astype(np.uint8), y=rng.integers(0, 8, 4))
    quiet = cli("eval", "pairs.yaml", "-i", "x.npz")
    assert quiet.code == 0 and "source not run" in quiet.err and "must not learn" in quiet.err
    asked = cli("eval", pairs, "-i", "x.npz", "--source", "pairs.yaml")
    assert asked.code == 2 and "must not learn" in asked.err


def _page(path: str) -> str:
    text = Path(path).read_text()
    assert not re.search(r"""(src|href)=["'](?!data:|#)""", text), "the page asks for something from outside"
    assert "@import" not in text and "<script" not in text
    for drawing in re.findall(r"<svg .*?</svg>", text, re.S):
        xml.fromstring(drawing)
    return text


def test_report_of_the_digits(cli, digits: Path) -> None:
    outcome = cli("report", DIGITS, "-i", digits, "-o", "r.html")
    assert outcome.code == 0, outcome.err
    text = _page("r.html")
    sections = (
        "Network",
        "Spikes of the first sample: class 0",
        "Membranes of the first sample",
        "Accuracy",
        "confusion matrix",
        "Weights",
        "Firing rates over 40 samples of 20 steps",
        "spiking core",
        "Bit Budget",
        "Energy estimate",
        "time step (1 step = 1 ms)",
    )
    for word in sections:
        assert word in text, word
    assert cli("report", DIGITS, "-i", digits, "-o", "again.html").code == 0
    assert Path("again.html").read_bytes() == Path("r.html").read_bytes()


def test_report_of_learning(cli, pairs: Path, noise: Path) -> None:
    assert cli("report", pairs, "-i", noise, "-o", "r.html").code == 0
    text = _page("r.html")
    for word in (
        "before learning",
        "after 2 samples",
        "change",
        "course of learning",
        "distribution of delays",
        "weights below 0",
    ):
        assert word in text, word
    model = load(pairs)
    net = recognise(model.graph)
    learnt = net.projections["plastic"].learn.node.outputs[0].name
    last = model.outputs(np.load(noise), probes=[learnt])[learnt][-1, -1]
    assert f"−{max(abs(last).max(), abs(net.projections['plastic'].weights).max())}" in text


def test_report_without_samples_says_how_to_get_more(cli, pairs: Path, noise: Path) -> None:
    assert cli("report", pairs, "-o", "r.html").code == 0
    assert "no samples were given" in _page("r.html")
    assert cli("report", pairs, "--labels", "y.npy").code == 2
    np.save("y.npy", np.zeros(7, np.int64))
    outcome = cli("report", pairs, "-i", noise, "--labels", "y.npy")
    assert outcome.code == 2 and "labels must be 2 class numbers" in outcome.err
    assert cli("report", pairs, "--board", "icebreaker").code == 2


def _read_vcd(path: str) -> tuple[dict[str, int], np.ndarray]:
    """Signals by hierarchical name, and values [steps, signals]; a reader of its own."""
    signals: dict[str, tuple[int, int, bool]] = {}
    scope, rows, now, codes = "", [], None, {}
    for line in Path(path).read_text().splitlines():
        words = line.split()
        if words[0] == "$scope":
            scope = words[2]
        elif words[0] == "$var":
            codes[words[3]] = len(signals)
            signals[scope + words[4].removeprefix("v")] = (len(signals), int(words[2]), words[1] == "integer")
        elif line.startswith("#"):
            if now is not None:
                rows.append(list(now))
            now = list(now) if now is not None else [0] * len(signals)
        elif not line.startswith("$"):
            bits, code = (words[0][1:], words[1]) if line[0] == "b" else (line[0], line[1:])
            number, width, signed = list(signals.values())[codes[code]]
            value = int(bits, 2)
            now[number] = value - (1 << width) if signed and value >> width - 1 else value
    return {k: v[0] for k, v in signals.items()}, np.array(rows)


def test_traces_of_a_clocked_network(cli, pairs: Path, tmp_path: Path) -> None:
    Path("e.csv").write_text("t,i\n" + "".join(f"{t},{i}\n" for t in range(0, 30, 2) for i in range(12)))
    words = (
        "simulate",
        pairs,
        "-i",
        "e.csv",
        "--steps",
        40,
        "--probe",
        "exc.v",
        "--probe",
        "exc.spikes",
        "--probe",
        "plastic.weights",
    )
    for ending in ("vcd", "npz"):
        assert cli(*words, "--trace", f"t.{ending}", "-q").code == 0
    want = np.load("t.npz")
    assert want["exc.spikes"].shape == (1, 40, 8) and want["exc.spikes"].sum() > 10
    assert want["plastic.weights"].shape == (1, 40, 96)
    signals, values = _read_vcd("t.vcd")
    assert len(values) == 40
    for name in ("exc.v", "exc.spikes", "plastic.weights"):
        for k in range(want[name].shape[2]):
            np.testing.assert_array_equal(values[:, signals[f"{name}[{k}]"]], want[name][0, :, k])


def test_fst_needs_a_tool(cli, pairs: Path, noise: Path, tmp_path: Path, monkeypatch) -> None:
    words = ("simulate", pairs, "-i", noise, "--probe", "exc.spikes", "--trace", "t.fst", "-q")
    monkeypatch.setenv("PATH", str(tmp_path / "none"))
    outcome = cli(*words)
    assert outcome.code == 3 and "vcd2fst must be installed" in outcome.err and not Path("t.fst").exists()
    folder = tmp_path / "bin"
    folder.mkdir()
    for script, code in (('#!/bin/sh\n/bin/cat "$1" > "$2"\n', 0), ("#!/bin/sh\necho no room >&2\nexit 4\n", 3)):
        (folder / "vcd2fst").write_text(script)
        os.chmod(folder / "vcd2fst", 0o755)
        monkeypatch.setenv("PATH", str(folder))
        outcome = cli(*words)
        assert outcome.code == code
    assert "vcd2fst failed: no room" in outcome.err
    assert Path("t.fst").read_text().startswith("$comment neuroloom")


def test_trace_endings(cli, pairs: Path, noise: Path) -> None:
    outcome = cli("simulate", pairs, "-i", noise, "--probe", "exc.v", "--trace", "t.txt")
    assert outcome.code == 2 and "must end in .npz, .vcd, .fst" in outcome.err
    assert cli("simulate", pairs, "-i", noise, "--steps", 0).code == 2
