"""Logic networks in standard operators, shape arithmetic, batch axes and functions, against onnxruntime."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from neuroloom.compiler.errors import InputError, UnsupportedError
from neuroloom.compiler.frontends.onnx import InputRule, load_onnx
from neuroloom.compiler.ir import Graph
from neuroloom.sim.reference import run
from onnx import parser

Agree = Callable[..., Graph]


def text(body: str, inputs: str, outputs: str, functions: str = "", domains: str = "") -> onnx.ModelProto:
    """A model from ONNX's text form."""
    return parser.parse_model(
        f'<ir_version: 10, opset_import: ["" : 18{domains}]> m ({inputs}) => ({outputs}) {{ {body} }} {functions}'
    )


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


GATES = """
    a = Gather <axis = 1> (x, ia)
    b = Gather <axis = 1> (x, ib)
    c0 = And (a, b)
    c1 = Or (a, b)
    c2 = Xor (a, b)
    n = Not (b)
    c3 = And (a, n)
    b0 = Cast <to = 2> (c0)
    b1 = Cast <to = 2> (c1)
    b2 = Cast <to = 2> (c2)
    b3 = Cast <to = 2> (c3)
    y0 = Where (mask, b0, b1)
    y1 = Where (c2, b3, y0)
    h = Concat <axis = -1> (y0, y1, b2)
    lower, upper = Split <axis = 1, num_outputs = 2> (h)
    part = Slice (h, one, twelve, axis1, two)
    back = Slice (h, minus1, far, axis1, minus1)
    all = Concat <axis = 1> (lower, upper, part, back)
    flat = Flatten (all)
    whole = Cast <to = 6> (flat)
    shape = Constant <value = int64[3] {0, 3, -1}> ()
    grouped = Reshape (whole, shape)
    count = ReduceSum <keepdims = 0> (grouped, last)
    real = Cast <to = 1> (count)
    scaled = Mul (real, scale)
    score = Add (scaled, offset)
    label = ArgMax <axis = 1, keepdims = 0> (score)
    top = Constant <value = int64[1] {2}> ()
    values, order = TopK (score, top)
"""
GATE_CONSTANTS = """
    int64[5] ia = {0, 3, 1, 4, 2}, int64[5] ib = {5, 1, -1, 0, 3}, bool[5] mask = {1, 0, 1, 0, 0},
    int64[1] one = {1}, int64[1] twelve = {12}, int64[1] axis1 = {1}, int64[1] two = {2}, int64[1] minus1 = {-1},
    int64[1] far = {-1000}, int64[1] last = {-1}, float[1] scale = {0.3}, float[1] offset = {-1.25}
"""


def test_gates_in_standard_operators(agree: Agree, rng: np.random.Generator) -> None:
    model = parser.parse_model(
        f'<ir_version: 10, opset_import: ["" : 18]> m (bool[N,6] x) => (int64[N] label, float[N,3] score, float[N,2] values, '
        f"int64[N,2] order, uint8[N,15] h) <{GATE_CONSTANTS}> {{ {GATES} }}"
    )
    graph = agree(model, {"x": rng.integers(0, 2, (200, 6)).astype(bool)})
    for source in ("c2", "y1", "h", "part", "count"):  # nodes without a name go by their first output
        name = graph.records["sources"].get(source, source)
        assert any(n.source == source and n.name == name for n in graph.nodes), source


def test_source_nodes_that_change_nothing_can_be_probed(agree: Agree, rng: np.random.Generator) -> None:
    model = text(
        "a = Not (x) b = Identity (a) c = Cast <to = 2> (b) y = Cast <to = 1> (c)", "bool[N,3] x", "float[N,3] y"
    )
    graph = agree(model, {"x": rng.integers(0, 2, (5, 3)).astype(bool)})
    assert graph.records["sources"] == {"b": "a", "c": "a", "y": "a"}
    assert [n.op for n in graph.nodes] == ["bitwise"]


