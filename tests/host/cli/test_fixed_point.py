"""A float network on the command line: calibrated, inspected beside its source, evaluated with and without labels, clocked."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper, save


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """gru.onnx (a GRU and a layer of scores), step.onnx (a recurrent step), x.npz, labelled.npz, steps.npz."""
    rng = np.random.default_rng(0)

    def draw(*shape: int) -> np.ndarray:
        return (rng.normal(size=shape) * 0.6).astype(np.float32)

    def value(name: str, shape: list[Any] | None) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    def write(
        name: str, nodes: list[Any], inputs: list[Any], outputs: list[Any], constants: dict[str, np.ndarray]
    ) -> None:
        stored = [numpy_helper.from_array(a, n) for n, a in constants.items()]
        graph = helper.make_graph(nodes, "net", inputs, outputs, stored)
        save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), tmp_path / name)

    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[1, 0, 2]),
        helper.make_node("GRU", ["t", "W", "R"], ["", "last"], name="GRU_0", hidden_size=5, linear_before_reset=1),
        helper.make_node("Squeeze", ["last", "zero"], ["h"]),
        helper.make_node("Gemm", ["h", "V"], ["scores"], name="Gemm_1"),
    ]
    constants = {"W": draw(1, 15, 3), "R": draw(1, 15, 5), "V": draw(5, 4), "zero": np.zeros(1, np.int64)}
    write("gru.onnx", nodes, [value("x", ["N", 6, 3])], [value("scores", ["N", 4])], constants)
    step = [
        helper.make_node("Concat", ["x", "h"], ["both"], axis=1),
        helper.make_node("Gemm", ["both", "W"], ["pre"], name="Gemm_0"),
        helper.make_node("Tanh", ["pre"], ["next"], name="Tanh_0"),
        helper.make_node("ReduceMean", ["next", "one"], ["y"], keepdims=0),
    ]
    shapes = [value("x", ["N", 3]), value("h", ["N", 5])]
    write(
        "step.onnx",
        step,
        shapes,
        [value("y", ["N"]), value("next", ["N", 5])],
        {"W": draw(8, 5), "one": np.ones(1, np.int64)},
    )
    np.savez(tmp_path / "x.npz", x=draw(80, 6, 3))
    np.savez(tmp_path / "labelled.npz", x=draw(40, 6, 3), y=np.zeros(40, np.int64))
    np.savez(tmp_path / "steps.npz", x=draw(30, 12, 3))
    return tmp_path


def test_from_calibration_to_errors(files: Path, cli: Callable[..., Any], require_tool: Callable[[str], None]) -> None:
    (files / "net.yaml").write_text("table_bits: 12\nnodes:\n  Gemm_1: {weight_bits: 12}\n")
    done = cli("compile", "gru.onnx", "--calibrate", "x.npz", "--config", "net.yaml", "-o", "m.nloom")
    assert done.code == 0, done.err
    seen = cli("inspect", "m.nloom", "-i", "x.npz", "--source", "gru.onnx", "--json")
    data = json.loads(seen.out)["fixed_point"]
    rows = {r["value"]: r for r in data["values"]}
    z = rows["GRU_0.z"]
    assert z["type"].startswith("u15") and z["proven"][0] <= z["observed"][0] < z["observed"][1] <= z["proven"][1] <= 1
    assert 0 < z["rms"] <= z["worst"] < 0.02 and data["calibration"]["samples"] == 80
    assert data["outputs"]["scores"]["worst"] < 0.05 and data["outputs"]["scores"]["decibels"] > 30
    shown = cli("inspect", "m.nloom", "-i", "x.npz", "--source", "gru.onnx")
    assert "no element was outside its calibrated format" in shown.out and "GRU_0.n.in" in shown.out
    plain = cli("inspect", "m.nloom")
    assert "calibrated on 80 samples (minmax)" in plain.out and "worst error" not in plain.out
    require_tool("onnxruntime")
    scored = cli("eval", "m.nloom", "-i", "labelled.npz", "--source", "gru.onnx")
    assert scored.code == 0 and "source" in scored.out and "graph" in scored.out


def test_what_lies_outside_is_counted(files: Path, cli: Callable[..., Any]) -> None:
    x = np.load(files / "x.npz")["x"]
    np.savez(files / "loud.npz", x=x * 3)
    assert cli("compile", "gru.onnx", "--calibrate", "x.npz", "-o", "m.nloom").code == 0
    data = json.loads(cli("eval", "m.nloom", "-i", "loud.npz", "--source", "gru.onnx", "--json").out)
    assert sum(data["outside"].values()) > 0
    assert (
        "were outside their calibrated formats" in cli("eval", "m.nloom", "-i", "loud.npz", "--source", "gru.onnx").out
    )


def test_a_step_with_memory(files: Path, cli: Callable[..., Any]) -> None:
    done = cli("compile", "step.onnx", "--state", "h:next", "--calibrate", "steps.npz", "-o", "s.nloom")
    assert done.code == 0, done.err
    data = json.loads(cli("eval", "s.nloom", "-i", "steps.npz", "--source", "step.onnx", "--json").out)
    assert set(data["outputs"]) == {"y"} and data["outputs"]["y"]["worst"] < 0.05
    assert "(clocked)" in cli("inspect", "s.nloom").out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--calibrate", "x.npz", "--config", "none.yaml"], "none.yaml cannot be read"),
        (["--config", "net.yaml"], "must come with samples to calibrate with"),
        (["--calibrate", "x.npz", "--state", "h"], "--state must be INPUT:OUTPUT, not 'h'"),
        (["--calibrate", "x.npz", "--state", "h:scores"], "state must name one of the inputs x, not 'h'"),
        (["--calibrate", "steps.npz"], "calibration data of 'x' must have the shape (samples, 6, 3), not (30, 12, 3)"),
    ],
)
def test_refusals(files: Path, cli: Callable[..., Any], words: list[str], message: str) -> None:
    (files / "net.yaml").write_text("bits: 12\n")
    done = cli("compile", "gru.onnx", *words)
    assert done.code == 2 and message in done.err and "Traceback" not in done.err


def test_widths_for_a_budget(files: Path, cli: Callable[..., Any]) -> None:
    done = cli("compile", "gru.onnx", "--calibrate", "x.npz", "--max-error", "0.02", "-o", "m.nloom")
    assert done.code == 0 and "bits of weights and tables" in done.out, done.err
    data = json.loads(cli("inspect", "m.nloom", "-i", "x.npz", "--source", "gru.onnx", "--blame", "--json").out)[
        "fixed_point"
    ]
    assert data["outputs"]["scores"]["rms"] <= 0.02 and {r["node"] for r in data["blame"]} == {"GRU_0", "Gemm_1"}
    for words, message in (
        (["--calibrate", "x.npz", "--least", "latency"], "--least latency must come with a budget"),
        (["--max-error", "0.1"], "a budget must come with samples to measure on"),
        (["--calibrate", "x.npz", "--max-error", "0.1", "--max-accuracy-drop", "1%"], "not both"),
        (["--calibrate", "x.npz", "--max-accuracy-drop", "1%"], "class number"),
    ):
        refused = cli("compile", "gru.onnx", *words)
        assert refused.code == 2 and message in refused.err


@pytest.mark.campaign  # minutes: every trial is scheduled for the engine; tests/host/test_precision.py has a small search
def test_the_fewest_cycles_for_a_budget(files: Path, cli: Callable[..., Any]) -> None:
    budget = ["--calibrate", "x.npz", "--max-error", "0.02", "--least", "latency", "--board", "icebreaker"]
    done = cli("compile", "gru.onnx", *budget, "-o", "fast.nloom", "--json")
    shown = json.loads(cli("inspect", "fast.nloom", "--json").out)
    assert done.code == 0 and shown["records"]["budget"]["least"] == "latency", done.err
    assert shown["records"]["budget"]["cycles"] == shown["gated"]["cycles"][1]
