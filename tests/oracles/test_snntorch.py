"""``lif`` and ``alpha_neuron`` against snnTorch itself: every module, reset rule and mode, spikes and membranes equal.

Parameters are sums of few powers of two and the integers stand for multiples of 2**-20, so that neither the doubles of torch
nor the integers of the graph ever round in the ten steps that are compared.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from neuroloom.compiler.ir import Builder, Graph, Type
from neuroloom.sim.reference import run

STEPS, BATCH, NEURONS, ONE = 10, 40, 6, 1 << 20
STATE = Type(32, True)
THRESHOLDS = np.array([20, 7, 37, 0, 55, -4])

Need = Callable[[str], None]
Step = Callable[[Any], tuple[Any, ...]]


def drive(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Random input currents [BATCH, STEPS, NEURONS] and initial membranes, some of them above the threshold."""
    rng = np.random.default_rng(seed)
    return rng.integers(-30, 60, (BATCH, STEPS, NEURONS)), rng.integers(-20, 90, NEURONS)


def lif_graph(v_init: np.ndarray, recurrent: np.ndarray | None = None, **attrs: Any) -> Graph:
    """One population fed by an input ``x``; ``recurrent`` [n, n] are weights from its own last spikes (row: target)."""
    b = Builder("population", clocked=True)
    n = len(v_init)
    current = b.input("x", STATE, (n,), bounds=(-60 * ONE, 60 * ONE))
    history = ""
    if recurrent is not None:
        history = b.state(np.zeros((1, n)), Type(1), "sample", name="history")
        pre, post = np.tile(np.arange(n), n), np.repeat(np.arange(n), n)
        weights = recurrent.reshape(-1) * ONE
        delay = np.zeros(n * n, np.int32)
        feedback = b.node("synapses", [history], pre=pre, post=post, delay=delay, n_post=n, weights=weights)
        current = b.node("add", [current, feedback])
    v = b.state(v_init * ONE, STATE, "sample", name="v")
    states = [v]
    if "alpha" in attrs:
        states.append(b.state(np.zeros(n), STATE, "sample", name="i"))
    attrs = {"leak": "multiplicative", "strict": True, "threshold": THRESHOLDS * ONE} | attrs
    spike, *following, recorded = b.nodes("lif", [current, *states], **attrs)
    for state, value in zip(states, following, strict=True):
        b.update(state, value)
    if history:
        b.update(history, b.node("reshape", [spike], shape=(1, n)))
    b.output("spike", spike)
    b.output("v", recorded)
    return b.finish()