ONE_LINERS = {
    "bitwise": ("y = BitwiseXor (x, z)", "uint8[N,4] x, uint8[N,4] z", "uint8[N,4] y"),
    "bitwise_signed": ("w = BitwiseOr (x, z) y = BitwiseNot (w)", "int8[N,4] x, int8[N,4] z", "int8[N,4] y"),
    "add_wraps": ("y = Add (x, z)", "uint8[N,4] x, uint8[N,4] z", "uint8[N,4] y"),
    "mul_wraps": ("y = Mul (x, z)", "int16[N,4] x, int16[N,4] z", "int16[N,4] y"),
    "relations": (
        "y = Greater (x, z) w = LessOrEqual (x, z) v = Equal (x, z)",
        "int8[N,4] x, int8[N,4] z",
        "bool[N,4] y, bool[N,4] w, bool[N,4] v",
    ),
    "min_max": ("w = Max (x, z) v = Min (x, z) y = Sub (w, v)", "int8[N,4] x, int8[N,4] z", "int8[N,4] y"),
    "cast_wraps": ("y = Cast <to = 3> (x) w = Cast <to = 9> (x)", "int32[N,4] x", "int8[N,4] y, bool[N,4] w"),
    "reduce_max": (
        "a = Constant <value_ints = [1]> () y = ReduceMax (x, a) w = ReduceMin <keepdims = 0> (x, a)",
        "uint8[N,7] x",
        "uint8[N,1] y, uint8[N] w",
    ),
    "argmin_last": (
        "y = ArgMin <axis = 1, select_last_index = 1> (x) w = ArgMax <axis = 1, select_last_index = 1> (x)",
        "uint8[N,7] x",
        "int64[N,1] y, int64[N,1] w",
    ),
    "transpose_batch": (
        "a = Transpose <perm = [1, 0, 2]> (x) b = Not (a) y = Transpose <perm = [2, 1, 0]> (b)",
        "bool[N,3,2] x",
        "bool[2,N,3] y",
    ),
    "tile_expand": (
        "r = Constant <value_ints = [1, 2, 3]> () a = Tile (x, r) s = Constant <value_ints = [2, 1, 1, 1]> () "
        "u = Constant <value_ints = [1]> () b = Unsqueeze (a, u) y = Expand (b, t) "
        "t = Constant <value_ints = [1, 3, 1, 1]> ()",
        "bool[N,2,2] x",
        "bool[N,3,4,6] y",
    ),
    "pad": ("p = Constant <value_ints = [0, 1, 2, 0, 0, 1]> () y = Pad (x, p)", "uint8[N,2,3] x", "uint8[N,3,6] y"),
    "maxpool": (
        "y = MaxPool <kernel_shape = [2, 2], strides = [2, 2], pads = [0, 0, 1, 1]> (x)",
        "uint8[N,2,5,5] x",
        "uint8[N,2,3,3] y",
    ),
    "div_mod": (
        "c = Constant <value = int32 {7}> () y = Div (x, c) w = Mod (s, d) d = Constant <value = int32 {8}> () "
        "s = Cast <to = 6> (z)",
        "int32[N,4] x, int8[N,4] z",
        "int32[N,4] y, int32[N,4] w",
    ),
    "relu_clip": (
        "y = Relu (x) lo = Constant <value = int8 {-3}> () hi = Constant <value = int8 {5}> () w = Clip (x, lo, hi)",
        "int8[N,4] x",
        "int8[N,4] y, int8[N,4] w",
    ),
    "table": (
        "t = Constant <value = int32[4] {5, -7, 9, 0}> () i = Cast <to = 7> (x) c = Constant <value = int64 {3}> () "
        "j = BitwiseAnd (i, c) y = Gather (t, j)",
        "uint8[N,4] x",
        "int32[N,4] y",
    ),
    "rows": (
        "t = Constant <value = int32[2,3] {1, 2, 3, 4, 5, 6}> () i = Cast <to = 7> (x) y = Gather (t, i)",
        "bool[N,4] x",
        "int32[N,4,3] y",
    ),
    "popcount": (
        "w = Constant <value = float[4,2] {1, 0, 1, 1, 0, -2, 1, 1}> () f = Cast <to = 1> (x) y = MatMul (f, w)",
        "bool[N,4] x",
        "float[N,2] y",
    ),
    "gemm": (
        "w = Constant <value = float[2,4] {1, 0, 1.5, 1, 0, -2, 1, 1}> () f = Cast <to = 1> (x) "
        "b = Constant <value = float[2] {0.25, 3}> () y = Gemm <transB = 1> (f, w, b)",
        "uint8[N,4] x",
        "float[N,2] y",
    ),
    "signs": (
        "f = Cast <to = 1> (x) t = Constant <value = float {2.0}> () o = Constant <value = float {1.0}> () "
        "d = Mul (f, t) s = Sub (d, o) z = Constant <value = float {0.0}> () y = Greater (s, z) w = Less (s, z) "
        "v = Equal (s, o)",
        "bool[N,4] x",
        "bool[N,4] y, bool[N,4] w, bool[N,4] v",
    ),
    "gathernd": (
        "i = Constant <value = int64[3,1] {2, -1, 0}> () t = Transpose <perm = [1, 0]> (x) g = GatherND (t, i) "
        "y = Transpose <perm = [1, 0]> (g)",
        "bool[N,4] x",
        "bool[N,3] y",
    ),
    "computed_tuples": (
        "t = Constant <value = int32[2,4] {5, -1, 7, 3, 0, 2, 9, 4}> () c = Constant <value = int64[3,1] {1, 0, 1}> () "
        "n = Shape <end = 1> (x) k = Constant <value_ints = [3, 1]> () s = Concat <axis = 0> (n, k) e = Expand (c, s) "
        "w = Cast <to = 7> (x) m = Constant <value = int64 {3}> () a = BitwiseAnd (w, m) u = Constant <value_ints = [-1]> () "
        "b = Unsqueeze (a, u) p = Concat <axis = -1> (e, b) y = GatherND (t, p)",
        "uint8[N,3] x",
        "int32[N,3] y",
    ),
    "constant_minus": (
        "c = Constant <value = float[4] {1, 0.5, -3, 2}> () f = Cast <to = 1> (x) y = Sub (c, f) "
        "i = Constant <value = uint8 {9}> () "
        "w = Sub (i, x)",
        "uint8[N,4] x",
        "float[N,4] y, uint8[N,4] w",
    ),
    "mean": (
        "a = Constant <value_ints = [1]> () f = Cast <to = 1> (x) y = ReduceMean <keepdims = 0> (f, a)",
        "bool[N,7] x",
        "float[N] y",
    ),
    "residual": (
        "f = Cast <to = 1> (x) g = Cast <to = 1> (z) h = Constant <value = float {0.5}> () p = Mul (f, h) "
        "y = Sub (p, g) q = Mul (f, g) r = Max (p, g)",
        "uint8[N,4] x, uint8[N,4] z",
        "float[N,4] y, float[N,4] q, float[N,4] r",
    ),
    "compress": (
        "k = Constant <value = bool[3] {1, 0, 1}> () w = Compress <axis = 2> (x, k)",
        "uint8[N,3,3] x",
        "uint8[N,3,2] w",
    ),
}


