"""Pair STDP and exactly decaying LIF neurons against Brian2, an independent simulator in real numbers (extra ``brian2``).

Brian2's clock-driven exact integration and event-driven traces are the equations themselves; ours are integers. So neurons must
spike in the same steps, and a weight may differ by what rounding can do: half an integer per update and what traces lose.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import pytest
from neuroloom.compiler.ir import Builder, Type
from neuroloom.sim.reference import run

import neuroloom as nl

pytestmark = pytest.mark.filterwarnings("ignore")

STEPS, BIT = 400, Type(1)


@pytest.fixture(scope="module")
def brian() -> Any:
    """Brian2 in plain numpy; without it these tests are left out, also where all tools are required (see pyproject.toml)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            import brian2
        except (ImportError, AttributeError) as e:  # its releases for Python 3.11 know numpy up to 2.3 only
            pytest.skip(f"Brian2 cannot be used ({e}); run: pip install 'neuroloom[brian2]'")
    brian2.prefs.codegen.target = "numpy"
    brian2.defaultclock.dt = 1 * brian2.ms
    return brian2


def generator(b: Any, raster: np.ndarray) -> Any:
    """A group that spikes as ``raster`` [steps, n] says."""
    t, i = np.nonzero(raster)
    return b.SpikeGeneratorGroup(raster.shape[1], i, t * b.ms)


def in_our_order(b: Any, *parts: Any) -> Any:
    """Its resets come before its synapses, so that nothing which arrives in a spiking step is lost (see docs/spiking.md)."""
    network = b.Network(*parts)
    network.schedule = ["start", "groups", "thresholds", "resets", "synapses", "end"]
    return network


@pytest.mark.parametrize(("reset", "tau", "refractory"), [("zero", 20.0, 0), ("subtract", 12.5, 0), ("zero", 8.0, 4)])
def test_exactly_decaying_neurons_spike_in_the_same_steps(brian: Any, reset: str, tau: float, refractory: int) -> None:
    """dv/dt = -v/tau; a spike that arrives in step t acts from the test of step t + 1 on, decayed once."""
    b, fraction, threshold = brian, 1024, 30
    rng = np.random.default_rng(11)
    raster = (rng.random((STEPS, 12)) < 0.12).astype(np.int64)
    weights = rng.uniform(-4, 16, (12, 9))

    source = generator(b, raster)
    model = {"model": "dv/dt = -v / (tau * ms) : 1", "threshold": "v > theta", "method": "exact"}
    cells = b.NeuronGroup(
        9,
        reset="v = 0" if reset == "zero" else "v -= theta",
        refractory=(refractory + 1) * b.ms if refractory else False,
        namespace={"tau": tau, "theta": threshold},
        **model,
    )
    # what arrives while a neuron will still be refractory in the step that would see it is lost; held at 0, it needs no more
    rule = "v += w * int(t + dt - lastspike > wait)" if refractory else "v += w"
    wait = {"wait": (refractory + 0.5) * b.ms}
    synapses = b.Synapses(source, cells, "w : 1", on_pre=rule, namespace=wait)
    synapses.connect()
    synapses.w = weights.ravel()
    monitor = b.SpikeMonitor(cells)
    in_our_order(b, source, cells, synapses, monitor).run(STEPS * b.ms)
    expected = np.zeros((STEPS, 9), np.int64)
    expected[np.rint(monitor.t / b.ms).astype(int), monitor.i] = 1

    beta = math.exp(-1 / tau)
    net = nl.Network("brian", weight_bits=16)
    a = net.population(
        *("a", 9),
        nl.Neuron(
            threshold=threshold * fraction,
            leak="multiplicative",
            beta=round(65536 * beta),
            rounding="half_up",
            reset=reset,
            strict=True,
            refractory=refractory,
        ),
        record=["spikes"],
    )
    net.connect(net.input("x", 12), a, weights=np.rint(weights * beta * fraction).astype(int), delay=1)
    found = nl.compile(net).outputs(raster[None])["a.spikes"][0]
    assert 40 < expected.sum() < 0.5 * expected.size
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("kind", ["exponential", "nearest"])
def test_pair_stdp(brian: Any, kind: str, soft: bool) -> None:
    """All pairs and nearest spikes, additive and with soft bounds; depression first, traces raised behind both halves."""
    b, tau, f = brian, 15.0, (16 if soft else 6)
    pre_step, post_step, w_min, w_max = 2500 if soft else 5000, 2100 if soft else 4200, -20000, 20000
    scale = 1.0 / 2**f
    rng = np.random.default_rng(5)
    pre = (rng.random((STEPS, 6)) < rng.choice([0.02, 0.06, 0.1], 6)).astype(np.int64)
    post = (rng.random((STEPS, 5)) < rng.choice([0.02, 0.06, 0.1], 5)).astype(np.int64)
    start = rng.integers(-15000, 15000, (6, 5))

    add = "=" if kind == "nearest" else "+="
    down, up = ("* (w - w_min)", "* (w_max - w)") if soft else ("", "")
    sources, targets = generator(b, pre), generator(b, post)
    synapses = b.Synapses(
        sources,
        targets,
        "w : 1\ndx/dt = -x / (tau * ms) : 1 (event-driven)\ndy/dt = -y / (tau * ms) : 1 (event-driven)\nupdates : 1",
        on_pre={
            "depress": f"w = clip(w - y * scale {down}, w_min, w_max); updates += 1",
            "raise_x": f"x {add} pre_step",
        },
        on_post={
            "potentiate": f"w = clip(w + x * scale {up}, w_min, w_max); updates += 1",
            "raise_y": f"y {add} post_step",
        },
        namespace={
            **{"tau": tau, "scale": scale, "pre_step": pre_step, "post_step": post_step},
            **{"w_min": w_min, "w_max": w_max},
        },
    )
    synapses.connect()
    synapses.w = start.ravel()
    for order, name in enumerate(("depress", "potentiate", "raise_x", "raise_y")):
        getattr(synapses, name).order = order
    b.Network(sources, targets, synapses).run(STEPS * b.ms)
    expected, updates = np.asarray(synapses.w), np.asarray(synapses.updates)

    g = Builder("stdp", clocked=True)
    decay = round(65536 * math.exp(-1 / tau))
    spikes = g.input("pre", BIT, (6,)), g.input("post", BIT, (5,))
    traces = []
    for spike, size, step, name in ((spikes[0], 6, pre_step, "x"), (spikes[1], 5, post_step, "y")):
        state = g.state(np.zeros(size), Type(16), "sample", name=name)
        g.update(state, g.node("trace", [spike, state], kind=kind, step=step, decay=decay))
        traces.append(state)
    w = g.state(start.ravel(), Type(16, True), "sample", name="w")
    index = {"pre": np.repeat(np.arange(6), 5), "post": np.tile(np.arange(5), 6)}
    (new,) = g.nodes(
        "stdp",
        [w, *spikes, *traces],
        **index,
        **{"w_min": w_min, "w_max": w_max, "f": f, "soft": soft, "rounding": "half_up"},
    )
    g.update(w, new)
    g.output("w", new)
    found = run(g.finish(), {"pre": pre[None], "post": post[None]})["w"][0, -1]

    # a trace loses less than 1 per step, so less than 1 / (1 - d) in all
    lost = 1 / (1 - decay / 65536) * scale * (w_max - w_min if soft else 1)
    bound = updates * (0.5 + lost) + 1e-6
    assert updates.min() > 10 and (np.abs(expected - start.ravel()) > 3 * bound).mean() > 0.5
    assert (np.abs(found - expected) <= bound).all(), (np.abs(found - expected) / bound).max()
