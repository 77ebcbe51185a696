"""The discrete updates: the NIR paper's neuron in every dialect, and each update against a plain program of its equations."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from neuroloom.compiler.errors import InputError, UnsupportedError
from neuroloom.compiler.frontends.nir import import_nir, load_nir
from neuroloom.sim.reference import run

import neuroloom as nl

Fixture = Callable[..., Any]
SPIKES = [460, 510, 710, 760]


def trace(folder: Path, name: str) -> np.ndarray:
    """Input, membrane and spikes [1000, 3] of one tool."""
    return np.loadtxt(folder / f"lif_{name}.csv", delimiter=",")


def paper(folder: Path, dialect: str, **options: Any) -> tuple[np.ndarray, np.ndarray, float]:
    """Spikes and membrane [1000] of the paper's neuron, and the membrane's integers per volt."""
    graph = load_nir(folder / "lif_norse.nir", dialect=dialect, record=("1",), **options)
    x = trace(folder, "norse")[:, 0].astype(np.int64)
    out = run(graph, {"input": x[None, :, None]})
    scale = float(graph.records["network"]["scales"].get("1", 1.0))
    return out["1.spikes"][0, :, 0], out["1.v"][0, :, 0], scale


EXACT = {"weight_bits": 16, "state_bits": 32, "shift": 8}


@pytest.mark.parametrize(
    ("dialect", "options"),
    [
        ("snntorch", {"reset": "zero", "reset_delay": False}),
        ("snntorch", {"reset": "zero", "reset_delay": True}),
        ("snntorch", {"reset": "subtract", "reset_delay": True}),
        ("norse", {"dt": 1e-4}),
        ("nir-euler", {"dt": 1e-4}),
    ],
)
@pytest.mark.parametrize("bits", ({}, EXACT), ids=("default", "16bit"))
def test_the_papers_neuron_spikes_when_it_should(
    nir_lif: Path, dialect: str, options: dict[str, Any], bits: dict[str, Any]
) -> None:
    spikes, _, _ = paper(nir_lif, dialect, **options, **bits)
    assert np.flatnonzero(spikes).tolist() == SPIKES


@pytest.mark.parametrize(
    ("name", "dialect", "options"),
    [("norse", "norse", {"dt": 1e-4}), ("snntorch", "snntorch", {"reset": "zero", "reset_delay": False})],
)
def test_membranes_follow_the_tools_own(nir_lif: Path, name: str, dialect: str, options: dict[str, Any]) -> None:
    spikes, v, scale = paper(nir_lif, dialect, **options, **EXACT)
    expected = trace(nir_lif, name)[:, 1]
    np.testing.assert_allclose(v / scale, expected, atol=2e-4 * expected.max())  # decays carry 16 fraction bits
    np.testing.assert_array_equal(spikes, trace(nir_lif, name)[:, 2])


def test_lavas_integer_trace_is_reproduced(nir_lif: Path) -> None:
    spikes, v, _ = paper(nir_lif, "lava", dt=1e-4)
    expected = trace(nir_lif, "lava_loihi_fixed").astype(np.int64)
    np.testing.assert_array_equal(v, expected[:, 1])
    np.testing.assert_array_equal(spikes, expected[:, 2])
    assert np.flatnonzero(spikes).tolist() == [t + 1 for t in SPIKES]


def test_lavas_process_without_the_silent_step(nir_lif: Path) -> None:
    """PyLifModelBitAcc: the membrane is 0 behind a spike and integrates at once."""
    spikes, v, _ = paper(nir_lif, "lava", dt=1e-4, refractory=0)
    expected = trace(nir_lif, "lava_loihi_fixed").astype(np.int64)
    np.testing.assert_array_equal(v, np.where(expected[:, 2], 0, expected[:, 1]))
    np.testing.assert_array_equal(spikes, expected[:, 2])


def test_the_command_line_and_compile_read_the_file(nir_lif: Path) -> None:
    model = nl.compile(nir_lif / "lif_norse.nir", dialect="lava", dt=1e-4)
    used = model.graph.records["network"]["nir"]
    assert {k: used[k] for k in ("dialect", "dt", "reset", "refractory")} == {
        "dialect": "lava",
        "dt": 1e-4,
        "reset": "value",
        "refractory": 1,
    }
    assert model.graph.records["source"]["file"] == "lif_norse.nir"


def euler(x: np.ndarray, weight: np.ndarray, node: dict[str, np.ndarray], dt: float, v: np.ndarray) -> np.ndarray:
    """Spikes [T, n] of LIF or CubaLIF by forward Euler in doubles, the new current acting at once."""
    i, out = np.zeros_like(v), []
    for step in x @ weight.T:
        if "tau_syn" in node:
            i = i + dt / node["tau_syn"] * (node["w_in"] * step - i)
        else:
            i = step
        v = v + dt / node["tau_mem"] * (node["v_leak"] - v + node["r"] * i)
        spike = v > node["v_threshold"]
        v = np.where(spike, node["v_reset"], v)
        out.append(spike)
    return np.array(out)


def random_node(rng: np.random.Generator, n: int, cuba: bool) -> dict[str, np.ndarray]:
    choice = rng.choice([2e-3, 4e-3, 8e-3], n)
    node = {
        "tau_mem": choice,
        "r": rng.uniform(1, 3, n),
        "v_leak": rng.uniform(-0.2, 0.2, n),
        "v_threshold": rng.uniform(0.5, 1, n),
        "v_reset": rng.choice([-0.25, 0.0], n),
    }
    if cuba:
        node |= {"tau_syn": rng.choice([2e-3, 4e-3], n), "w_in": rng.uniform(1, 3, n)}
    return node


@pytest.mark.parametrize("cuba", (False, True), ids=("LIF", "CubaLIF"))
@pytest.mark.parametrize("seed", range(3))
def test_nir_euler_is_forward_euler(cuba: bool, seed: int, chain: Fixture, simulate: Fixture) -> None:
    import nir

    rng = np.random.default_rng(seed)
    weight, bias = rng.normal(size=(12, 20)), rng.normal(size=12) / 4
    node = random_node(rng, 12, cuba)
    fields = dict(node)
    if not cuba:
        fields["tau"] = fields.pop("tau_mem")
    graph = chain(nir.Affine(weight, bias), (nir.CubaLIF if cuba else nir.LIF)(**fields))
    x = (rng.random((2, 60, 20)) < 0.3).astype(float)
    expected = np.stack([euler(np.c_[s, np.ones(60)], np.c_[weight, bias], node, 1e-3, np.zeros(12)) for s in x])
    imported = import_nir(graph, dialect="nir-euler", dt=1e-3)
    name = "cubalif" if cuba else "lif"
    found = imported.layer(name, simulate(imported, x))
    assert 20 < expected.sum() < expected.size / 2
    assert (found != expected).sum() <= 2  # 16-bit weights against doubles


def test_norse_starts_at_v_leak_and_euler_at_zero(chain: Fixture, lif: Fixture) -> None:
    graph = chain(lif(2, r=1.0, v_leak=0.5))
    norse = import_nir(graph, dialect="norse", dt=1e-3).network.populations["lif"].model
    assert norse.v_init == 0.5
    assert import_nir(graph, dialect="nir-euler", dt=1e-3).network.populations["lif"].model.v_init == 0


def test_resets_of_the_snntorch_dialect_are_its_modules(chain: Fixture, lif: Fixture) -> None:
    import nir

    one = np.ones(2)
    synaptic = nir.CubaLIF(tau_syn=one * 4e-3, tau_mem=one * 2e-3, r=one * 2, v_leak=one * 0, v_threshold=one, w_in=4.0)
    recurrent = {
        "in": nir.Input(np.array([2])),
        "lif": lif(2),
        "w": nir.Linear(np.eye(2)),
        "out": nir.Output(np.array([2])),
    }
    loop = nir.NIRGraph(recurrent, [("in", "lif"), ("lif", "w"), ("w", "lif"), ("lif", "out")])
    modes = {}
    for name, graph in {"Leaky": chain(lif(2)), "Synaptic": chain(synaptic), "RLeaky": loop}.items():
        for delay in (True, False):
            net = import_nir(graph, dialect="snntorch", dt=1e-3, reset="zero", reset_delay=delay).network
            assert list(net.records["nir"]["modules"].values()) == [name]
            modes[name, delay] = next(iter(net.populations.values())).model.reset_mode
    assert modes == {
        ("Leaky", True): "delayed",
        ("Leaky", False): "undelayed",
        ("Synaptic", True): "delayed_new",
        ("Synaptic", False): "undelayed_new",
        ("RLeaky", True): "delayed_new",
        ("RLeaky", False): "undelayed_new",
    }


def test_a_network_in_snntorchs_export_form_is_the_module(
    require_tool: Fixture, chain: Fixture, simulate: Fixture
) -> None:
    """The nodes that export_to_nir writes (tau = dt/(1 − beta), r = tau/dt, w_in = tau_syn/dt), with the reset that they lose."""
    require_tool("torch")
    require_tool("snntorch")
    import nir
    import snntorch as snn
    import torch
    from snntorch import utils

    torch.manual_seed(3)
    alpha, beta = torch.ones(4) * 0.5, (torch.ones(8) * 0.875, torch.ones(4) * 0.75)
    module = torch.nn.Sequential(
        torch.nn.Linear(10, 8),
        snn.Leaky(beta=beta[0], threshold=torch.ones(8) * 0.5, init_hidden=True),
        torch.nn.Linear(8, 4),
        snn.Synaptic(alpha=alpha, beta=beta[1], threshold=torch.ones(4) * 0.25, init_hidden=True, output=True),
    ).eval()
    with torch.no_grad():
        for p in module.parameters():
            p.copy_(torch.round(p * 3 * 256) / 256)
    dt = 1e-4
    tau = [(dt / (1 - b)).numpy() for b in (*beta, alpha)]
    zeros = [np.zeros(8, np.float32), np.zeros(4, np.float32)]
    layers = [nir.Affine(m.weight.detach().numpy(), m.bias.detach().numpy()) for m in (module[0], module[2])]
    lif = nir.LIF(tau=tau[0], r=tau[0] / dt, v_leak=zeros[0], v_threshold=zeros[0] + 0.5)
    cuba = nir.CubaLIF(
        tau_syn=tau[2], tau_mem=tau[1], r=tau[1] / dt, v_leak=zeros[1], v_threshold=zeros[1] + 0.25, w_in=tau[2] / dt
    )
    x = np.random.default_rng(0).random((2, 40, 10)) < 0.3
    utils.reset(module)
    with torch.no_grad():
        expected = np.stack([module(torch.tensor(x[:, t], dtype=torch.float32))[0].numpy() for t in range(40)], 1)
    imported = import_nir(
        chain(layers[0], lif, layers[1], cuba), dialect="snntorch", reset="subtract", reset_delay=True
    )
    assert 20 < expected.sum() < expected.size
    np.testing.assert_array_equal(imported.layer("cubalif", simulate(imported, x)), expected)


def test_what_the_file_does_not_carry_must_be_given(chain: Fixture, lif: Fixture) -> None:
    graph = chain(lif(2, r=1.0))
    for options, words in (
        ({}, ("dialect must be given",)),
        ({"dialect": "brian"}, ("dialect must be one of", "'brian'")),
        ({"dialect": "norse"}, ("time constants", "give dt")),
        ({"dialect": "norse", "dt": -1.0}, ("dt must be", "-1.0")),
        ({"dialect": "norse", "dt": 3e-3}, ("dt must be at most tau", "0.003")),
        ({"dialect": "snntorch"}, ("reset_mechanism", "give reset")),
        ({"dialect": "snntorch", "reset": "zero"}, ("reset_delay", "give reset_delay")),
        ({"dialect": "snntorch", "reset": "value", "reset_delay": True}, ("reset of node 'lif'", "not value")),
        ({"dialect": "norse", "dt": 1e-3, "reset_delay": True}, ("reset_delay is snnTorch's",)),
        ({"dialect": "nir-euler", "dt": 1e-3, "refractory": -1}, ("refractory must be", "-1")),
        ({"dialect": "nir-euler", "dt": 1e-3, "record": ("x",)}, ("record must name", "'x'")),
        ({"dialect": "nir-euler", "dt": 1e-3, "colour": 1}, ("option must be one of", "'colour'")),
    ):
        if options.get("dialect") == "snntorch":
            options = options | {"dt": 1e-3}
        with pytest.raises(InputError) as error:
            load_nir(graph, **options)
        assert all(word in str(error.value) for word in words), str(error.value)


def test_parameters_that_a_tool_ignores_are_refused(chain: Fixture, lif: Fixture) -> None:
    for dialect, node, word in (
        ("norse", lif(2, r=2.0), "r of node 'lif'"),
        ("norse", lif(2, r=1.0, v_reset=-0.5), "v_reset of node 'lif'"),
        ("snntorch", lif(2, v_leak=0.1), "v_leak of node 'lif'"),
        ("lava", lif(2, v_reset=0.5), "v_reset of node 'lif'"),
    ):
        options = {"reset": "zero", "reset_delay": True} if dialect == "snntorch" else {}
        with pytest.raises(UnsupportedError, match=word):
            load_nir(chain(node), dialect=dialect, dt=1e-3, **options)