@pytest.mark.parametrize("name", ONE_LINERS)
def test_operators(agree: Agree, rng: np.random.Generator, name: str) -> None:
    model = text(*ONE_LINERS[name])
    feeds = {}
    for info in model.graph.input:
        dtype = onnx.helper.tensor_dtype_to_np_dtype(info.type.tensor_type.elem_type)
        shape = [40 if not d.dim_value else d.dim_value for d in info.type.tensor_type.shape.dim]
        if dtype == np.bool_:
            feeds[info.name] = rng.integers(0, 2, shape).astype(bool)
        else:
            limits = np.iinfo(dtype)
            feeds[info.name] = rng.integers(limits.min, limits.max, shape, dtype=np.int64, endpoint=True).astype(dtype)
    agree(model, feeds)


@pytest.mark.parametrize("amounts", ["1, 3, 0, 7", "2, 2, 2, 2"])
@pytest.mark.parametrize("way", ["LEFT", "RIGHT"])
def test_bit_shift(agree: Agree, rng: np.random.Generator, amounts: str, way: str) -> None:
    model = text(
        f'c = Constant <value = uint8[4] {{{amounts}}}> () y = BitShift <direction = "{way}"> (x, c)',
        "uint8[N,4] x",
        "uint8[N,4] y",
    )
    agree(model, {"x": rng.integers(0, 256, (60, 4)).astype(np.uint8)})


