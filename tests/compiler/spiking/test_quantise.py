"""Real networks in integers: exact where they can be, with the errors told where not, and close to the real network's spikes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from neuroloom.compiler.errors import InputError, UnsupportedError
from neuroloom.compiler.spiking.lower import lower_network
from neuroloom.compiler.spiking.models import (
    ALIF,
    IF,
    LI,
    LIF,
    CubaLIF,
    Izhikevich,
    Leaky,
    Model,
    Neuron,
    RealAlpha,
    RealNeuron,
)
from neuroloom.compiler.spiking.network import Network
from neuroloom.compiler.spiking.plasticity import RSTDP, STDP, Learning, Plasticity, WindowSTDP
from neuroloom.compiler.spiking.quantise import quantise
from neuroloom.compiler.spiking.real import measure_peaks, simulate
from neuroloom.sim import reference


def network(model: Model, weights: np.ndarray, rule: Plasticity | None = None, **options: object) -> Network:
    net = Network("net", **options)
    net.input("in", weights.shape[0])
    net.population("cells", weights.shape[1], model, record=("spikes", "v"))
    net.connect("in", "cells", weights=weights, delay=1, plasticity=rule)
    return net


def test_integers_are_taken_exactly() -> None:
    net = network(Neuron(threshold=7), np.array([[3, -4], [5, 6]]), Learning(pre_step=3))
    same, report = quantise(net)
    assert same == net and report.exact and not report.populations


def test_powers_of_two_are_exact() -> None:
    net = network(IF(threshold=1.25), np.array([[0.5, -0.25], [0.125, 0.75]]))
    q, report = quantise(net)
    assert report.exact and q.populations["cells"].scale == 128.0
    assert q.projections["in-cells"].weight.tolist() == [64, -32, 16, 96]
    assert q.populations["cells"].model == Neuron(threshold=160, rounding="half_up")


def test_the_largest_weight_fills_the_weight_bits_and_errors_are_told() -> None:
    weights = np.array([[0.3, -0.7], [0.11, 0.2]])
    for bits in (4, 8, 16):
        q, report = quantise(network(LIF(tau=20e-3), weights), weight_bits=bits)
        p, part = q.projections["in-cells"], report.projections["in-cells"]
        assert np.abs(p.weight).max() == 2 ** (bits - 1) - 1
        error = p.weight / part.scale - weights.ravel()
        assert part.worst == np.abs(error).max() and part.worst <= 0.5 / part.scale + 1e-12
        assert math.isclose(part.rms, float(np.sqrt((error**2).mean())))
        beta = q.populations["cells"].model.beta  # type: ignore[union-attr]
        assert beta == round(65536 * math.exp(-1 / 20))
        assert report.populations["cells"].errors["beta"] == abs(beta / 65536 - math.exp(-1 / 20))
    assert "in-cells" in str(report) and "worst" in str(report)


def test_every_option_is_carried() -> None:
    given = {
        "strict": True,
        "reset": "value",
        "refractory": 3,
        "integrates": True,
        "adapt_persistent": True,
        "wta": True,
        "rounding": "floor",
        "old_current": True,
        "record_v": "tested",
        "leak": "subtractive",
    }
    model = RealNeuron(
        decay=0.5, alpha=0.5, adapt_decay=0.25, adapt_step=0.5, v_reset=0.25, v_init=0.5, drive=0.75, **given
    )  # type: ignore[arg-type]
    q, report = quantise(network(model, np.array([[0.5]])))
    scale, exact = q.populations["cells"].scale, q.populations["cells"].model
    assert isinstance(exact, Neuron) and {k: getattr(exact, k) for k in given} == given
    numbers = ("decay", "adapt_step", "v_reset", "v_init", "drive", "threshold")
    assert scale == 128 and [getattr(exact, k) / scale for k in numbers] == [0.5, 0.5, 0.25, 0.5, 0.75, 1.0]
    assert (exact.alpha, exact.adapt_decay, exact.beta) == (32768, 16384, 65536) and report.exact
    held = quantise(network(IF(refractory=2, refractory_v=0.25), np.array([[0.5]])))[0].populations["cells"].model
    assert held.refractory_v == 32  # type: ignore[union-attr]


def test_one_scale_serves_everything_that_meets_in_a_membrane() -> None:
    net = network(LIF(tau=20e-3, threshold=2.0), np.array([[0.5], [0.3]]))
    net.connect("cells", "cells", weights=np.array([[-4.0]]))
    net.drive("cells", bounds=(-1.0, 1.0))
    q, _ = quantise(net)
    scale = q.populations["cells"].scale
    assert scale == 127 / 4
    assert q.projections["cells-cells"].weight.tolist() == [-127]
    assert q.projections["in-cells"].weight.tolist() == [16, 10]
    drive = q.inputs["cells_current"]
    assert drive.scale == scale and drive.bounds == (-32, 32)
    graph = lower_network(q)
    assert graph.input("cells_current").affine.quantize(np.array([[0.5]]), (-32, 32)).tolist() == [[16]]


def test_given_scales_and_shifts_are_used() -> None:
    net = network(LIF(tau=20e-3), np.array([[0.5], [0.3]]))
    q, _ = quantise(net, scales={"cells": 100}, shifts={"cells": 4})
    cells = q.populations["cells"]
    assert (cells.scale, cells.shift) == (1600.0, 4)
    assert cells.model.threshold == 1600 and q.projections["in-cells"].weight.tolist() == [50, 30]  # type: ignore[union-attr]


def test_narrow_states_make_the_scale_smaller() -> None:
    net = network(IF(threshold=1000.0), np.array([[0.5], [0.3]]), state_bits=16)
    q, _ = quantise(net)
    assert q.populations["cells"].model.threshold <= 32767  # type: ignore[union-attr]
    lower_network(q)


def test_peaks_measured_on_data_leave_room() -> None:
    net = network(LI(beta=0.99), np.full((4, 1), 0.5), state_bits=12)
    x = np.ones((1, 400, 4))
    peak = measure_peaks(net, x)["cells"]
    assert 150 < peak <= 200
    without, _ = quantise(net)
    held, _ = quantise(net, peaks={"cells": peak})
    assert held.populations["cells"].scale * peak < 2**11 < without.populations["cells"].scale * peak  # type: ignore[operator]


def test_izhikevich_gets_a_shift_so_that_weights_fit() -> None:
    q, _ = quantise(network(Izhikevich("RS"), np.array([[20.0], [3.0]])))
    cells = q.populations["cells"]
    assert (cells.scale, cells.shift) == (256.0, 6)
    assert q.projections["in-cells"].weight.tolist() == [80, 12]
    out = reference.run(lower_network(q), np.ones((1, 200, 2), np.int64))
    assert 5 < out["cells.spikes"].sum() < 60


def test_alpha_neurons_get_their_gain() -> None:
    q, report = quantise(network(RealAlpha(alpha=0.9, beta=0.8), np.array([[1.0]])))
    model = q.populations["cells"].model
    gain = model.gain / 2**model.gain_bits  # type: ignore[union-attr]
    assert (
        abs(gain - (math.log(0.9) / (math.log(0.8) - math.log(0.9)) + 1)) == report.populations["cells"].errors["gain"]
    )
    with pytest.raises(InputError, match="1 > alpha > beta > 0"):
        RealAlpha(alpha=0.5, beta=0.8)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    "model",
    [
        LIF(tau=20e-3, refractory=2),
        IF(reset="subtract", strict=True),
        CubaLIF(tau=20e-3, tau_syn=5e-3, threshold=3.0),
        ALIF(tau=20e-3, tau_adapt=50e-3, adapt_step=0.3),
        LIF(beta=0.9, leak="subtractive", decay=0.05, bias=0.02, reset="value", v_reset=0.25),
    ],
    ids=lambda m: f"{m.leak}-{m.reset}-{m.refractory}",
)
def test_with_enough_bits_the_integer_network_spikes_as_the_real_one(model: Model, seed: int) -> None:
    rng = np.random.default_rng(seed)
    net = network(model, rng.normal(0.1, 0.3, (20, 10)), weight_bits=16, state_bits=32)
    net.connect("cells", "cells", weights=rng.normal(0, 0.2, (10, 10)), delay=rng.integers(1, 9, (10, 10)))
    x = (rng.random((2, 100, 20)) < 0.1).astype(np.int64)
    q, _ = quantise(net, shifts={"cells": 8})
    out, real = reference.run(lower_network(q), x), simulate(net, x)
    assert 20 < real["cells.spikes"].sum() < 1500
    agree = (out["cells.spikes"] == real["cells.spikes"]).mean()
    assert (
        agree == 1.0 if model.leak != "none" else agree > 0.995
    )  # without a leak, errors add up to a tie now and then
    if agree == 1.0:
        assert np.abs(out["cells.v"] / q.populations["cells"].scale - real["cells.v"]).max() < 0.01


def test_exact_networks_equal_the_real_ones_without_a_difference() -> None:
    rng = np.random.default_rng(5)
    net = network(IF(threshold=2.0, reset="subtract"), rng.integers(-8, 17, (10, 5)) / 8)
    x = rng.integers(0, 2, (3, 50, 10))
    q, report = quantise(net)
    out, real = reference.run(lower_network(q), x), simulate(net, x)
    assert report.exact and (out["cells.spikes"] == real["cells.spikes"]).all()
    assert (out["cells.v"] / q.populations["cells"].scale == real["cells.v"]).all()


def change(rule: Plasticity, gap: int, weight: float = 0.5, bits: int = 16) -> float:
    """Weight change in real units when the source spikes ``gap`` steps before the target does (behind it, when negative)."""
    net = Network("pair", weight_bits=bits)
    net.input("in", 1)
    net.input("teacher", 1)
    net.population("cell", 1, IF(threshold=100.0), record=("spikes",))
    net.connect("in", "cell", weights=[[weight]], delay=1, plasticity=rule)
    net.connect("teacher", "cell", weights=[[150.0]], delay=0, weight_bits=16)
    q, _ = quantise(net, scales={"cell": 200.0})
    steps = 80
    x = {"in": np.zeros((1, steps, 1), int), "teacher": np.zeros((1, steps, 1), int)}
    x["in"][0, 40], x["teacher"][0, 40 + gap] = 1, 1
    out = reference.run(lower_network(q), x, probes=["in-cell.weights"])
    assert out["cell.spikes"].sum() == 1
    return float(out["in-cell.weights"][0, -1, 0] - out["in-cell.weights"][0, 0, 0]) / 200.0


@pytest.mark.parametrize("gap", [-25, -7, -1, 0, 1, 7, 25])
def test_pairs_change_weights_as_the_published_curve(gap: int) -> None:
    rule = STDP(a_plus=5.0, a_minus=4.0, tau_plus=10e-3, tau_minus=20e-3, w_min=-100, w_max=100, rounding="half_up")
    expected = 0.0 if gap == 0 else 5 * math.exp(-gap / 10) if gap > 0 else -4 * math.exp(gap / 20)
    assert abs(change(rule, gap) - expected) < 0.02  # 4 weight integers: the trace is floored in every step


def test_soft_bounds_scale_with_the_distance() -> None:
    rule = STDP(a_plus=0.5, a_minus=0.25, w_min=0, w_max=100, soft=True, rounding="half_up", pairing="nearest")
    for weight in (10.0, 90.0):
        assert abs(change(rule, 1, weight) - 0.5 * (100 - weight) * math.exp(-1 / 20)) < 0.02
        assert abs(change(rule, -1, weight) + 0.25 * weight * math.exp(-1 / 20)) < 0.02


def test_windows_are_as_long_as_they_say() -> None:
    rule = WindowSTDP(a_plus=2.0, a_minus=1.0, steps_plus=3, steps_minus=5, w_min=-100, w_max=100)
    gaps = {gap: change(rule, gap) for gap in range(-7, 8)}
    assert gaps == {g: 2.0 if 1 <= g <= 3 else -1.0 if -5 <= g <= -1 else 0.0 for g in gaps}


def test_reward_pays_rate_times_eligibility() -> None:
    rule = RSTDP(a_plus=1.0, a_minus=1.0, rate=0.5, w_min=-10, w_max=10, tau_eligibility=0.1, rounding="half_up")
    q, _ = quantise(network(IF(threshold=1.0), np.array([[2.0]]), rule, weight_bits=16))
    graph, steps = lower_network(q), 12
    x, reward = np.zeros((1, steps, 1), int), np.zeros((1, steps), int)
    x[0, 0], reward[0, 6] = 1, 64  # the source's spike makes the target spike in step 1; reward 1.0 five steps later
    out = reference.run(graph, {"in": x, "reward": reward}, probes=["in-cells.weights"])
    gain = (out["in-cells.weights"][0, -1, 0] - out["in-cells.weights"][0, 0, 0]) / q.populations["cells"].scale
    assert abs(gain - 0.5 * math.exp(-1 / 20) * math.exp(-5 / 100)) < 0.08  # 8 bits, cut toward 0 in every step


def test_stochastic_amounts_below_one_integer_act_on_average() -> None:
    n = 400
    net = network(IF(threshold=0.5), np.full((n, 1), 0.5), STDP(a_plus=0.001, a_minus=0.0, tau_plus=20e-3))
    q, _ = quantise(net)
    x = np.zeros((1, 60, n), int)
    x[0, ::20] = 1
    out = reference.run(lower_network(q), x, probes=["in-cells.weights"])
    scale = q.projections["in-cells"].weight[0] / 0.5
    mean = (out["in-cells.weights"][0, -1] - out["in-cells.weights"][0, 0]).mean() / scale
    expected = 0.001 * math.exp(-1 / 20) * (1 + (1 + math.exp(-1)) + (1 + math.exp(-1) + math.exp(-2)))
    assert abs(mean - expected) < 0.3 * expected


REFUSED = {
    "given scale too large": (
        lambda: quantise(network(IF(), np.array([[1.0]])), scales={"cells": 200}),
        "weights of projection 'in-cells' must be in -0.64..0.635 at the scale 200 and 8 bits, not 1; "
        "use more weight bits or a smaller scale",
    ),
    "unknown population": (
        lambda: quantise(network(IF(), np.array([[1.0]])), scales={"exc": 1}),
        "scales must name populations of network 'net', not 'exc'",
    ),
    "scale": (
        lambda: quantise(network(IF(), np.array([[1.0]])), scales={"cells": -1}),
        "scale of population 'cells' must be above 0, not -1.0",
    ),
    "shift": (
        lambda: quantise(network(IF(), np.array([[1.0]])), shifts={"cells": 9}),
        "shift of population 'cells' must be in 0..8, not 9",
    ),
    "mixed": (
        lambda: quantise(network(Neuron(), np.array([[0.5]]))),
        "weights and rule of projection 'in-cells' must be integers, because population 'cells' is given in integers",
    ),
    "izhikevich's step": (
        lambda: quantise(network(Izhikevich(), np.array([[0.5]]), dt=1e-4)),
        "dt must be 1e-3 s for the Izhikevich population 'cells', not 0.0001",
    ),
    "amount too small": (
        lambda: quantise(network(IF(), np.array([[0.5]]), STDP(a_plus=1e-9))),
        "a_plus of projection 'in-cells' must be at least",
    ),
    "eligibility": (
        lambda: quantise(network(IF(), np.array([[0.5]]), RSTDP(tau_eligibility=2.0))),
        "tau_eligibility of projection 'in-cells' must be at most 511 steps, not 2000; use a larger dt",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_quantised_is_refused(case: str) -> None:
    run, message = REFUSED[case]
    with pytest.raises(InputError) as error:
        run()
    assert str(error.value).startswith(message)


def test_what_cannot_be_measured_says_what_to_give() -> None:
    net = network(Leaky(beta=0.9), np.array([[0.5]]))
    with pytest.raises(UnsupportedError, match="immediate reset and without wta to be measured; give scales instead"):
        measure_peaks(net, np.ones((1, 3, 1)))
    with pytest.raises(
        InputError, match=r"input 'in' must be finite and of shape \[samples, steps, 1\], not \[1, 3, 2\]"
    ):
        measure_peaks(network(IF(), np.array([[0.5]])), np.ones((1, 3, 2)))
