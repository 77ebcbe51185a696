"""Random networks of standard operators, against onnxruntime, and through the passes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import onnx
import pytest
from neuroloom.compiler.errors import UnsupportedError
from neuroloom.compiler.ir import Graph
from neuroloom.compiler.pipeline import compile_graph
from neuroloom.sim.reference import run
from onnx import helper, numpy_helper

Agree = Callable[..., Graph]
SAMPLES = 40


@dataclass
class Net:
    """A model being drawn: nodes, constants, and the tensors so far as (name, dtype, per-sample shape)."""

    rng: np.random.Generator
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[onnx.TensorProto] = field(default_factory=list)
    tensors: list[tuple[str, str, tuple[int, ...]]] = field(default_factory=list)

    def constant(self, array: np.ndarray) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def add(self, op: str, inputs: list[str], dtype: str, shape: tuple[int, ...], **attributes: object) -> None:
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], **attributes))
        self.tensors.append((name, dtype, shape))

    def pick(self, *dtypes: str, rank: int = 0) -> tuple[str, str, tuple[int, ...]] | None:
        fitting = [t for t in self.tensors if t[1] in dtypes and len(t[2]) >= rank]
        recent = fitting[-6:]
        return recent[int(self.rng.integers(len(recent)))] if recent else None


def _values(rng: np.random.Generator, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    if dtype == "bool":
        return rng.integers(0, 2, shape).astype(bool)
    if dtype == "float32":
        return np.float32(rng.integers(-12, 12, shape)) / np.float32(rng.choice([1, 2, 4]))
    return rng.integers(-9 if dtype == "int32" else 0, 10, shape).astype(dtype)


def _draw(net: Net) -> None:
    """Append one random node."""
    rng = net.rng
    kind = rng.choice(
        ["logic", "not", "gather", "slice", "concat", "transpose", "reshape", "cast", "compare", "where", "sum", "arith", "extreme",
         "clip", "divmod", "pad", "tile", "largest", "relation", "expand"]
    )  # fmt: skip
    x = {
        "logic": lambda: net.pick("bool"),
        "not": lambda: net.pick("bool"),
        "arith": lambda: net.pick("int32", "float32"),
        "compare": lambda: net.pick("int32", "float32"),
        "relation": lambda: net.pick("int32"),
        "extreme": lambda: net.pick("int32", "float32"),
        "clip": lambda: net.pick("int32", "float32"),
        "divmod": lambda: net.pick("int32"),
        "where": lambda: net.pick("int32", "float32"),
        "sum": lambda: net.pick("int32", "float32", rank=1),
        "largest": lambda: net.pick("int32", rank=1),
    }.get(kind, lambda: net.pick("bool", "int32", "float32", "uint8", rank=1))()
    if x is None:
        return
    name, dtype, shape = x
    axis = int(rng.integers(len(shape))) if shape else 0
    other = int(rng.integers(0, 2)) and next((t for t in net.tensors[::-1] if t[1:] == x[1:] and t[0] != name), None)
    second = other[0] if other else net.constant(_values(rng, dtype, shape[int(rng.integers(len(shape) + 1)) :]))
    pair = [name, second] if rng.integers(2) else [second, name]
    if kind == "logic":
        net.add(str(rng.choice(["And", "Or", "Xor"])), pair, "bool", shape)
    elif kind == "not":
        net.add("Not", [name], "bool", shape)
    elif kind == "gather":
        index = rng.integers(-shape[axis], shape[axis], tuple(rng.integers(1, 5, int(rng.integers(1, 3)))))
        if index.size * int(np.prod(shape)) < 400:
            net.add(
                "Gather",
                [name, net.constant(index)],
                dtype,
                shape[:axis] + index.shape + shape[axis + 1 :],
                axis=axis + 1,
            )
    elif kind == "slice":
        step = int(rng.choice([-2, -1, 1, 2]))
        start, stop = (0, shape[axis]) if step > 0 else (shape[axis], -shape[axis] - 1)
        start += int(rng.integers(0, shape[axis])) * (1 if step > 0 else 0)
        size = len(range(shape[axis])[slice(start, stop if step > 0 else None, step)])
        arrays = [net.constant(np.array([v])) for v in (start, stop, axis + 1, step)]
        net.add("Slice", [name, *arrays], dtype, shape[:axis] + (size,) + shape[axis + 1 :])
    elif kind == "concat":
        peer = other[0] if other else name
        if 2 * int(np.prod(shape)) < 400:
            net.add("Concat", [name, peer], dtype, shape[:axis] + (2 * shape[axis],) + shape[axis + 1 :], axis=axis + 1)
    elif kind == "transpose":
        perm = rng.permutation(len(shape))
        net.add("Transpose", [name], dtype, tuple(shape[p] for p in perm), perm=[0, *(int(p) + 1 for p in perm)])
    elif kind == "reshape":
        size = int(np.prod(shape))
        divisor = int(rng.choice([d for d in range(1, size + 1) if size % d == 0])) if size else 1
        net.add("Reshape", [name, net.constant(np.array([0, divisor, -1]))], dtype, (divisor, size // divisor))
    elif kind == "cast":
        to = str(rng.choice(["bool", "uint8", "int32", "float32"]))
        if dtype != "float32" or to in ("int32", "bool"):
            net.add("Cast", [name], to, shape, to=helper.np_dtype_to_tensor_dtype(np.dtype(to)))
    elif kind == "compare":
        level = net.constant(_values(rng, dtype, shape[int(rng.integers(len(shape) + 1)) :]))
        op = str(rng.choice(["Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Equal"]))
        net.add(op, [name, level] if rng.integers(2) else [level, name], "bool", shape)
    elif kind == "relation":
        net.add(str(rng.choice(["Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Equal"])), pair, "bool", shape)
    elif kind == "where":
        condition = next((t[0] for t in net.tensors[::-1] if t[1] == "bool" and t[2] == shape), None)
        net.add("Where", [condition or net.constant(_values(rng, "bool", shape)), *pair], dtype, shape)
    elif kind == "sum":
        net.add(
            "ReduceSum", [name, net.constant(np.array([axis + 1]))], dtype, shape[:axis] + shape[axis + 1 :], keepdims=0
        )
    elif kind == "largest":
        if shape[axis]:
            op = str(rng.choice(["ReduceMax", "ReduceMin"]))
            net.add(
                op,
                [name, net.constant(np.array([-1 - axis]))],
                dtype,
                _without(shape, len(shape) - 1 - axis),
                keepdims=0,
            )
    elif kind == "arith":
        op = str(rng.choice(["Add", "Sub", "Mul"]))
        net.add(op, pair, dtype, shape)
    elif kind == "extreme":
        net.add(str(rng.choice(["Max", "Min"])), pair, dtype, shape)
    elif kind == "clip":
        low, high = np.sort(_values(rng, dtype, (2,)))
        net.add("Clip", [name, net.constant(low), net.constant(high)], dtype, shape)
    elif kind == "divmod":
        divisor = net.constant(np.array(rng.choice([-3, 2, 5, 8]), np.int32))
        net.add(str(rng.choice(["Div", "Mod"])), [name, divisor], dtype, shape)
    elif kind == "pad":
        widths = rng.integers(0, 2, 2 * len(shape))
        full = np.concatenate([[0], widths[: len(shape)], [0], widths[len(shape) :]])
        out = tuple(int(d + widths[i] + widths[len(shape) + i]) for i, d in enumerate(shape))
        if int(np.prod(out)) < 400:
            net.add("Pad", [name, net.constant(full)], dtype, out)
    elif kind == "tile":
        if 2 * int(np.prod(shape)) < 400:
            repeats = np.ones(len(shape) + 1, np.int64)
            repeats[axis + 1] = 2
            net.add(
                "Tile",
                [name, net.constant(repeats)],
                dtype,
                tuple(int(d * r) for d, r in zip(shape, repeats[1:], strict=True)),
            )
    elif kind == "expand":
        if 3 * int(np.prod(shape)) < 400:
            net.add("Unsqueeze", [name, net.constant(np.array([1]))], dtype, (1, *shape))
            wide, _, _ = net.tensors.pop()
            net.add("Expand", [wide, net.constant(np.array([1, 3, *shape]))], dtype, (3, *shape))


def _without(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    return shape[:axis] + shape[axis + 1 :]


def _network(seed: int) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    rng = np.random.default_rng(seed)
    net = Net(rng)
    feeds, infos = {}, []
    for number, dtype in enumerate(["bool", str(rng.choice(["bool", "uint8", "int8"]))]):
        shape = tuple(int(d) for d in rng.integers(1, 5, int(rng.integers(1, 4))))
        name = f"x{number}"
        limits = (0, 1) if dtype == "bool" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
        feeds[name] = rng.integers(*limits, (SAMPLES, *shape), endpoint=True).astype(dtype)
        infos.append(
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), ["N", *shape])
        )
        net.tensors.append((name, dtype, shape))
        net.add("Cast", [name], "int32", shape, to=6)
        if rng.integers(2):
            net.add("Cast", [name], "float32", shape, to=1)
    for _ in range(14):
        _draw(net)
    shown = net.tensors[-4:]
    outputs = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(np.dtype(d)), ["N", *s]) for n, d, s in shown
    ]
    graph = helper.make_graph(net.nodes, "random", infos, outputs, net.constants)
    return helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 18)]), feeds


def _try(agree: Agree, seed: int) -> bool:
    """Compare one network; False when the importer refuses it."""
    model, feeds = _network(seed)
    onnx.checker.check_model(model, full_check=True)
    try:
        graph = agree(model, feeds)
    except UnsupportedError:
        return False
    given = {i.name: feeds[i.source] for i in graph.inputs}
    before, after = run(graph, given), run(compile_graph(graph), given)
    assert all((before[name] == after[name]).all() for name in before)
    return True


@pytest.mark.parametrize("part", range(3))
def test_random_networks(agree: Agree, part: int) -> None:
    ran = sum(_try(agree, seed) for seed in range(20 * part, 20 * part + 20))
    assert ran >= 16


@pytest.mark.campaign
def test_many_random_networks(agree: Agree) -> None:
    ran = sum(_try(agree, seed) for seed in range(1000, 4000))
    assert ran >= 2700
