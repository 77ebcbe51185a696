"""Spiking networks as ONNX: stock onnxruntime against the reference, and back into the same graph."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from neuroloom.compiler.errors import InputError, UnsupportedError
from neuroloom.compiler.frontends.export.spiking_functions import OPERATORS
from neuroloom.compiler.frontends.onnx import load_onnx
from neuroloom.compiler.ir import BIT, Builder, Graph, Type
from neuroloom.compiler.ir.ops.spiking import LEAKS, RECORDS, RESET_MODES, RESETS, ROUNDINGS
from neuroloom.compiler.ir.text import format_graph
from neuroloom.compiler.spiking.models import AlphaNeuron, IzhikevichNeuron
from neuroloom.sim import reference

import neuroloom as nl

DIGITS = Path(__file__).parents[4] / "examples/digits_spiking/digits_spiking.nloom"
STATE = Type(10, True)


@pytest.fixture
def same(run_ort) -> Callable[[Graph, dict[str, np.ndarray]], dict[str, np.ndarray]]:
    """Return ``check(graph, inputs)``: onnxruntime gives the reference's integers, and the file is read back as the graph."""

    def check(graph: Graph, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        model = nl.export(graph)
        types = {i.name: i.type.tensor_type.elem_type for i in model.graph.input}
        feed = {n: x.astype(onnx.helper.tensor_dtype_to_np_dtype(types[n])) for n, x in inputs.items()}
        found, want = run_ort(model, feed), reference.run(graph, inputs)
        assert found.keys() == want.keys()
        for name, array in want.items():
            np.testing.assert_array_equal(found[name], array, err_msg=name)
        again = load_onnx(model)
        assert format_graph(again) == format_graph(graph)
        assert again.equals(graph)
        return want

    return check


def lif_options(rng: np.random.Generator) -> dict[str, Any]:
    """Random attributes of one ``lif`` of 4 neurons; impossible pairs are not drawn."""

    def pick(choices: Any) -> Any:
        return choices[int(rng.integers(len(choices)))]

    def factor() -> int:
        return int(rng.choice([0, 65536, 32768, 57344, rng.integers(0, 65537)]))

    least = pick([20, 20, -500])  # thresholds far below zero make differences with them saturate
    a: dict[str, Any] = {
        "threshold": rng.integers(least, 200, 4) if rng.random() < 0.7 else np.array(int(rng.integers(least, 200))),
        "leak": pick(LEAKS),
        "strict": pick([True, False]),
        "reset": pick(RESETS),
        "reset_mode": pick(RESET_MODES),
        "rounding": pick([None, *ROUNDINGS]),
        "record": pick([None, *RECORDS]),
        "wta": pick([True, False, None]),
        "alpha": pick([None, factor()]),
        "bias": pick([None, rng.integers(-20, 60, 4), np.array(int(rng.integers(-20, 60)))]),
        "drive": pick([None, rng.integers(-20, 60, 4)]),
        "refractory": pick([None, 0, 1, 3]),
    }
    a["beta"] = factor() if a["leak"] == "multiplicative" else None
    a["decay"] = int(rng.integers(0, 40)) if a["leak"] == "subtractive" else None
    a["v_reset"] = int(rng.integers(-50, 50)) if a["reset"] == "value" else None
    a["old_current"] = pick([True, False]) if a["alpha"] is not None else None
    if a["refractory"]:
        kind = pick(["held", "value", "integrates"])
        a["refractory_v"] = int(rng.integers(-50, 50)) if kind == "value" else None
        a["integrates"] = True if kind == "integrates" else None
    if a["reset_mode"] == "immediate" and rng.random() < 0.6:
        a["adapt_decay"], a["adapt_step"] = factor(), pick([None, int(rng.integers(-30, 60))])
    return a


def add_lif(b: Builder, rng: np.random.Generator, current: str, a: dict[str, Any], name: str) -> None:
    """A population with random states, all of which are shown."""
    states = {"v": STATE}
    states |= {"i": STATE} if a["alpha"] is not None else {}
    states |= {"r": Type(2)} if a["refractory"] else {}
    states |= {"a": STATE} if a.get("adapt_decay") is not None else {}
    held = [
        b.state(rng.integers(*((0, 4) if key == "r" else (-300, 400)), 4), kind, "sample", name=f"{name}.{key}")
        for key, kind in states.items()
    ]
    outputs = b.nodes("lif", [current, *held], name=f"{name}.spikes", source=name, **a)
    for state, value in zip(held, outputs[1:], strict=False):
        b.update(state, value)
    for number, value in enumerate(outputs):
        b.output(f"{name}.{number}", value)


@pytest.mark.parametrize("seed", range(6))
def test_lif_of_random_options_is_the_reference_in_onnxruntime(seed: int, same) -> None:
    rng = np.random.default_rng(seed)
    b = Builder("lif", clocked=True)
    current = b.input("current", STATE, (4,))
    for number in range(10):
        add_lif(b, rng, current, lif_options(rng), f"p{number}")
    graph = b.finish()
    scale = rng.choice([1, 4, 16], (3, 1, 1))
    want = same(graph, {"current": rng.integers(-512, 512, (3, 12, 4)) // scale})
    assert sum(int(want[f"p{k}.0"].sum()) for k in range(10)) > 10


@pytest.mark.parametrize("refractory", [None, 2])
def test_every_reset_in_every_mode(refractory: int | None, same) -> None:
    rng = np.random.default_rng(8)
    b = Builder("resets", clocked=True)
    current = b.input("current", STATE, (4,))
    for reset in RESETS:
        for mode in RESET_MODES:
            options = {
                "threshold": np.array([30, 90, -60, 300]),
                "leak": "multiplicative",
                "beta": 52000,
                "strict": False,
            }
            options |= {"reset": reset, "reset_mode": mode, "v_reset": 150 if reset == "value" else None, "alpha": None}
            add_lif(b, rng, current, options | {"refractory": refractory}, f"{reset}.{mode}")
    same(b.finish(), {"current": rng.choice([-512, -20, 0, 40, 160, 300, 511], (6, 20, 4))})


def network(rng: np.random.Generator, model: Any) -> nl.Network:
    """Two populations: delays 0..3 from the input, a recurrent projection, feed-forward of two delays, and a drive."""
    net = nl.Network("two", state_bits=24)
    inputs = net.input("in", 7)
    net.population("first", 9, model, record=["spikes", "v"])
    net.population("second", 4, nl.Neuron(threshold=60, leak="multiplicative", beta=50000), record=["spikes"])

    def connect(source: Any, target: str, shape: tuple[int, int], low: int, high: int, delays: int) -> None:
        count = 40
        pre, post = (rng.integers(0, m, count) for m in shape)
        weights = rng.integers(low, high, count)
        first = 0 if source is inputs or target == "second" else 1
        net.connect(source, target, pre=pre, post=post, weights=weights, delay=rng.integers(first, delays + 1, count))

    connect(inputs, "first", (7, 9), -20, 90, 3)
    connect("first", "first", (9, 9), -40, 40, 2)
    connect("first", "second", (9, 4), -30, 90, 1)
    net.connect(inputs, "second", pre=np.array([0]), post=np.array([3]), weights=np.array([77]), delay=0)
    net.drive("second", bounds=(-40, 40), name="drive")
    return net


def feed(rng: np.random.Generator) -> dict[str, np.ndarray]:
    return {"in": rng.random((3, 15, 7)) < 0.3, "drive": rng.integers(-40, 41, (3, 15, 4))}


MODELS = {
    "lif": nl.Neuron(threshold=70, leak="multiplicative", beta=60000, alpha=40000, refractory=2, reset="subtract"),
    "winner": nl.Neuron(threshold=40, wta=True, v_init=np.arange(9), strict=True),
    "izhikevich": IzhikevichNeuron(1311, 13107, -16640, 2048, bias=2560),
    "izhikevich_halves": IzhikevichNeuron(
        1311, 16384, -16640, 512, bias=np.arange(9) * 900, substeps=2, rounding="floor"
    ),
    "alpha_subtract": AlphaNeuron(30, 58000, 47000, 90000, 16, bias=3, rounding="toward_zero"),
    "alpha_zero": AlphaNeuron(np.arange(9) + 20, 60000, 30000, 900, 8, reset="zero", wta=True, rounding="half_up"),
    "bernoulli": nl.Bernoulli(seed=9, bias=np.arange(9) * 2000),
    "alpha_none": AlphaNeuron(10, 60000, 30000, 400, 8, reset="none"),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_network_of_populations_delays_and_drive(name: str, same) -> None:
    rng = np.random.default_rng(3)
    net = network(rng, MODELS[name])
    want = same(nl.compile(net, optimise=False).graph, feed(rng))
    assert want["first.spikes"].any() and want["second.spikes"].any()


@pytest.mark.parametrize("seed", range(3))
def test_the_other_neurons_saturate_as_the_reference(seed: int, same) -> None:
    rng = np.random.default_rng(seed)
    wide, n = Type(24, True), 24
    b = Builder("far", clocked=True)
    current = b.input("current", wide, (n,))

    def far() -> np.ndarray:
        return rng.choice([wide.lo, wide.hi, 0, wide.lo // 2, wide.hi // 2, -20000], n) // int(rng.choice([1, 2]))

    def add(op: str, name: str, states: int, **options: Any) -> None:
        held = [b.state(far(), wide, "sample", name=f"{name}.{k}") for k in range(states)]
        outputs = b.nodes(op, [current, *held], name=f"{name}.spikes", **options)
        for state, value in zip(held, outputs[1:], strict=False):
            b.update(state, value)
        for number, value in enumerate(outputs):
            b.output(f"{name}.{number}", value)

    for number, rounding in enumerate(ROUNDINGS):
        factors = {"a": int(rng.integers(0, 65537)), "b": int(rng.integers(0, 131072)), "c": -16640, "d": wide.hi // 2}
        add("izhikevich", f"z{number}", 2, **factors, substeps=1 + number % 2, rounding=rounding, bias=far())
        for reset in ("zero", "subtract", "none"):
            gain = {"gain": int(rng.integers(0, 131072)), "gain_bits": int(rng.choice([8, 16]))}
            alpha, beta = (int(f) for f in rng.integers(0, 65537, 2))
            options = {"threshold": far(), "reset": reset, "rounding": rounding, "bias": far(), **gain}
            add("bernoulli", f"b{number}{reset}", 1, bias=far())
            add("alpha_neuron", f"a{number}{reset}", 3, alpha=alpha, beta=beta, wta=bool(rng.integers(2)), **options)
    same(b.finish(), {"current": np.stack([[far() for _ in range(6)] for _ in range(3)])})


@pytest.mark.parametrize("how", [{"margin": 2}, {"table": (4000, 1500, 500, 100, 0), "limit": 5200}])
def test_the_early_decision(how: dict[str, Any], same) -> None:
    rng = np.random.default_rng(5)
    net = network(rng, MODELS["lif"])
    net.decide("second", **how)
    want = same(nl.compile(net).graph, feed(rng))
    assert want["decision.done"].any() and not want["decision.done"].all()


def test_a_scaled_current(same) -> None:
    rng = np.random.default_rng(4)
    net = network(rng, MODELS["lif"])
    net.populations["second"].shift = 3
    same(nl.compile(net).graph, feed(rng))


def test_the_digits_example_runs_in_onnxruntime_as_in_the_reference(same, require_tool) -> None:
    require_tool("sklearn")
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = digits.data[:20]
    want = same(nl.load(DIGITS).graph, {"spikes": nl.encoders.rate(images / 16, 20)})
    assert (want["last.spikes"].sum(1).argmax(1) == digits.target[:20]).mean() > 0.9


def test_a_live_snntorch_module(require_tool, run_ort) -> None:
    for tool in ("torch", "snntorch"):
        require_tool(tool)
    import snntorch
    import torch

    torch.manual_seed(0)
    layers = torch.nn.Sequential(
        torch.nn.Linear(6, 8), snntorch.Synaptic(alpha=0.5, beta=0.875, threshold=0.3, init_hidden=True, output=True)
    )
    sample = (torch.rand(2, 6) < 0.5).float()
    model = nl.export(layers, sample, state_bits=24)
    compiled = nl.compile(layers, sample=sample, state_bits=24)
    x = np.random.default_rng(0).random((2, 9, 6)) < 0.5
    name = model.graph.input[0].name
    found = run_ort(model, {name: x})
    for output, array in compiled.outputs({name: x}).items():
        np.testing.assert_array_equal(found[output], array)
    with pytest.raises(InputError, match="label"):
        nl.export(layers, sample, label=True)


# ---- files


def small() -> Graph:
    """A population of lif with everything around it."""
    return nl.compile(network(np.random.default_rng(3), MODELS["lif"])).graph


def test_a_file_without_functions_is_read_too(tmp_path: Path) -> None:
    graph = small()
    path = tmp_path / "net.onnx"
    model = nl.export(nl.Model(graph), path)
    del model.functions[:]
    assert load_onnx(model).equals(graph)
    compiled = nl.compile(path)
    assert compiled.graph.nodes[0].name == graph.nodes[0].name
    x = feed(np.random.default_rng(1))
    want = reference.run(graph, x)
    for name, array in compiled.outputs(x).items():
        np.testing.assert_array_equal(array, want[name])


def test_same_graph_same_bytes() -> None:
    graph = small()
    one, two = (nl.export(graph).SerializeToString(deterministic=True) for _ in range(2))
    assert one == two


def test_every_operator_has_a_function_that_is_used_by_name() -> None:
    functions = {f.name for f in nl.export(small()).functions}
    assert functions < {o.name for o in OPERATORS.values()}
    assert {"Quantity", "Fill", "State", "Update", "Synapses", "Lif", "Reshape", "Slice"} <= functions


def test_numbers_beyond_32_bits_saturate_in_onnxruntime(same) -> None:
    """onnxruntime 1.31's Min, Max and ReduceMax of int64 are wrong here; the functions must not use them."""
    b = Builder("wide", clocked=True)
    wide = Type(32, True)
    current = b.input("current", wide, (3,))
    v = b.state(np.array([wide.hi, wide.lo, 5]), wide, "sample", name="v")
    spikes, new, _ = b.nodes(
        "lif", [current, v], name="p", threshold=np.array([wide.hi - 1]).repeat(3), leak="none", strict=True,
        reset="none", reset_mode="immediate", wta=True,
    )  # fmt: skip
    b.update(v, new)
    b.output("spikes", spikes)
    b.output("v", new)
    rng = np.random.default_rng(0)
    x = rng.choice([wide.hi, wide.lo, 1, -1, 0], (5, 9, 3))
    want = same(b.finish(), {"current": x})["v"]
    assert (want == wide.hi).any() and (want == wide.lo).any()


# ---- what is refused


def test_learning_is_refused() -> None:
    net = nl.Network("learns")
    net.population("p", 3, nl.Neuron(threshold=9), record=["spikes"])
    rule = nl.Learning("window", pre_step=3, post_step=3, pot=1, dep=1)
    net.connect(net.input("in", 2), "p", weights=np.full((2, 3), 5), plasticity=rule)
    with pytest.raises(UnsupportedError, match="learning cannot be written as ONNX.*fixed"):
        nl.export(nl.compile(net))


def test_state_across_samples_is_refused() -> None:
    net = nl.Network("keeps")
    net.population("p", 3, nl.Neuron(threshold=9, adapt_decay=65000, adapt_persistent=True), record=["spikes"])
    net.connect(net.input("in", 2), "p", weights=np.full((2, 3), 5))
    with pytest.raises(UnsupportedError, match=r"p\.a.*state that lives across samples"):
        nl.export(net)


def test_operations_without_a_form_are_refused_by_name() -> None:
    b = Builder("odd", clocked=True)
    x = b.input("x", BIT, (3,))
    b.output("y", b.node("lut", [x], indices=np.array([[0]]), tables=np.array([1], np.uint64)))
    with pytest.raises(UnsupportedError, match="operation lut has no ONNX form"):
        nl.export(b.finish())
    b = Builder("framed")
    b.output("y", b.input("x", BIT, (3,)))
    with pytest.raises(UnsupportedError, match="must be clocked"):
        nl.export(b.finish())


def test_real_networks_are_sent_to_compile() -> None:
    net = nl.Network("real")
    net.population("p", 3, nl.LIF(tau=20e-3), record=["spikes"])
    net.connect(net.input("in", 2), "p", weights=np.full((2, 3), 0.5))
    with pytest.raises(InputError, match="compile"):
        nl.export(net)
    nl.export(nl.compile(net))


def body_of(model: onnx.ModelProto) -> onnx.GraphProto:
    return next(a.g for n in model.graph.node if n.op_type == "Scan" for a in n.attribute if a.name == "body")


def set_op(model: onnx.ModelProto) -> None:
    next(n for n in body_of(model).node if n.op_type == "Add").op_type = "Mul"


def set_unknown(model: onnx.ModelProto) -> None:
    next(n for n in body_of(model).node if n.op_type == "Lif").op_type = "Liff"


def set_code(model: onnx.ModelProto) -> None:
    lif = next(n for n in body_of(model).node if n.op_type == "Lif")
    next(a for a in lif.attribute if a.name == "leak").i = 3


def set_width(model: onnx.ModelProto) -> None:
    lif = next(n for n in body_of(model).node if n.op_type == "Lif")
    next(a for a in lif.attribute if a.name == "width").i = 16


def set_extra(model: onnx.ModelProto) -> None:
    lif = next(n for n in body_of(model).node if n.op_type == "Lif")
    lif.attribute.append(onnx.helper.make_attribute("gamma", 1))


def set_axes(model: onnx.ModelProto) -> None:
    scan = next(n for n in model.graph.node if n.op_type == "Scan")
    scan.attribute.append(onnx.helper.make_attribute("scan_input_axes", [1, 0]))


def set_around(model: onnx.ModelProto) -> None:
    next(n for n in model.graph.node if n.op_type == "Cast").op_type = "Not"


def set_cast(model: onnx.ModelProto) -> None:
    scores = next(o.name for o in model.graph.output if o.name.endswith(".v"))
    next(n for n in model.graph.node if n.output[0] == scores).attribute[0].i = onnx.TensorProto.INT16


def set_nothing(model: onnx.ModelProto) -> None:
    del body_of(model).node[3].output[:]


def set_kind(model: onnx.ModelProto) -> None:
    lif = next(n for n in body_of(model).node if n.op_type == "Lif")
    next(a for a in lif.attribute if a.name == "beta").CopyFrom(onnx.helper.make_attribute("beta", 0.5))


def set_start(model: onnx.ModelProto) -> None:
    next(n for n in model.graph.node if n.op_type == "Fill").op_type = "Other"


def set_perm(model: onnx.ModelProto) -> None:
    next(n for n in model.graph.node if n.op_type == "Transpose").attribute[0].ints[:] = [0, 1, 2]


def set_version(model: onnx.ModelProto) -> None:
    next(o for o in model.opset_import if o.domain == "neuroloom").version = 2


def set_update(model: onnx.ModelProto) -> None:
    body = body_of(model)
    body.node.remove(next(n for n in body.node if n.op_type == "Update"))


def set_input(model: onnx.ModelProto) -> None:
    next(n for n in body_of(model).node if n.op_type == "Lif").input[1] = "nothing"


def set_meaning(model: onnx.ModelProto) -> None:
    note = next(n for n in model.graph.node if n.op_type == "Quantity")
    note.attribute.append(onnx.helper.make_attribute("scale", "1/0"))


def set_type(model: onnx.ModelProto) -> None:
    note = next(n for n in model.graph.node if n.op_type == "Quantity")
    next(a for a in note.attribute if a.name == "type").s = b"float"


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (set_op, r"\(Mul\): this operator has no meaning"),
        (set_unknown, r"neuroloom\.Liff\): this operator has no meaning"),
        (set_code, r"Lif\): leak must be in 0\.\.2, not 3"),
        (set_width, "width must be 24"),
        (set_extra, "no attribute 'gamma'"),
        (set_axes, "scan_input_axes must be 0"),
        (set_around, r"\(Not\): only Transpose, Cast and Quantity"),
        (set_cast, r"Cast\): the type must hold the integers of s24"),
        (set_nothing, "must have inputs and outputs"),
        (set_kind, "beta must be int, not float"),
        (set_start, "must start with a Fill"),
        (set_perm, "perm must exchange"),
        (set_version, "version 2 .* is newer"),
        (set_update, "update"),
        (set_input, "input 1 must be computed before it"),
        (set_meaning, "rational"),
        (set_type, "type must be"),
    ],
)
def test_files_of_another_form_are_refused(change: Callable[[onnx.ModelProto], None], match: str) -> None:
    model = nl.export(small())
    change(model)
    with pytest.raises((InputError, UnsupportedError), match=match):
        load_onnx(model)


def test_options_of_the_importer_do_not_apply() -> None:
    with pytest.raises(InputError, match="leave the options out"):
        load_onnx(nl.export(small()), batch_axis=0)


def test_a_scan_of_something_else_is_refused_by_name() -> None:
    text = """<ir_version: 10, opset_import: ["" : 18]> net (uint8[N, 5, 3] x) => (uint8[5, N, 3] y) {
        xt = Transpose <perm = [1, 0, 2]> (x)
        y = Scan <num_scan_inputs = 1, body = step (uint8[N, 3] a) => (uint8[N, 3] b) { b = Identity (a) }> (xt)
    }"""
    with pytest.raises(UnsupportedError, match="Scan"):
        load_onnx(onnx.parser.parse_model(text))