# ---- shapes computed at run time, and the batch axis


SHAPES = {
    "dynamo": "s = Shape <start = 0, end = 1> (x) r = Constant <value_ints = [-1]> () "
    "t = Concat <axis = 0> (s, r) y = Reshape (x, t)",
    "size": "n = Shape <end = 1> (x) z = Size (x) q = Div (z, n) t = Concat <axis = 0> (n, q) y = Reshape (x, t)",
    "gather": "s = Shape (x) i = Constant <value = int64 {0}> () n = Gather (s, i) a = Constant <value_ints = [0]> () "
    "u = Unsqueeze (n, a) k = Constant <value_ints = [12]> () t = Concat <axis = 0> (u, k) y = Reshape (x, t)",
    "where": "s = Shape <end = 1> (x) k = Constant <value_ints = [12]> () t = Concat <axis = 0> (s, k) "
    "m = Constant <value_ints = [-1, -1]> () e = Equal (t, m) w = Where (e, t, t) f = Flatten (x) y = Expand (f, w)",
    "ones": "s = Shape (x) o = ConstantOfShape <value = bool[1] {1}> (s) b = And (x, o) y = Flatten (b)",
    "steps": "t = Constant <value_ints = [0, 2, 6]> () a = Reshape (x, t) "
    "u = Constant <value_ints = [-1, 12]> () y = Reshape (a, u)",
}


@pytest.mark.parametrize("name", SHAPES)
def test_shape_arithmetic_folds(agree: Agree, rng: np.random.Generator, name: str) -> None:
    graph = agree(
        text(SHAPES[name], "bool[N,3,4] x", "bool[N,12] y"), {"x": rng.integers(0, 2, (9, 3, 4)).astype(bool)}
    )
    assert not {n.op for n in graph.nodes} - {"reshape", "const", "bitwise"}


def test_batch_axis_elsewhere(agree: Agree, rng: np.random.Generator) -> None:
    model = text(
        "a = Transpose <perm = [1, 0]> (x) n = Not (a) y = Transpose <perm = [1, 0]> (n)", "bool[3,N] x", "bool[3,N] y"
    )
    graph = agree(model, {"x": rng.integers(0, 2, (3, 8)).astype(bool)}, batch_axis=1)
    assert graph.records["batch_axes"] == {"x": 1, "y": 1}


def test_fixed_batch_needs_the_option(agree: Agree, rng: np.random.Generator) -> None:
    model = text("t = Constant <value_ints = [1, 6]> () y = Reshape (x, t)", "bool[1,2,3] x", "bool[1,6] y")
    with pytest.raises(UnsupportedError, match=r"input 'x' has the shape \[1, 2, 3\].*--batch-axis 0"):
        load_onnx(model)
    data = rng.integers(0, 2, (1, 2, 3)).astype(bool)
    assert load_onnx(model, batch_axis=0).values()["y"].shape == (6,)
    assert load_onnx(model, batch_axis="none").values()["y"].shape == (1, 6)
    agree(model, {"x": data}, batch_axis=0)
    agree(model, {"x": data}, batch_axis="none")
    many = run(load_onnx(model, batch_axis=0), rng.integers(0, 2, (50, 2, 3)))
    assert many["y"].shape == (50, 6)