def torch_run(step: Step, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Spikes and membranes (times ONE) of a module called step by step; ``step`` gives (spike, ..., membrane)."""
    import torch

    spikes, membranes = [], []
    with torch.no_grad():
        for t in range(STEPS):
            spike, *_, membrane = step(torch.tensor(x[:, t], dtype=torch.float64))
            spikes.append(spike.numpy().astype(np.int64))
            membranes.append(membrane.numpy() * ONE)
    exact = np.stack(membranes, axis=1)
    assert (exact == np.round(exact)).all(), "the comparison must not round"
    return np.stack(spikes, axis=1), exact.astype(np.int64)


def check(graph: Graph, step: Step, x: np.ndarray) -> None:
    found = run(graph, x * ONE)
    spikes, membranes = torch_run(step, x)
    np.testing.assert_array_equal(found["spike"], spikes)
    np.testing.assert_array_equal(found["v"], membranes)
    assert 0.02 < spikes.mean() < 0.99, "the comparison must see both silence and spikes"


def start(v_init: np.ndarray) -> Any:
    import torch

    return torch.tensor(np.tile(v_init, (BATCH, 1)), dtype=torch.float64)


def zeros() -> Any:
    return start(np.zeros(NEURONS))


def thresholds() -> Any:
    import torch

    return torch.tensor(THRESHOLDS, dtype=torch.float64)


OPTIONS = list(itertools.product(("zero", "subtract", "none"), (True, False), (0.5, 0.75, 1.0, 0.0)))
IDS = [f"{r}-{'delayed' if d else 'undelayed'}-{b}" for r, d, b in OPTIONS]


def attributes(reset: str, delay: bool, beta: float, *, new: bool) -> dict[str, Any]:
    """The graph's attributes of a snnTorch module; ``new``: its zero reset clears the new membrane."""
    mode = ("delayed" if delay else "undelayed") + ("_new" if new else "")
    return {"reset": reset, "reset_mode": mode, "beta": int(beta * 65536)}


@pytest.mark.parametrize(("reset", "delay", "beta"), OPTIONS, ids=IDS)
def test_leaky(require_tool: Need, reset: str, delay: bool, beta: float) -> None:
    require_tool("snntorch")
    import snntorch

    x, v_init = drive(1)
    module = snntorch.Leaky(beta=beta, threshold=thresholds(), reset_mechanism=reset, reset_delay=delay)
    membrane = start(v_init)

    def step(current: Any) -> tuple[Any, ...]:
        nonlocal membrane
        spike, membrane = module(current, membrane)
        return spike, membrane

    check(lif_graph(v_init, **attributes(reset, delay, beta, new=False)), step, x)


@pytest.mark.parametrize("reset", ["zero", "subtract"])
@pytest.mark.parametrize("delay", [True, False], ids=["delayed", "undelayed"])
def test_leaky_inhibition(require_tool: Need, reset: str, delay: bool) -> None:
    require_tool("snntorch")
    import snntorch

    x, v_init = drive(2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # snnTorch calls inhibition unstable
        module = snntorch.Leaky(
            beta=0.5, threshold=thresholds(), reset_mechanism=reset, reset_delay=delay, inhibition=True
        )
    membrane = start(v_init)

    def step(current: Any) -> tuple[Any, ...]:
        nonlocal membrane
        spike, membrane = module(current, membrane)
        return spike, membrane

    check(lif_graph(v_init, wta=True, **attributes(reset, delay, 0.5, new=False)), step, x)


@pytest.mark.parametrize(("reset", "delay", "beta"), OPTIONS, ids=IDS)
def test_synaptic(require_tool: Need, reset: str, delay: bool, beta: float) -> None:
    require_tool("snntorch")
    import snntorch

    x, v_init = drive(3)
    module = snntorch.Synaptic(alpha=0.5, beta=beta, threshold=thresholds(), reset_mechanism=reset, reset_delay=delay)
    current, membrane = zeros(), start(v_init)

    def step(x: Any) -> tuple[Any, ...]:
        nonlocal current, membrane
        spike, current, membrane = module(x, current, membrane)
        return spike, membrane

    check(lif_graph(v_init, alpha=32768, **attributes(reset, delay, beta, new=True)), step, x)


def recurrent_weights() -> np.ndarray:
    return np.random.default_rng(9).integers(-20, 20, (NEURONS, NEURONS))


def set_recurrent(module: Any) -> None:
    import torch

    with torch.no_grad():
        module.double()
        module.recurrent.weight[:] = torch.tensor(recurrent_weights(), dtype=torch.float64)
        module.recurrent.bias[:] = 0


@pytest.mark.parametrize(("reset", "delay", "beta"), OPTIONS, ids=IDS)
def test_rleaky(require_tool: Need, reset: str, delay: bool, beta: float) -> None:
    require_tool("snntorch")
    import snntorch

    x, v_init = drive(4)
    module = snntorch.RLeaky(
        beta=beta, linear_features=NEURONS, threshold=thresholds(), reset_mechanism=reset, reset_delay=delay
    )
    set_recurrent(module)
    spike, membrane = zeros(), start(v_init)

    def step(x: Any) -> tuple[Any, ...]:
        nonlocal spike, membrane
        spike, membrane = module(x, spike.double(), membrane)
        return spike, membrane

    check(lif_graph(v_init, recurrent_weights(), **attributes(reset, delay, beta, new=True)), step, x)


@pytest.mark.parametrize(("reset", "delay", "beta"), OPTIONS, ids=IDS)
def test_rsynaptic(require_tool: Need, reset: str, delay: bool, beta: float) -> None:
    """With ``reset_delay=False`` snnTorch 1.0.0's RSynaptic changes a local variable only: it resets delayed all the same.

    It also reads the *argument* spike there instead of the new one, which for the same reason has no effect.
    """
    require_tool("snntorch")
    import snntorch

    x, v_init = drive(5)
    module = snntorch.RSynaptic(
        alpha=0.5, beta=beta, linear_features=NEURONS, threshold=thresholds(), reset_mechanism=reset, reset_delay=delay
    )
    set_recurrent(module)
    spike, current, membrane = zeros(), zeros(), start(v_init)

    def step(x: Any) -> tuple[Any, ...]:
        nonlocal spike, current, membrane
        spike, current, membrane = module(x, spike.double(), current, membrane)
        return spike, membrane

    graph = lif_graph(v_init, recurrent_weights(), alpha=32768, **attributes(reset, True, beta, new=True))
    check(graph, step, x)


@pytest.mark.parametrize("reset", ["zero", "subtract", "none"])
def test_lapicque(require_tool: Need, reset: str) -> None:
    """v = v (1 - dt/(RC)) + I dt/C: a leak of 3/4 and a quarter of the current."""
    require_tool("snntorch")
    import snntorch

    x, v_init = drive(6)
    x = x // 4 * 4
    module = snntorch.Lapicque(R=1, C=4, time_step=1, threshold=thresholds(), reset_mechanism=reset)
    membrane = start(v_init)

    def step(current: Any) -> tuple[Any, ...]:
        nonlocal membrane
        spike, membrane = module(4 * current, membrane)
        return spike, membrane

    check(lif_graph(v_init, **attributes(reset, True, 0.75, new=True)), step, x)


@pytest.mark.parametrize("reset", ["zero", "subtract", "none"])
def test_alpha(require_tool: Need, reset: str) -> None:
    require_tool("snntorch")
    import snntorch

    x, _ = drive(7)
    theta = np.array([20, 7, 37, 3, 55, 30])  # at a threshold of 0 or below the modules start with a reset
    module = snntorch.Alpha(alpha=0.5, beta=0.25, threshold=start(theta)[0], reset_mechanism=reset)
    excited, inhibited, membrane = zeros(), zeros(), zeros()

    def step(current: Any) -> tuple[Any, ...]:
        nonlocal excited, inhibited, membrane
        spike, excited, inhibited, membrane = module(current, excited, inhibited, membrane)
        return spike, membrane

    b = Builder("alpha", clocked=True)
    current = b.input("x", STATE, (NEURONS,), bounds=(-60 * ONE, 60 * ONE))
    states = [b.state(np.zeros(NEURONS), STATE, "sample", name=name) for name in ("v", "e", "h")]
    attrs = {"alpha": 32768, "beta": 16384, "gain": 512, "gain_bits": 8, "reset": reset, "threshold": theta * ONE}
    spike, *following, recorded = b.nodes("alpha_neuron", [current, *states], **attrs)
    for state, value in zip(states, following, strict=True):
        b.update(state, value)
    b.output("spike", spike)
    b.output("v", recorded)
    check(b.finish(), step, x)
