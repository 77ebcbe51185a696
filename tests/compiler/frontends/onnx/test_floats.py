"""Float tensors carried as integers: rounding, thresholds and arg-max as the source's float type decides."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from neuroloom.compiler.errors import InputError, UnsupportedError
from neuroloom.compiler.frontends.onnx import InputRule, floats, load_onnx
from neuroloom.compiler.ir import Graph
from neuroloom.sim.reference import run
from onnx import parser

Agree = Callable[..., Graph]
F32 = np.dtype(np.float32)
CAMPAIGN = settings(max_examples=60, deadline=None, derandomize=True)


def model(body: str, inputs: str, outputs: str):
    return parser.parse_model(f'<ir_version: 10, opset_import: ["" : 18]> m ({inputs}) => ({outputs}) {{ {body} }}')


steps_list = st.lists(
    st.tuples(
        st.sampled_from(("add", "sub", "rsub", "mul", "div")),
        st.floats(-100, 100, width=32).filter(lambda v: abs(v) > 1e-3),
    ),
    max_size=4,
)


@CAMPAIGN
@given(steps=steps_list, target=st.floats(-1000, 1000, width=32), strict=st.booleans(), span=st.integers(0, 300))
def test_thresholds_are_those_of_trying_every_integer(
    steps: list[tuple[str, float]], target: float, strict: bool, span: int
) -> None:
    chain = (floats.cast_step(F32), *(floats.constant_step(k, np.array(c), F32) for k, c in steps))
    bounds = (-7, span - 7)
    sign = floats.direction(chain)
    found = int(floats.first_reaching(chain, sign, np.float32(target).reshape(()), bounds, strict))
    q = np.arange(bounds[0], bounds[1] + 1)
    value = floats.evaluate(chain, q)
    assert value.dtype == F32
    if sign > 0:
        holds = value > np.float32(target) if strict else value >= np.float32(target)
    else:
        holds = value < np.float32(target) if strict else value <= np.float32(target)
    assert (holds == (q >= found)).all()


@CAMPAIGN
@given(
    scale=st.fractions(-3, 3, max_denominator=1000).filter(bool),
    offset=st.fractions(-5, 5, max_denominator=77),
    dtype=st.sampled_from(("float16", "float32", "float64")),
)
def test_input_values_are_correctly_rounded(scale: Fraction, offset: Fraction, dtype: str) -> None:
    table = floats.round_table(scale, offset, (-20, 20), np.dtype(dtype))
    for q, value in zip(range(-20, 21), table, strict=True):
        real = scale * q + offset
        around = [np.nextafter(value, value.dtype.type(s)) for s in (-np.inf, np.inf)]
        assert all(abs(Fraction(float(value)) - real) <= abs(Fraction(float(n)) - real) for n in around)


@CAMPAIGN
@given(steps=steps_list, top=st.integers(1, 500))
def test_exact_means_no_rounding(steps: list[tuple[str, float]], top: int) -> None:
    chain = (floats.cast_step(F32), *(floats.constant_step(k, np.array(c), F32) for k, c in steps))
    rule = floats.exact(chain, (0, top))
    scale, offset = (v.item() for v in floats.affine(chain))
    values = floats.evaluate(chain, np.arange(top + 1))
    same = all(Fraction(float(v)) == scale * q + offset for q, v in enumerate(values))
    if rule is not None:
        assert same and (rule[0].item(), rule[1].item()) == (scale, offset)


def test_normalised_images_are_compared_exactly(agree: Agree) -> None:
    rng = np.random.default_rng(3)
    constants = {n: ", ".join(repr(float(np.float32(v))) for v in rng.normal(0.4, 0.2, 6)) for n in ("mean", "level")}
    std = ", ".join(repr(float(np.float32(v))) for v in rng.uniform(0.1, 1, 6) * rng.choice([-1, 1], 6))
    m = model(
        f"mean = Constant <value = float[6] {{{constants['mean']}}}> () std = Constant <value = float[6] {{{std}}}> () "
        f"level = Constant <value = float[6] {{{constants['level']}}}> () a = Sub (x, mean) b = Div (a, std) "
        "y1 = Greater (b, level) y2 = GreaterOrEqual (b, level) y3 = Less (level, b) y4 = LessOrEqual (b, level) "
        "y5 = Less (b, level)",
        "float[N,6] x",
        "bool[N,6] y1, bool[N,6] y2, bool[N,6] y3, bool[N,6] y4, bool[N,6] y5",
    )
    data = np.repeat(np.float32(np.arange(256)) / np.float32(255), 6).reshape(256, 6)
    agree(m, {"x": data}, input_rules={"x": InputRule("u8", "1/255")})


@pytest.mark.parametrize("kind", ["uint8", "int8", "float", "falling"])
@pytest.mark.parametrize("relation", ["Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Equal"])
def test_relations_with_constants_on_either_side(agree: Agree, relation: str, kind: str) -> None:
    """Constants that are values of the input, its neighbours, and beyond its range."""
    levels = {
        "uint8": "0, 1, 7, 255",
        "int8": "-128, -1, 5, 127",
        "float": "-0.5, 0.25, 7.5, 300.0",
        "falling": "-3.5, 0.0, 0.5, 4.0",
    }
    type_ = kind if kind in ("uint8", "int8") else "float"
    prepare = {
        "float": "r = Cast <to = 1> (x) s = Constant <value = float {0.25}> () v = Mul (r, s)",
        "falling": "r = Cast <to = 1> (x) s = Constant <value = float {4.0}> () v = Sub (s, r)",
    }.get(kind, "v = Identity (x)")
    m = model(
        f"{prepare} c = Constant <value = {type_}[4] {{{levels[kind]}}}> () y = {relation} (v, c) z = {relation} (c, v)",
        f"{'int8' if kind == 'int8' else 'uint8'}[N,4] x",
        "bool[N,4] y, bool[N,4] z",
    )
    values = np.arange(256).astype(np.uint8).view(np.int8 if kind == "int8" else np.uint8)
    agree(m, {"x": np.repeat(values[:, None], 4, axis=1)})


@pytest.mark.parametrize("tail", ["1.0", "0.1", "-0.37", "3.0"])
@pytest.mark.parametrize("offset", ["0.0", "-2.5", "100000000.0"])
def test_arg_max_keeps_the_ties_that_rounding_makes(agree: Agree, tail: str, offset: str) -> None:
    rng = np.random.default_rng(4)
    m = model(
        f"t = Constant <value = float {{{tail}}}> () o = Constant <value = float {{{offset}}}> () f = Cast <to = 1> (x) "
        "s = Mul (f, t) z = Add (s, o) y = ArgMax <axis = 1, keepdims = 0> (z) w = ArgMin <axis = 1, keepdims = 0> (z)",
        "uint8[N,7] x",
        "int64[N] y, int64[N] w",
    )
    graph = agree(m, {"x": rng.integers(0, 256, (300, 7)).astype(np.uint8)})
    merged = offset == "100000000.0"
    assert ("table" in {n.op for n in graph.nodes}) == merged


@pytest.mark.parametrize("beta", ["0.5, -0.25, 2.0, 0.0", "0.1, 0.2, -0.3, 0.4"])
def test_offsets_per_class(agree: Agree, beta: str) -> None:
    """Dyadic offsets keep one integer scale; others are compared by rank."""
    rng = np.random.default_rng(5)
    m = model(
        f"b = Constant <value = float[4] {{{beta}}}> () f = Cast <to = 1> (x) z = Add (f, b) y = ArgMax <axis = 1> (z) "
        "k = Constant <value_ints = [3]> () v, i = TopK (z, k) q = Equal (z, l) l = Constant <value = float {2.5}> ()",
        "uint8[N,4] x",
        "int64[N,1] y, int64[N,3] i, float[N,4] z, bool[N,4] q",
    )
    data = rng.integers(0, 5, (200, 4)).astype(np.uint8)
    graph = agree(m, {"x": data}, input_rules={"x": InputRule("u3")})
    assert ("lookup" in {n.op for n in graph.nodes}) == ("0.1" in beta)
    assert graph.outputs[2].affine.axis == 0


def test_outputs_of_mixed_scales_share_a_grid(agree: Agree) -> None:
    m = model(
        "w = Constant <value = float[2,2] {1, 0.5, 0, -2}> () f = Cast <to = 1> (x) y = Mul (f, w)",
        "uint8[N,2,2] x",
        "float[N,2,2] y",
    )
    graph = agree(m, {"x": np.arange(256, dtype=np.uint8).reshape(64, 2, 2)})
    assert graph.outputs[0].affine.scale == (Fraction(1, 2),)
    m = model(
        "w = Constant <value = float[2,2] {1, 0.3, 0.7, 2}> () f = Cast <to = 1> (x) y = Mul (f, w)",
        "uint8[N,2,2] x",
        "float[N,2,2] y",
    )
    with pytest.raises(UnsupportedError, match="rounded elements of different scale"):
        load_onnx(m)


def test_far_apart_scales_are_refused() -> None:
    m = model(
        "a = Constant <value = float {1e30}> () b = Constant <value = float {1e-30}> () f = Cast <to = 1> (x) p = Mul (f, a) "
        "q = Mul (f, b) y = Add (p, q)",
        "uint8[N,2] x",
        "float[N,2] y",
    )
    with pytest.raises(UnsupportedError, match=r"node 'y' \(Add\): add of two computed float32 tensors is not exact"):
        load_onnx(m)


def test_sums_of_rounded_floats_are_refused() -> None:
    m = model(
        "t = Constant <value = float {0.1}> () f = Cast <to = 1> (x) s = Mul (f, t) a = Constant <value_ints = [1]> () "
        "y = ReduceSum (s, a)",
        "uint8[N,4] x",
        "float[N,1] y",
    )
    with pytest.raises(UnsupportedError, match=r"node 'y' \(ReduceSum\): a sum of rounded floats depends on its order"):
        load_onnx(m)


def test_sums_beyond_the_mantissa_are_refused() -> None:
    m = model(
        "f = Cast <to = 1> (x) a = Constant <value_ints = [1]> () y = ReduceSum (f, a)",
        "uint16[N,300] x",
        "float[N,1] y",
    )
    with pytest.raises(UnsupportedError, match=r"the sum is not exact: float32 would round sums of 0\.\.19660500"):
        load_onnx(m)


def test_saturating_functions_are_refused_before_arg_max() -> None:
    m = model("f = Cast <to = 1> (x) s = Sigmoid (f) y = ArgMax <axis = 1> (s)", "uint8[N,4] x", "int64[N,1] y")
    with pytest.raises(UnsupportedError, match=r"node 's' \(Sigmoid\): .* not even its order is sure"):
        load_onnx(m)
    assert load_onnx(m, input_rules={"x": InputRule(bounds=(0, 5))}).records["notes"]


def test_float_to_integer_truncates(agree: Agree) -> None:
    m = model(
        "t = Constant <value = float {0.3}> () o = Constant <value = float {-20.0}> () f = Cast <to = 1> (x) s = Mul (f, t) "
        "z = Add (s, o) y = Cast <to = 6> (z) w = Floor (z) v = Cast <to = 9> (z) u = Round (z)",
        "uint8[N,3] x",
        "int32[N,3] y, float[N,3] w, bool[N,3] v, float[N,3] u",
    )
    agree(m, {"x": np.arange(255, dtype=np.uint8).reshape(85, 3)})


# ---- rules and calibration


def test_a_float_input_needs_a_rule() -> None:
    m = model("l = Constant <value = float {0.5}> () y = Greater (x, l)", "float[N,3] x", "bool[N,3] y")
    with pytest.raises(UnsupportedError, match=r"input 'x' is float32.*give a rule for it .*or data to calibrate with"):
        load_onnx(m)


@pytest.mark.parametrize("levels", [2, 16, 17, 101, 256])
def test_calibration_finds_the_grid_of_the_data(levels: int) -> None:
    m = model("l = Constant <value = float {0.5}> () y = Greater (x, l)", "float[N,3] x", "bool[N,3] y")
    data = np.float32(np.random.default_rng(0).integers(0, levels, (500, 3))) / np.float32(levels - 1)
    graph = load_onnx(m, calibrate=data)
    assert graph.records["calibration"]["x"]["largest_error"] == "0.0"
    assert graph.inputs[0].affine.scale == (Fraction(1, levels - 1),)
    assert (run(graph, data)["y"] == (data > 0.5)).all()


def test_calibration_finds_a_grid_that_no_gap_shows() -> None:
    m = model("l = Constant <value = float {0.5}> () y = Greater (x, l)", "float[N,3] x", "bool[N,3] y")
    data = np.float32([[0, 128, 255]]) / np.float32(255)
    assert load_onnx(m, calibrate=data).inputs[0].affine.scale == (Fraction(1, 255),)


def test_calibration_of_other_data_records_its_error() -> None:
    m = model("l = Constant <value = float {0.5}> () y = Greater (x, l)", "float[N,3] x", "bool[N,3] y")
    data = np.random.default_rng(0).normal(size=(500, 3)).astype(np.float32)
    record = load_onnx(m, calibrate={"x": data}).records["calibration"]["x"]
    assert record["type"] == "u8"
    assert 0 < float(record["largest_error"]) <= (data.max() - data.min()) / 255 / 2 * 1.0001


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (InputRule("u8", 0), "scale other than 0"),
        (InputRule("u8", "x"), "rational scale"),
        (InputRule("u24"), r"at most 2\*\*20 values"),
        (InputRule("u8", bounds=(0, 300)), r"bounds 0\.\.300 inside u8"),
        (InputRule("u8.4"), "without fraction bits"),
        (InputRule("u8", float("nan")), "rational scale"),
    ],
)
def test_bad_rules(rule: InputRule, message: str) -> None:
    m = model("l = Constant <value = float {0.5}> () y = Greater (x, l)", "float[N,3] x", "bool[N,3] y")
    with pytest.raises(InputError, match=message):
        load_onnx(m, input_rules={"x": rule})


def test_rules_must_name_inputs() -> None:
    m = model("y = Not (x)", "bool[N,3] x", "bool[N,3] y")
    with pytest.raises(InputError, match="rule must name one of the inputs x, not 'z'"):
        load_onnx(m, input_rules={"z": InputRule("u8")})
    with pytest.raises(InputError, match="calibration data must name one of the inputs x, not 'z'"):
        load_onnx(m, calibrate={"z": np.zeros(3)})