@pytest.mark.parametrize(
    ("body", "shapes", "message"),
    [
        ("t = Constant <value_ints = [-1, 4]> () y = Reshape (x, t)", "bool[N,2,4] x", "merge the batch axis"),
        ("y = Flatten <axis = 2> (x)", "bool[N,2,4] x", "merge the batch axis"),
        ("y = Squeeze (x)", "bool[N,1,4] x", "also remove a batch axis"),
        (
            "a = Constant <value_ints = [0]> () y = ReduceMax <keepdims = 0> (x, a)",
            "bool[N,2,4] x",
            "would mix samples",
        ),
        ("y = Concat <axis = 0> (x, x)", "bool[N,4] x", "would mix samples"),
        ("i = Constant <value = int64[1] {0}> () y = Gather <axis = 0> (x, i)", "bool[N,4] x", "would mix samples"),
        (
            "a = Constant <value_ints = [0]> () b = Constant <value_ints = [1]> () y = Slice (x, a, b, a)",
            "bool[N,4] x",
            "choose samples",
        ),
        ("c = Constant <value = bool[3,1] {1, 0, 1}> () y = And (x, c)", "bool[N,4] x", "3 rows along the batch axis"),
        ("y = Transpose <perm = [1, 0]> (x) z = And (x, y)", "bool[N,4] x", "meet other axes"),
        ("y = Identity (c) c = Constant <value = bool[1] {1}> ()", "bool[N,4] x", "no batch axis"),
    ],
)
def test_what_would_mix_samples_is_refused(body: str, shapes: str, message: str) -> None:
    output = "z" if "z =" in body else "y"
    with pytest.raises(UnsupportedError, match=message):
        load_onnx(text(body, shapes, f"bool {output}"))


def test_inputs_need_one_batch_size(agree: Agree, rng: np.random.Generator) -> None:
    body, outputs = "y = And (x, z)", "bool[N,4] y"
    with pytest.raises(UnsupportedError, match="different names"):
        load_onnx(text(body, "bool[N,4] x, bool[M,4] z", outputs))
    load_onnx(text(body, "bool[N,4] x, bool[M,4] z", outputs), batch_axis=0)
    with pytest.raises(UnsupportedError, match="same batch size"):
        load_onnx(text(body, "bool[N,4] x, bool[3,4] z", outputs), batch_axis=0)
    with pytest.raises(UnsupportedError, match=r"axis 1 \(M\) must have a fixed size"):
        load_onnx(text("y = Not (x)", "bool[N,M] x", "bool[N,M] y"))


# ---- functions


def test_nested_functions_with_attribute_defaults(agree: Agree, rng: np.random.Generator) -> None:
    functions = """
    <domain: "f", opset_import: ["" : 18, "f" : 1]>
    Twice <axis: int = 1> (a, b) => (c) { d = f.Join <at: int = @axis> (a, b) c = f.Join <at: int = @axis> (d, d) }
    <domain: "f", opset_import: ["" : 18]>
    Join <at> (a, b) => (c) { n = Not (b) c = Concat <axis: int = @at> (a, n) }
    """
    model = text(
        "u = f.Twice (x, x) y = f.Twice <axis = 2> (u, u)", "bool[N,2,3] x", "bool[N,8,12] y", functions, ', "f" : 1'
    )
    graph = agree(model, {"x": rng.integers(0, 2, (6, 2, 3)).astype(bool)})
    assert "u/d/n" in {n.source for n in graph.nodes}


def test_a_function_that_calls_itself_is_refused() -> None:
    functions = '<domain: "f", opset_import: ["" : 18, "f" : 1]> Loop (a) => (b) { b = f.Loop (a) }'
    with pytest.raises(InputError, match="must not call itself"):
        load_onnx(text("y = f.Loop (x)", "bool[N,2] x", "bool[N,2] y", functions, ', "f" : 1'))


def test_nodes_out_of_order_are_sorted(agree: Agree, rng: np.random.Generator) -> None:
    model = text("a = Not (x) b = Or (a, x) y = Xor (b, a)", "bool[N,2] x", "bool[N,2] y")
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(reversed(nodes))
    graph = load_onnx(model)
    assert [n.source for n in graph.nodes] == ["a", "b", "y"]


def test_dead_nodes_are_not_imported() -> None:
    model = text("z = NonMaxSuppression (x, x) y = Not (x)", "bool[N,2] x", "bool[N,2] y")
    assert [n.op for n in load_onnx(model).nodes] == ["bitwise"]


