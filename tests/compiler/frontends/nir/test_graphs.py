"""Every NIR primitive, nested and recurrent graphs, old files, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from neuroloom.compiler.errors import InputError, NeuroloomError, UnsupportedError
from neuroloom.compiler.frontends.nir import import_nir, load_nir
from neuroloom.compiler.frontends.nir.read import FIELDS

Fixture = Callable[..., Any]
EULER = {"dialect": "nir-euler", "dt": 1e-3}


def spikes(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).random(shape) < 0.4


def integrator(n: int | tuple[int, ...], threshold: float = 1.0) -> Any:
    """IF neurons whose gain is 1 at dt = 1 ms."""
    import nir

    one = np.ones(n)
    return nir.IF(r=one * 1e3, v_threshold=one * threshold)


def if_spikes(current: np.ndarray, threshold: float = 1.0) -> np.ndarray:
    """Integrate and fire with reset to zero, over axis 1 of [samples, steps, ...]."""
    v, out = np.zeros(current[:, 0].shape), []
    for t in range(current.shape[1]):
        v = v + current[:, t]
        out.append(v > threshold)
        v = np.where(out[-1], 0, v)
    return np.stack(out, 1)


def test_every_primitive_of_the_package_is_known() -> None:
    import nir

    names = {n for n in nir.ir.__all__ if isinstance(getattr(nir, n, None), type)} - {"NIRNode", "NIRGraph"}
    assert names == set(FIELDS)


def test_linear_nodes_fold_into_one_projection(simulate: Fixture) -> None:
    import nir
    import torch
    import torch.nn.functional as F

    rng = np.random.default_rng(0)
    conv = rng.integers(-8, 9, (4, 2, 3, 2)) / 8
    bias, scale = rng.integers(-8, 9, 4) / 64, rng.integers(1, 5, (4, 6, 7)) / 4
    weight = rng.integers(-8, 9, (5, 36)) / 4
    graph = nir.NIRGraph(
        {
            "input": nir.Input(np.array([2, 6, 6])),
            "conv": nir.Conv2d(None, conv, 1, 1, 1, 1, bias),
            "scale": nir.Scale(scale),
            "pool": nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])),
            "flat": nir.Flatten(None, 0, -1),
            "fc": nir.Linear(weight),
            "if": integrator(5, 2.0),
            "output": nir.Output(np.array([5])),
        },
        [("input", "conv"), ("conv", "scale"), ("scale", "pool"), ("pool", "flat"), ("flat", "fc"), ("fc", "if"), ("if", "output")],
        type_check=False,  # nir 1.0.8 takes the kernel's height for its width too
    )  # fmt: skip
    x = spikes(1, 2, 30, 2, 6, 6)
    flat = torch.tensor(x.reshape(60, 2, 6, 6).astype(float))
    y = F.conv2d(flat, torch.tensor(conv), torch.tensor(bias), padding=1) * torch.tensor(scale)
    y = 4 * F.avg_pool2d(y, 2)
    current = (y.flatten(1) @ torch.tensor(weight).T).numpy().reshape(2, 30, 5)
    imported = import_nir(graph, **EULER)
    assert len(imported.network.projections) == 1
    np.testing.assert_array_equal(imported.layer("if", simulate(imported, x)), if_spikes(current, 2.0))


def test_conv1d_and_average_pooling(simulate: Fixture) -> None:
    import nir
    import torch
    import torch.nn.functional as F

    rng = np.random.default_rng(2)
    first, second = rng.integers(-8, 9, (4, 1, 5)) / 4, rng.integers(-8, 9, (2, 4, 3, 1)) / 4
    line = nir.NIRGraph(
        {
            "input": nir.Input(np.array([2, 12])),
            "conv": nir.Conv1d(12, first, 2, "valid", 1, 2, np.zeros(4)),
            "if": integrator((4, 4)),
            "output": nir.Output(np.array([4, 4])),
        },
        [("input", "conv"), ("conv", "if"), ("if", "output")],
        type_check=False,
    )
    x = spikes(1, 2, 20, 2, 12)
    current = F.conv1d(torch.tensor(x.reshape(40, 2, 12).astype(float)), torch.tensor(first), stride=2, groups=2)
    imported = import_nir(line, **EULER)
    found = imported.layer("if", simulate(imported, x))
    np.testing.assert_array_equal(found, if_spikes(current.numpy().reshape(2, 20, 4, 4)))
    plane = nir.NIRGraph(
        {
            "input": nir.Input(np.array([4, 6, 6])),
            "conv": nir.Conv2d((6, 6), second, 1, "same", 1, 1, np.zeros(2)),
            "if": integrator((2, 6, 6)),
            "pool": nir.AvgPool2d(np.array([2, 2]), np.array([2, 2]), np.array([1, 0])),
            "last": integrator((2, 4, 3), 0.5),
            "output": nir.Output(np.array([2, 4, 3])),
        },
        [("input", "conv"), ("conv", "if"), ("if", "pool"), ("pool", "last"), ("last", "output")],
        type_check=False,
    )
    x = spikes(3, 2, 20, 4, 6, 6)
    current = F.conv2d(torch.tensor(x.reshape(40, 4, 6, 6).astype(float)), torch.tensor(second), padding="same")
    middle = if_spikes(current.numpy().reshape(2, 20, 2, 6, 6))
    pooled = F.avg_pool2d(torch.tensor(middle.reshape(40, 2, 6, 6).astype(float)), 2, 2, (1, 0))
    imported = import_nir(plane, **EULER)
    expected = if_spikes(pooled.numpy().reshape(2, 20, 2, 4, 3), 0.5)
    assert expected.any()
    np.testing.assert_array_equal(imported.layer("last", simulate(imported, x)), expected)


def test_delays_act_per_element(simulate: Fixture, chain: Fixture) -> None:
    import nir

    graph = chain(nir.Delay(np.array([0.0, 2e-3, 5e-3])), nir.Threshold(np.full(3, 0.5)))
    x = spikes(0, 1, 20, 3)
    imported = import_nir(graph, **EULER)
    found = simulate(imported, x)["threshold.spikes"][0]
    for neuron, late in enumerate((0, 2, 5)):
        np.testing.assert_array_equal(found[late:, neuron], x[0, : 20 - late, neuron])
        assert not found[:late, neuron].any()


def test_membranes_are_outputs_of_integrators(simulate: Fixture, chain: Fixture) -> None:
    import nir

    one = np.ones(2)
    for node, beta, gain in (
        (nir.I(r=one * 1e3), 1.0, 1.0),
        (nir.LI(tau=one * 2e-3, r=one * 2, v_leak=one * 0), 0.5, 1.0),
    ):
        imported = import_nir(chain(node), **EULER)
        name, x = type(node).__name__.lower(), spikes(0, 1, 12, 2)
        from neuroloom.compiler.spiking.quantise import quantise

        scale = quantise(
            imported.network, weight_bits=16, state_bits=32, shifts={name: 8} if not imported.network.exact else None
        )
        factor = scale[0].populations[name].scale or 1
        v, expected = np.zeros(2), []
        for step in x[0]:
            v = beta * v + gain * step
            expected.append(v)
        np.testing.assert_allclose(simulate(imported, x)[f"{name}.v"][0] / factor, expected, atol=8 / factor)
    cuba = nir.CubaLI(tau_syn=one * 2e-3, tau_mem=one * 2e-3, r=one * 2, v_leak=one * 0, w_in=one * 2)
    imported = import_nir(chain(cuba), **EULER)
    assert imported.network.records["nir"]["outputs"] == {"output": "cubali.v"}


def test_a_linear_output_is_held_by_a_readout(simulate: Fixture, chain: Fixture) -> None:
    import nir

    graph = chain(nir.Threshold(np.zeros(3)), nir.Linear(np.array([[1.0, 2.0, -4.0]])))
    imported = import_nir(graph, **EULER)
    assert imported.network.exact
    x = spikes(0, 1, 9, 3)
    np.testing.assert_array_equal(simulate(imported, x)["output.v"][0, :, 0], x[0] @ [1, 2, -4])


def test_nested_and_recurrent_graphs(simulate: Fixture) -> None:
    """A nested RNN as snnTorch writes it: its own spikes come back one step later."""
    import nir

    rng = np.random.default_rng(1)
    w_in, w_rec = rng.integers(-2, 4, (4, 3)).astype(float), rng.integers(-3, 4, (4, 4)).astype(float)
    inner = nir.NIRGraph(
        {
            "input": nir.Input(np.array([4])),
            "lif": integrator(4, 2.0),
            "w_rec": nir.Linear(w_rec),
            "output": nir.Output(np.array([4])),
        },
        [("input", "lif"), ("lif", "w_rec"), ("w_rec", "lif"), ("lif", "output")],
    )
    graph = nir.NIRGraph(
        {"input": nir.Input(np.array([3])), "fc": nir.Linear(w_in), "rnn": inner, "output": nir.Output(np.array([4]))},
        [("input", "fc"), ("fc", "rnn"), ("rnn", "output")],
    )
    x = spikes(0, 2, 40, 3)
    imported = import_nir(graph, **EULER)
    assert imported.network.exact and imported.network.records["nir"]["recurrent"] == ["rnn/lif -> rnn/lif"]
    last, v, expected = np.zeros((2, 4)), np.zeros((2, 4)), []
    for t in range(40):
        v = v + x[:, t] @ w_in.T + last @ w_rec.T
        last = (v > 2).astype(float)
        v = np.where(last, 0, v)
        expected.append(last)
    np.testing.assert_array_equal(imported.layer("rnn/lif", simulate(imported, x)), np.stack(expected, 1))


def test_of_a_loop_of_two_layers_only_the_edge_back_is_late() -> None:
    import nir

    nodes = {
        "input": nir.Input(np.array([2])),
        "a": integrator(2),
        "ab": nir.Linear(np.eye(2)),
        "b": integrator(2),
        "ba": nir.Linear(np.eye(2)),
        "output": nir.Output(np.array([2])),
    }
    edges = [("input", "a"), ("a", "ab"), ("ab", "b"), ("b", "ba"), ("ba", "a"), ("b", "output")]
    net = import_nir(nir.NIRGraph(nodes, edges), **EULER).network
    assert net.records["nir"]["recurrent"] == ["b -> a"]
    delays = {(p.source, p.target): set(p.delay.tolist()) for p in net.projections.values()}
    assert delays == {("input", "a"): {0}, ("a", "b"): {0}, ("b", "a"): {1}}
    lava = import_nir(nir.NIRGraph(nodes, edges), dialect="lava").network
    assert {d for p in lava.projections.values() for d in p.delay.tolist()} == {1}


def test_integer_networks_are_taken_exactly(chain: Fixture, simulate: Fixture) -> None:
    import nir

    rng = np.random.default_rng(5)
    weight, bias = rng.integers(-120, 121, (6, 9)).astype(np.float32), rng.integers(-20, 20, 6).astype(np.float32)
    graph = chain(nir.Affine(weight, bias), nir.IF(r=np.ones(6), v_threshold=np.full(6, 300.0)))
    x = spikes(0, 3, 50, 9)
    imported = import_nir(graph, dialect="norse")
    assert imported.network.exact and imported.network.records["nir"]["exact"]
    np.testing.assert_array_equal(
        imported.layer("if", simulate(imported, x)), if_spikes(x @ weight.T.astype(float) + bias, 300)
    )


def test_files_of_every_age_are_read(tmp_path: Path, chain: Fixture, lif: Fixture) -> None:
    """Old files lack v_reset, w_in, input_shape, metadata and even the version."""
    import h5py
    import nir

    one = np.ones(3)
    conv = nir.Conv1d(5, np.ones((3, 1, 5)), 1, 0, 1, 1, np.zeros(3))
    cuba = nir.CubaLIF(tau_syn=one * 2e-3, tau_mem=one * 2e-3, r=one, v_leak=one * 0, v_threshold=one)
    graph = chain(
        nir.Input(np.array([1, 5])), conv, nir.Flatten(np.array([3, 1]), 0, -1), lif(3), nir.Linear(np.eye(3)), cuba
    )
    path = tmp_path / "x.nir"
    nir.write(path, graph)
    new = load_nir(path, **EULER)
    with h5py.File(path, "a") as file:
        del file["version"]
        nodes = file["node/nodes"]
        del nodes["lif/v_reset"], nodes["cubalif/v_reset"], nodes["cubalif/w_in"], nodes["conv1d/input_shape"]
    old = load_nir(path, **EULER)
    assert [str(n) for n in old.nodes] == [str(n) for n in new.nodes]
    assert old.records["network"]["nir"]["nir_version"] == "unknown"


def broken(nodes: dict[str, Any], edges: list[tuple[str, str]]) -> Any:
    """A graph that the nir package itself would refuse."""
    import nir

    return nir.NIRGraph(nodes, edges, type_check=False)


def ends(n: int = 2) -> dict[str, Any]:
    import nir

    return {"input": nir.Input(np.array([n])), "output": nir.Output(np.array([2]))}


def refused(graph: Any, *words: str, kind: type[NeuroloomError] = InputError, **options: Any) -> None:
    with pytest.raises(kind) as error:
        load_nir(graph, **(EULER | options))
    text = str(error.value)
    assert "\n" not in text
    for word in words:
        assert word in text, text


def test_bad_graphs_get_one_sentence(lif: Fixture) -> None:
    import nir

    class Hodgkin(nir.NIRNode):
        def __init__(self) -> None:
            self.input_type = self.output_type = {"input": np.array([2])}

    path = [("input", "a"), ("a", "output")]
    linear = nir.Linear(np.eye(2))
    refused(broken({**ends(), "a": Hodgkin()}, path), "'a'", "'Hodgkin'", kind=UnsupportedError)
    refused(broken({**ends(), "a": lif(2)}, [("input", "a"), ("a", "b")]), "'a' -> 'b'", "dangles")
    refused(broken({**ends(), "a": lif(2)}, [("input", "a")]), "'output'", "must have an edge that leads to it")
    refused(broken({**ends(), "a": lif(2)}, [*path, ("input", "a")]), "given once", "2 times")
    refused(broken({**ends(), "a": lif(3)}, path), "shape", "[3]", "[2]")
    refused(broken({**ends(3), "a": linear}, path), "'a' (Linear)", "[2]", "[3]")
    refused(broken({**ends(), "a": lif(2, threshold=np.nan)}, path), "v_threshold of node 'a'", "finite", "nan")
    refused(broken({**ends(), "a": nir.Affine(np.eye(2), np.array([0.0, np.inf]))}, path), "bias", "finite")
    refused(broken({**ends(), "a": lif(2, tau=0.0)}, path), "tau of node 'a'", "above 0")
    refused(broken({**ends(), "a": lif(2), "b": lif(2)}, [*path, ("b", "output")]), "'b'", "edge into it")
    refused(broken({**ends(), "a": linear}, path), "passes no neuron", kind=UnsupportedError)
    both = [*path, ("a", "b"), ("b", "a")]
    refused(
        broken({**ends(), "a": linear, "b": nir.Linear(np.eye(2))}, both), "loop", "no neuron", kind=UnsupportedError
    )
    delayed = {**ends(), "a": nir.Delay(np.full(2, 1.4e-3)), "b": lif(2)}
    chain = [("input", "a"), ("a", "b"), ("b", "output")]
    refused(broken(delayed, chain), "whole number of steps", kind=UnsupportedError)
    refused(broken({**delayed, "a": nir.Delay(np.full(2, 0.1))}, chain), "delay of 100 steps", kind=UnsupportedError)
    graded = {**ends(), "a": nir.I(r=np.ones(2)), "b": lif(2)}
    refused(broken(graded, chain), "graded membrane of 'a'", kind=UnsupportedError)
    big = nir.Conv2d((200, 200), np.ones((64, 64, 3, 3)), 1, 1, 1, 1, np.zeros(64))
    wide = {"input": nir.Input(np.array([64, 200, 200])), "a": big, "b": nir.Threshold(np.ones((64, 200, 200)))}
    edges = [("input", "a"), ("a", "b"), ("b", "output")]
    refused(
        broken({**wide, "output": nir.Output(np.array([64, 200, 200]))}, edges),
        "would unroll to 1,4",
        kind=UnsupportedError,
    )


def test_sizes_are_refused_before_they_are_made() -> None:
    """A damaged number must not fill the memory."""
    import nir

    wide = nir.Conv2d(None, np.ones((1, 1, 1, 1)), 1, 10**9, 1, 1, np.zeros(1))
    nodes = {"input": nir.Input(np.array([1, 2, 2])), "a": wide, "output": nir.Output(None)}
    refused(broken(nodes, [("input", "a"), ("a", "output")]), "'a'", "synapses", kind=UnsupportedError)
    nodes = {"input": nir.Input(np.array([10**6, 10**6])), "a": nir.Flatten(None, 0, -1), "output": nir.Output(None)}
    refused(broken(nodes, [("input", "a"), ("a", "output")]), "'input'", kind=UnsupportedError)


def test_bad_files_get_one_sentence(tmp_path: Path, chain: Fixture, lif: Fixture) -> None:
    import h5py
    import nir

    text = tmp_path / "text.nir"
    text.write_text("no HDF5")
    refused(text, "text.nir", "HDF5")
    empty = tmp_path / "empty.nir"
    with h5py.File(empty, "w") as file:
        file["version"] = "1.0"
    refused(empty, "empty.nir", "'node'")
    partial = tmp_path / "partial.nir"
    nir.write(partial, chain(lif(2)))
    with h5py.File(partial, "a") as file:
        del file["node/nodes/lif/tau"]
    refused(partial, "'lif' (LIF)", "tau")
    refused(3, "int")


def test_two_inputs_and_two_outputs(simulate: Fixture) -> None:
    import nir

    nodes = {
        "left": nir.Input(np.array([2])),
        "right": nir.Input(np.array([3])),
        "w": nir.Linear(np.ones((2, 3))),
        "a": integrator(2),
        "b": nir.Threshold(np.full(2, 0.5)),
        "spikes": nir.Output(np.array([2])),
        "copy": nir.Output(np.array([2])),
    }
    edges = [("left", "a"), ("right", "w"), ("w", "a"), ("a", "spikes"), ("a", "b"), ("b", "copy")]
    imported = import_nir(broken(nodes, edges), **EULER)
    left, right = spikes(0, 1, 15, 2), spikes(1, 1, 15, 3)
    out = simulate(imported, {"left": left, "right": right})
    np.testing.assert_array_equal(out["a.spikes"], if_spikes(left + right.sum(2, keepdims=True) * np.ones(2)))
    np.testing.assert_array_equal(out["a.spikes"], out["b.spikes"])
