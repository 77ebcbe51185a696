"""Formats, configuration, per-channel weights, rounded products, clocked networks, the record, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from neuroloom.compiler.errors import InputError
from neuroloom.compiler.ir import Graph, Type
from neuroloom.compiler.ir.file import from_bytes, to_bytes
from neuroloom.compiler.quantise import Config, quantise
from neuroloom.compiler.quantise.config import Rules
from neuroloom.compiler.quantise.formats import choose, point, weight_point
from neuroloom.compiler.quantise.observe import BINS, Observed, merged, observe
from neuroloom.compiler.real import Program, ProgramBuilder, evaluate
from neuroloom.sim.dense import Engine
from neuroloom.sim.reference import run

RNG = np.random.default_rng(0)
X = RNG.normal(size=(200, 6))


def mlp(weights: np.ndarray | None = None) -> Program:
    """x -> tanh(W x + b) -> V h."""
    rng = np.random.default_rng(1)
    b = ProgramBuilder("mlp")
    x = b.input("x", (6,))
    w = rng.normal(size=(5, 6)) if weights is None else weights
    pre = b.node("linear", [x], name="first", source="Gemm_0", weights=w, bias=rng.normal(size=5))
    h = b.node("function", [pre], name="hidden", source="Tanh_1", function="tanh")
    b.output("y", b.node("linear", [h], name="second", source="Gemm_2", weights=rng.normal(size=(3, 5))))
    return b.program


def worst(program: Program, graph: Graph, data: np.ndarray = X) -> float:
    real = evaluate(program, {"x": data})
    y = Engine(graph).run(data)
    return max(float(np.abs(o.affine.dequantize(y[o.name]) - real[o.name]).max()) for o in graph.outputs)


def types(graph: Graph) -> dict[str, str]:
    return {n: str(v.type) for n, v in graph.values().items()}


def test_points_are_the_finest_that_hold_both_ends() -> None:
    for lo, hi, bits in (
        (-1.0, 0.99, 8),
        (-1.0, 1.0, 8),
        (0.0, 255.0, 8),
        (-3e-7, 1e-7, 4),
        (0.0, 0.0, 8),
        (-1e9, 5.0, 16),
    ):
        frac = point(lo, hi, bits)

        def holds(f: int, lo: float = lo, hi: float = hi, bits: int = bits) -> bool:
            ends = [round(Fraction(v) * Fraction(2) ** f) for v in (lo, hi)]
            return -(1 << (bits - 1)) <= ends[0] and ends[1] <= (1 << (bits - 1)) - 1

        assert holds(frac) and (not holds(frac + 1) or lo == hi == 0.0)


def test_never_negative_values_save_their_sign() -> None:
    assert choose(Observed(0.0, 0.9), 8, Rules()) == Type(7, False, 7)
    assert choose(Observed(-0.1, 0.9), 8, Rules()) == Type(8, True, 7)


def seen(values: np.ndarray) -> Observed:
    b = ProgramBuilder("values")
    x = b.input("x", (values.size,))
    b.output("y", x)
    return observe(b.program, {"x": values[None]}, histograms=True)["x"]


def test_percentile_and_mse_cut_an_outlier_that_minmax_keeps() -> None:
    values = np.append(np.random.default_rng(2).normal(size=20000), 60.0)
    item = seen(values)
    assert item.count == 20001 and item.bins is not None and item.bins.sum() == 20001 and len(item.bins) == BINS
    by = {m: choose(item, 8, Rules(calibration=m, percentile=99.9)).frac for m in ("minmax", "percentile", "mse")}
    assert by["minmax"] == 1 and by["percentile"] == 5  # 99.9 % of a normal lie within 3.29

    def error(frac: int) -> float:
        near = np.clip(np.rint(values * 2.0**frac), -128, 127) / 2.0**frac
        return float(((near - values) ** 2).sum())

    assert by["mse"] == min(range(1, 8), key=error)


def test_histograms_merge() -> None:
    a, b = seen(np.linspace(-1, 0, 1000)), seen(np.linspace(0, 3, 3000))
    both = merged([a, b])
    assert (both.lo, both.hi, both.count) == (-1.0, 3.0, 4000)
    assert both.bins is not None and both.bins.sum() == 4000 and abs(both.percentile(50.0)[0] - 0.0) < 0.01


def test_weights_by_channel_use_every_bit_of_small_rows() -> None:
    rows = np.random.default_rng(3).normal(size=(5, 6)) * np.array([[1], [0.1], [0.01], [1], [0.3]])
    program = mlp(rows)
    plain, fine = (
        quantise(program, {"x": X}, Config.read({"weights": w, "table_bits": 14}))
        for w in ("per_tensor", "per_channel")
    )
    assert weight_point(rows, Rules(), 0).tolist() == [point(r.min(), r.max(), 8) for r in rows]
    assert any(n.op == "mul" and n.name == "first.lifted" for n in fine.nodes)
    real = np.tanh(X @ rows.T + program.nodes[0].attrs["bias"])

    def hidden(graph: Graph) -> np.ndarray:
        got = run(graph, X, probes=["hidden"])["hidden"]
        return np.abs(got / 2.0 ** graph.values()["hidden"].type.frac - real).max(axis=0)

    assert (hidden(fine)[1:3] < hidden(plain)[1:3] / 2).all()


def test_rules_node_by_node() -> None:
    config = {
        "bits": 12,
        "rounding": "half_even",
        "nodes": {
            "Tanh_1": {"bits": 6, "table_bits": 7},
            "second": {"type": "s10.4", "overflow": "wrap", "rounding": "floor"},
        },
    }
    graph = quantise(mlp(), {"x": X}, Config.read(config))
    kinds = types(graph)
    assert kinds["x"].startswith("s12") and kinds["hidden"].startswith("s6") and kinds["second"] == "s10.4"
    nodes = {n.name: n for n in graph.nodes}
    assert len(nodes["hidden"].attrs["entries"]) == 128
    assert (nodes["second"].attrs["rounding"], nodes["second"].attrs["overflow"]) == ("floor", "wrap")
    assert graph.records["fixed_point"]["rules"]["nodes"]["second"]["type"] == "s10.4"


def test_products_rounded_before_the_sum_equal_their_definition() -> None:
    """As a design of another tool: ap_fixed<10,4> products with RND_CONV and SAT, weights ap_fixed<8,3>."""
    program = mlp()
    rules = {"product": "s10.6", "weight_type": "s8.5", "rounding": "half_even"}
    graph = quantise(program, {"x": X}, Config.read({"bits": 10, "nodes": {"Gemm_0": rules}}))
    y = run(graph, X, probes=["x", "first.sum", "first.biased"])
    frac = graph.values()["x"].type.frac
    for sample in range(5):
        for row, weights in enumerate(program.nodes[0].attrs["weights"]):
            total = 0
            for q, w in zip(y["x"][sample].tolist(), weights, strict=True):
                near = min(max(round(Fraction(w) * 32), -128), 127)
                total += min(max(round(Fraction(q * near, 2 ** (frac + 5)) * 64), -512), 511)
            assert y["first.sum"][sample, row] == total
            bias = round(Fraction(float(program.nodes[0].attrs["bias"][row])) * 64)
            assert y["first.biased"][sample, row] == total + bias


def test_the_same_samples_give_the_same_bytes() -> None:
    config = Config.read({"calibration": "mse", "weights": "per_channel"})
    first, second = (to_bytes(quantise(mlp(), {"x": X}, config)) for _ in range(2))
    assert first == second
    graph = from_bytes(first)
    rows = graph.records["fixed_point"]["values"]
    assert rows["hidden"]["type"] == types(graph)["hidden"] and float(rows["x"]["lo"]) == pytest.approx(
        X.min(), rel=1e-5
    )


def clocked() -> Program:
    """h <- 0.5 h + x, y = 2 h."""
    b = ProgramBuilder("clocked")
    x, h = b.input("x", (2,)), b.input("h", (2,))
    new = b.node("add", [b.node("mul", [h, b.const(np.array(0.5), name="half")], name="old"), x], name="new")
    b.output("next", new)
    b.output("y", b.node("mul", [new, b.const(np.array(3.0), name="three")], name="shown"))
    b.program.states = {"h": "next"}
    return b.program


def test_memory_of_a_clocked_program() -> None:
    program = clocked()
    x = np.random.default_rng(4).uniform(-1, 1, (7, 9, 2))
    real = evaluate(program, {"x": x})
    h = np.zeros((7, 2))
    for t in range(9):
        h = 0.5 * h + x[:, t]
        np.testing.assert_allclose(real["next"][:, t], h)
    graph = quantise(program, {"x": x})
    assert graph.clocked and [o.name for o in graph.outputs] == ["y"] and len(graph.states) == 1
    y = run(graph, x)["y"]
    assert np.abs(graph.outputs[0].affine.dequantize(y.reshape(63, 2)).reshape(7, 9, 2) - real["y"]).max() < 1e-3
    np.testing.assert_array_equal(Engine(graph).run(x)["y"], y)


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"bit": 8}, "'bit' must be one of bits, weight_bits"),
        ({"bits": 1}, "bits must be 2 to 32 bits, not 1"),
        ({"table_bits": True}, "table_bits must be 2 to 16"),
        ({"rounding": "up"}, "rounding must be one of floor, half_up, half_even, toward_zero, not 'up'"),
        ({"calibration": {"percentile": 20}}, "percentile must be above 50"),
        ({"calibration": "entropy"}, "calibration must be minmax, mse"),
        ({"type": "s8"}, "type must stand under nodes"),
        ({"nodes": {"Gemm_0": {"type": "float"}}}, "node 'Gemm_0': type: type must be bit"),
        ({"nodes": {"Gemm_9": {"bits": 8}}}, "node 'Gemm_9' must be one of the network, such as"),
        ({"nodes": ["Gemm_0"]}, "nodes must map node names to rules"),
        ([], "must be a mapping of rules"),
    ],
)
def test_configurations_refused(given: Any, match: str, tmp_path: Path) -> None:
    import yaml

    file = tmp_path / "net.yaml"
    file.write_text(yaml.safe_dump(given))
    with pytest.raises(InputError, match=match):
        quantise(mlp(), {"x": X}, Config.read(file))


def test_values_that_are_not_finite_name_their_node() -> None:
    b = ProgramBuilder("log")
    b.output("y", b.node("function", [b.input("x", (1,))], name="log", source="Log_7", function="log"))
    with pytest.raises(InputError, match="node 'Log_7': value 'log' must be finite on every calibration sample"):
        quantise(b.program, {"x": np.array([[0.5], [0.0]])})


def test_a_branch_that_no_sample_takes_is_observed_as_if_all_did() -> None:
    b = ProgramBuilder("branches")
    x = b.input("x", (1,))
    zero = b.const(np.zeros(1), name="zero")
    cond = b.node("reshape", [b.node("relation", [x, zero], kind="gt")], shape=())
    regions: Callable[[str], Any] = lambda f: b.region(  # noqa: E731
        lambda: [b.node("function", [x], name=f, source=f"node_{f}", function=f)]
    )
    b.output("y", b.node("when", [cond], regions=[regions("tanh"), regions("sigmoid")]))
    for method in ("minmax", "mse"):
        graph = quantise(b.program, {"x": np.array([[1.0], [2.0]])}, Config.read({"calibration": method}))
        seen = graph.records["fixed_point"]["values"]
        assert (seen["sigmoid"]["lo"], seen["sigmoid"]["hi"], seen["sigmoid"]["taken"]) == (
            "0.731059",
            "0.880797",
            False,
        )
        assert "taken" not in seen["tanh"]
    graph = quantise(b.program, {"x": np.array([[1.0], [-2.0], [-0.1]])})
    real = evaluate(b.program, {"x": np.array([[0.5], [-0.5]])})["y"]
    y = Engine(graph).run(np.array([[0.5], [-0.5]]))["y"]
    assert np.abs(graph.outputs[0].affine.dequantize(y) - real).max() < 0.01


def test_gates_of_one_cell_share_their_table() -> None:
    """Two sigmoids of one source get one address and one output format, as wide as both need; another source's keeps its own."""
    b = ProgramBuilder("gates")
    x = b.input("x", (1,))
    wide = b.node("mul", [x, b.const(np.array(3.0))], name="wide", source="cell")
    for name, value, source in (("z", x, "cell"), ("r", wide, "cell"), ("other", x, "else")):
        b.output(name, b.node("function", [value], name=name, source=source, function="sigmoid"))
    graph = quantise(b.program, {"x": np.linspace(-1, 1, 101)[:, None]})
    tables = {n.name: n for n in graph.nodes if n.op == "table"}
    assert (tables["z"].attrs["entries"] == tables["r"].attrs["entries"]).all()
    assert len(tables["other"].attrs["entries"]) == len(tables["z"].attrs["entries"])
    assert (tables["other"].attrs["entries"] != tables["z"].attrs["entries"]).any()
    kinds = types(graph)
    assert kinds["z"] == kinds["r"]
    b.program.nodes[-1].source = "cell"
    graph = quantise(
        b.program, {"x": np.linspace(-1, 1, 101)[:, None]}, Config.read({"nodes": {"z": {"table_bits": 8}}})
    )
    sizes = {n.name: len(n.attrs["entries"]) for n in graph.nodes if n.op == "table"}
    assert sizes == {"z": 256, "r": 1024, "other": 1024}