def test_softmax_in_front_of_arg_max_is_dropped_and_noted(agree: Agree, rng: np.random.Generator) -> None:
    body = "c = Cast <to = 1> (x) s = Softmax (c) y = ArgMax <axis = 1, keepdims = 0> (s)"
    graph = agree(text(body, "uint8[N,5] x", "int64[N] y"), {"x": rng.integers(0, 9, (99, 5)).astype(np.uint8)})
    assert "Softmax" in graph.records["notes"][0] and [n.op for n in graph.nodes] == ["argmax"]
    with pytest.raises(UnsupportedError, match="output 's' comes from node 's'"):
        load_onnx(text(body, "uint8[N,5] x", "float[N,5] s"))


@pytest.mark.parametrize(
    "body", ["s = Softmax <axis = 1> (c)", "t = Softmax <axis = 2> (c) s = Transpose <perm = [0, 2, 1]> (t)"]
)
def test_softmax_keeps_the_order_of_its_own_axis_only(body: str) -> None:
    model = text(f"c = Cast <to = 1> (x) {body} y = ArgMax <axis = 2> (s)", "uint8[N,3,3] x", "int64[N,3,1] y")
    with pytest.raises(UnsupportedError, match="along its own axis"):
        load_onnx(model)


def test_a_mask_proves_the_range_for_a_lookup() -> None:
    model = text(
        "m = Constant <value = uint8 {1}> () a = BitwiseAnd (x, m) i = Constant <value = int32[1,2] {0, 1}> () "
        "t = Constant <value = bool[1,4] {0, 1, 1, 0}> () y = qonnx.custom_op.lnn.LookupTable (a, i, t)",
        "uint8[N,2] x",
        "bool[N,1] y",
        domains=', "qonnx.custom_op.lnn" : 3',
    )
    graph = load_onnx(model)
    assert run(graph, np.array([[2, 4], [3, 4], [255, 1]]))["y"].tolist() == [[0], [1], [0]]


def test_a_rule_is_not_narrowed_in_silence() -> None:
    model = text(
        "i = Constant <value = int32[1,2] {0, 1}> () t = Constant <value = bool[1,4] {0, 1, 1, 0}> () "
        "y = qonnx.custom_op.lnn.LookupTable (x, i, t)",
        "uint8[N,2] x",
        "bool[N,1] y",
        domains=', "qonnx.custom_op.lnn" : 3',
    )
    with pytest.raises(
        UnsupportedError, match=r"bounds 0\.\.15 by its rule, but a node behind it is defined for 0\.\.1 only"
    ):
        load_onnx(model, input_rules={"x": InputRule(bounds=(0, 15))})
    assert load_onnx(model, input_rules={"x": InputRule(bounds=(0, 1))}).inputs[0].value.type.is_bit


IF = """
    r = Size (x)
    n = Shape <end = 1> (x)
    q = Div (r, n)
    four = Constant <value = int64 {4}> ()
    c = Equal (q, four)
    y = If (c) <
        then_branch = t () => (bool[N,4] a) { a = Not (x) },
        else_branch = e () => (bool[N,4] b) { b = NonMaxSuppression (x) }>
"""


def test_if_with_a_constant_condition(agree: Agree, rng: np.random.Generator) -> None:
    taken = text(IF.replace("NonMaxSuppression", "Identity"), "bool[N,4] x", "bool[N,4] y")
    graph = agree(taken, {"x": rng.integers(0, 2, (7, 4)).astype(bool)})
    assert [n.source for n in graph.nodes] == ["y/a"]
    assert load_onnx(text(IF, "bool[N,4] x", "bool[N,4] y")).equals(graph)
    with pytest.raises(UnsupportedError, match=r"node 'y' \(If\): operator If is not supported on values computed"):
        load_onnx(
            text(
                "a = Constant <value_ints = [1]> () " + IF.replace("If (c)", "If (s)"),
                "bool[N,4] x, bool[N] s",
                "bool[N,4] y",
            )
        )


def test_int64_inputs_need_bounds(agree: Agree, rng: np.random.Generator) -> None:
    model = text("y = Neg (x)", "int64[N,3] x", "int64[N,3] y")
    with pytest.raises(UnsupportedError, match="give a rule with its type or bounds"):
        load_onnx(model)
    data = rng.integers(-100, 100, (20, 3))
    graph = agree(model, {"x": data}, input_rules={"x": InputRule(bounds=(-100, 99))})
    assert str(graph.inputs[0].value.type) == "s8"
