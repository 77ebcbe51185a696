"""What commands print and write when all is well."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from neuroloom.boards.registry import load_board
from neuroloom.compiler.passes.manager import all_passes
from neuroloom.host.cli import COMMANDS
from neuroloom.host.cli.app import load_command
from neuroloom.host.flow import schedule_model
from neuroloom.sim import reference

from neuroloom.model import load


def test_every_command_says_what_it_does(cli) -> None:
    outcome = cli("--help")
    assert outcome.code == 0
    for name, text in COMMANDS.items():
        assert name in outcome.out and text in outcome.out
        words = " ".join(cli(name, "--help").out.split())
        assert " ".join((load_command(name).__doc__ or "").split()) in words


def test_version(cli) -> None:
    assert cli("--version").out.startswith("neuroloom ")


def test_compile_is_deterministic(cli, source: Path) -> None:
    first = cli("compile", source, "-o", "a.nloom", "--json")
    second = cli("compile", source, "-o", "b.nloom", "--json")
    facts = json.loads(first.out)
    assert facts["hash"] == json.loads(second.out)["hash"] == load("a.nloom").hash.hex()
    assert Path("a.nloom").read_bytes() == Path("b.nloom").read_bytes()
    assert facts["inputs"] == {"image": "u8[9]"}


def test_dump_after_prints_the_graph(cli, source: Path) -> None:
    name = all_passes()[-1].name
    outcome = cli("compile", source, "-o", "a.nloom", "--dump-after", name)
    assert f"# after {name}" in outcome.out and 'graph "tiny" framed' in outcome.out


def test_level_0_keeps_source_nodes_to_probe(cli, source: Path, samples: Path) -> None:
    assert cli("compile", source, "-o", "a.nloom", "-O", 0).code == 0
    assert cli("simulate", "a.nloom", "-i", samples, "--probe", "layer1", "-o", "y.npz").code == 0
    probed = np.load("y.npz")
    graph = load("a.nloom").graph
    name = load("a.nloom").value_name("layer1")
    want = reference.run(graph, np.load(samples)["x"], probes=[name])[name]
    np.testing.assert_array_equal(probed[name], want)


def test_keep_preserves_a_node_through_the_optimiser(cli, source: Path, samples: Path) -> None:
    assert cli("compile", source, "-o", "a.nloom", "--keep", "encoder").code == 0
    assert cli("simulate", "a.nloom", "-i", samples, "--probe", "encoder", "-o", "y.npz").code == 0
    assert np.load("y.npz")["encoder"].reshape(30, -1).shape == (30, 18)


def test_inspect(cli, model: Path) -> None:
    outcome = cli("inspect", model)
    assert outcome.code == 0 and "proven range" in outcome.out and "real = 1/2 * q + 0" in outcome.out
    facts = json.loads(cli("inspect", model, "--json").out)
    assert facts["latency_cycles"] >= 1 and facts["luts"] <= 20
    assert cli("inspect", model, "--text").out.startswith('graph "tiny" framed')


def test_inspect_predicts_for_the_board_compiled_for(cli, source: Path) -> None:
    cli("compile", source, "-o", "a.nloom", "--board", "icebreaker")
    facts = json.loads(cli("inspect", "a.nloom", "--json").out)
    plan = schedule_model(load("a.nloom").graph, board=load_board("icebreaker"))
    assert (facts["latency_cycles"], facts["register_interval"]) == (plan.latency, plan.schedule.interval)
    assert facts["register_interval"] != json.loads(cli("inspect", source, "--json").out)["register_interval"]


@pytest.mark.parametrize("engine", ["auto", "fast", "reference"])
def test_simulate_gives_the_graphs_integers(cli, model: Path, samples: Path, engine: str) -> None:
    assert cli("simulate", model, "-i", samples, "-o", "y.npz", "--engine", engine).code == 0
    want = reference.run(load(model).graph, np.load(samples)["x"])
    got = np.load("y.npz")
    assert set(got.files) == {"scores", "label"}
    for name in want:
        np.testing.assert_array_equal(got[name], want[name])


def test_dequantize_and_limit(cli, model: Path, samples: Path) -> None:
    outcome = cli("simulate", model, "-i", samples, "-n", 3, "--dequantize", "--json")
    data = json.loads(outcome.out)
    want = reference.run(load(model).graph, np.load(samples)["x"][:3])
    assert data["samples"] == 3
    np.testing.assert_array_equal(np.array(data["outputs"]["scores"]), want["scores"] / 2)


def test_traces(cli, source: Path, samples: Path) -> None:
    cli("compile", source, "-o", "a.nloom", "-O", 0)
    assert cli("simulate", "a.nloom", "-i", samples, "--probe", "sum", "--trace", "t.vcd", "-o", "y.npz").code == 0
    text = Path("t.vcd").read_text()
    assert text.count("$var") == 4 and "$enddefinitions" in text and "#30" in text
    assert cli("simulate", "a.nloom", "-i", samples, "--probe", "sum", "--trace", "t.npz", "-o", "y.npz").code == 0
    assert len(np.load("t.npz").files) == 1


def test_eval_counts_and_compares_with_the_source(cli, model: Path, source: Path, samples: Path, require_tool) -> None:
    require_tool("onnxruntime")
    outcome = cli("eval", model, "-i", samples, "--source", source, "--json")
    assert outcome.code == 0, outcome.err
    scores = json.loads(outcome.out)["scores"]
    labels = reference.run(load(model).graph, np.load(samples)["x"])["label"]
    assert scores["graph"]["correct"] == scores["source"]["correct"] == int((labels == np.load(samples)["y"]).sum())
    assert "agree on all 30 samples" in cli("eval", model, "-i", samples, "--source", source).out


def test_eval_says_no_when_source_and_graph_differ(
    cli, model: Path, samples: Path, tmp_path: Path, require_tool
) -> None:
    require_tool("onnxruntime")
    from neuroloom.compiler.frontends.export import LogicModelWriter

    w = LogicModelWriter("other")
    x = w.input("image", (9,), "uint8")
    bits = w.thermometer(x, np.full((9, 4), 128), name="encoder")
    scores = w.group_sum(bits, groups=4, name="sum")
    w.output(scores, "scores")
    w.output(w.argmax(scores, name="class"), "label")
    w.save(tmp_path / "other.onnx")
    outcome = cli("eval", model, "-i", samples, "--source", tmp_path / "other.onnx")
    assert outcome.code == 1 and "source and graph differ on" in outcome.out


def test_verify_to_fast_with_random_samples(cli, model: Path) -> None:
    outcome = cli("verify", model, "--to", "fast", "--random", 100, "-o", "v.json")
    assert outcome.code == 0 and "equal" in outcome.out
    assert [r["name"] for r in json.loads(Path("v.json").read_text())["rungs"]] == ["graph", "fast"]


def test_report_is_one_self_contained_page(cli, model: Path, samples: Path) -> None:
    cli("verify", model, "--to", "fast", "-o", "v.json")
    assert cli("report", model, "-i", samples, "--verified", "v.json", "-o", "r.html").code == 0
    page = Path("r.html").read_text()
    assert "<svg" in page and "confusion matrix" in page and "Verification" in page
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "") and "<script" not in page
    again = page
    cli("report", model, "-i", samples, "--verified", "v.json", "-o", "r.html")
    assert Path("r.html").read_text() == again


def test_build_verilog_needs_no_tools(cli, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert cli("build", model, "--verilog", "core.v").code == 0
    assert "module nl_tiny" in Path("core.v").read_text()


def test_lists(cli) -> None:
    assert {b["name"] for b in json.loads(cli("boards", "--json").out)} >= {"icebreaker", "ulx3s_85f", "tang_nano_9k"}
    assert "12000000" in cli("boards", "icebreaker").out
    assert [p["name"] for p in json.loads(cli("passes", "--json").out)] == [p.name for p in all_passes()]


def test_doctor_lists_every_tool(cli) -> None:
    from neuroloom.boards.toolspecs import TOOLS

    found = json.loads(cli("doctor", "--json").out)
    assert {row["tool"] for row in found} == set(TOOLS)
