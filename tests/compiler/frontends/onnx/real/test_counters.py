"""The number of a loop's step as an integer: rows and weights by it, choices and arithmetic, on the engine too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from neuroloom.compiler.frontends.onnx import load_onnx
from neuroloom.compiler.gated.executor import Executor
from neuroloom.compiler.pipeline import compile_graph
from neuroloom.compiler.wire import pack_samples, unpack_answers
from neuroloom.host.gated.choose import fitted
from neuroloom.sim import reference
from onnx import TensorProto, helper

from .conftest import make_model

RNG = np.random.default_rng(0)
FEEDS = {n: RNG.normal(size=s).astype(np.float32) for n, s in (("x", (20, 4)), ("seq", (20, 5, 4)))}
ROWS, WEIGHTS = RNG.normal(size=(5, 4)).astype(np.float32), RNG.normal(size=(5, 4, 4)).astype(np.float32)
ADDED = [helper.make_node("Add", ["s", "row"], ["u"]), helper.make_node("Tanh", ["u"], ["t"])]


def node(op: str, inputs: list[str], output: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op, inputs, [output], **attributes)


BODIES: dict[str, tuple[list[onnx.NodeProto], dict[str, np.ndarray]]] = {
    "a row of a table": ([node("Gather", ["rows", "i"], "row"), *ADDED], {"rows": ROWS}),
    "a row of the sample": ([node("Gather", ["seq", "i"], "row", axis=1), *ADDED], {}),
    "rows from the end": (
        [node("Sub", ["four", "i"], "j"), node("Gather", ["seq", "j"], "row", axis=1), *ADDED],
        {"four": np.array(4)},
    ),
    "a number": (
        [node("Cast", ["i"], "f", to=TensorProto.FLOAT), node("Mul", ["f", "tenth"], "row"), *ADDED],
        {"tenth": np.float32(0.1)},
    ),
    "one step of its own": (
        [node("Equal", ["i", "two"], "now"), node("Where", ["now", "s", "other"], "u"), node("Tanh", ["u"], "t")],
        {"two": np.array(2), "other": np.float32(0.3)},
    ),
    "weights of its own": (
        [node("Gather", ["all", "i"], "w"), node("MatMul", ["s", "w"], "u"), node("Tanh", ["u"], "t")],
        {"all": WEIGHTS},
    ),
}


@pytest.mark.parametrize("name", BODIES)
def test_by_the_number_of_the_step(name: str, same_as_onnxruntime: Callable[..., Any]) -> None:
    nodes, constants = BODIES[name]
    value = helper.make_tensor_value_info
    body = helper.make_graph(
        [node("Identity", ["go"], "go_on"), *nodes],
        "body",
        [value("i", TensorProto.INT64, []), value("go", TensorProto.BOOL, []), value("s", TensorProto.FLOAT, ["N", 4])],
        [value("go_on", TensorProto.BOOL, []), value("t", TensorProto.FLOAT, None)],
    )
    loop = helper.make_node("Loop", ["m", "", "x"], ["y"], name="the_Loop", body=body)
    net = make_model([loop], {"x": ["N", 4], "seq": ["N", 5, 4]}, ["y"], {"m": np.array(5), **constants})
    same_as_onnxruntime(net, FEEDS)
    graph = compile_graph(load_onnx(net, calibrate=FEEDS, quantise=True))
    arrays = {
        i.name: np.clip(np.rint(FEEDS[i.name].astype(float) / float(i.affine.scale[0])).astype(np.int64), *i.range)
        for i in graph.inputs
    }
    want = reference.run(graph, arrays)["y"]
    executor = Executor(fitted(graph))
    for number in range(2):
        sample = pack_samples(graph, {n: a[number : number + 1] for n, a in arrays.items()})[0]
        run = executor.run(sample.tobytes(), fresh=True)
        assert (unpack_answers(graph, np.frombuffer(run.answer, np.uint8)[None])["y"][0] == want[number]).all()
