"""The builder: what it makes, and how it refuses what it cannot make."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from neuroloom.compiler.errors import InputError
from neuroloom.compiler.spiking import topology
from neuroloom.compiler.spiking.models import ALIF, IF, LI, LIF, CubaLIF, Izhikevich, Leaky, Neuron, Synaptic
from neuroloom.compiler.spiking.network import Network, confidence_table
from neuroloom.compiler.spiking.plasticity import RSTDP, STDP, Learning, WindowSTDP

import neuroloom as nl


@pytest.fixture
def net() -> Network:
    """An input of 3, a real population of 2 and an integer one of 2."""
    made = Network("net")
    made.input("in", 3)
    made.population("real", 2, LIF(tau=20e-3))
    made.population("whole", 2, Neuron(threshold=3))
    return made


def test_matrices_and_lists_say_the_same(net: Network) -> None:
    matrix = np.array([[1, 0], [0, -2], [3, 4]])
    a = net.connect("in", "whole", weights=matrix, delay=2)
    b = net.connect("in", "whole", pre=[0, 1, 2, 2], post=[0, 1, 0, 1], weights=[1, -2, 3, 4], delay=2)
    assert (a.name, b.name) == ("in-whole", "in-whole-2")
    for key in ("pre", "post", "weight", "delay"):
        assert (getattr(a, key) == getattr(b, key)).all()
    assert (net.matrix("in-whole") == matrix).all()
    net.set_weights("in-whole", matrix * 5)
    assert net.projections["in-whole"].weight.tolist() == [5, -10, 15, 20]
    assert net.synapses == 8 and net.neurons == 4 and not net.exact


def test_learning_projections_keep_zero_weights(net: Network) -> None:
    assert net.connect("in", "real", weights=np.zeros((3, 2)), plasticity=STDP()).size == 6
    assert net.connect("in", "real", weights=np.zeros((3, 2))).size == 0


def test_topologies_weights_and_delays_may_be_generated(net: Network) -> None:
    p = net.connect(
        "in",
        "real",
        topology=topology.all_to_all(),
        weights=topology.uniform(0.5, 1.0, seed=1),
        delay=topology.uniform(1, 3, seed=2),
    )
    assert p.size == 6 and (p.weight >= 0.5).all() and set(p.delay) <= {1, 2, 3}


def test_frozen_networks_do_not_learn(net: Network) -> None:
    net.population("theta", 2, Neuron(threshold=10, adapt_decay=65536, adapt_step=1, adapt_persistent=True))
    net.connect("in", "theta", weights=np.ones((3, 2), int), plasticity=Learning())
    still = net.frozen({"in-theta": np.full((3, 2), 7)}, {"theta": [3, 4]})
    assert still.projections["in-theta"].plasticity is None
    assert set(still.projections["in-theta"].weight) == {7}
    model = still.populations["theta"].model
    assert isinstance(model, Neuron) and model.adapt_decay is None
    assert np.asarray(model.threshold).tolist() == [13, 14]
    assert net.projections["in-theta"].plasticity is not None, "the network itself is not changed"
    with pytest.raises(InputError, match="population 'whole' must have a persistent adaptive threshold"):
        net.frozen(adaptation={"whole": [1, 1]})


def test_named_models_are_what_their_names_say() -> None:
    assert LIF(beta=0.5).leak == "multiplicative" and IF().leak == "none" and not LI(beta=0.5).spiking
    assert CubaLIF(alpha=0.5, beta=0.5).alpha == 0.5 and ALIF(beta=0.5, adapt_decay=0.9).adapt_step == 0.1
    leaky, synaptic = Leaky(beta=0.5, reset="zero"), Synaptic(alpha=0.5, beta=0.5, reset="zero")
    assert (leaky.strict, leaky.reset_mode, synaptic.reset_mode) == (True, "delayed", "delayed_new")
    assert Leaky(beta=0.5, reset_delay=False).reset_mode == "undelayed"
    assert Izhikevich("CH").c == -50.0 and Izhikevich("CH", c=-40.0).c == -40.0


def test_a_confidence_of_the_softmax_becomes_a_table() -> None:
    table, limit = confidence_table(0.9, length=4)
    assert table == (4096, 1507, 554, 204) and limit == 4551
    # lead 3 over one other: 1/(1 + e^-3) = 0.953 >= 0.9; lead 2: 0.881 < 0.9
    assert table[0] + table[3] <= limit < table[0] + table[2]


def test_the_public_names_are_there() -> None:
    for name in nl.__all__:
        assert getattr(nl, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = nl.nothing


REFUSED: dict[str, tuple[Callable[[Network], object], str]] = {
    "name twice": (
        lambda n: n.population("whole", 2, LIF(tau=1)),
        "name must be given once, not again 'whole': a population of network 'net' has it",
    ),
    "name of an input": (
        lambda n: n.population("in", 2, LIF(tau=1)),
        "name must be given once, not again 'in': an input of network 'net' has it",
    ),
    "bad name": (lambda n: n.input("a b", 2), "name must be made of letters, digits, _, - and /, not 'a b'"),
    "reserved name": (lambda n: n.input("reward", 2), "name must not be 'reward', which the graph uses itself"),
    "size": (lambda n: n.input("x", 0), "size of 'x' must be an integer in 1..1048576, not 0"),
    "model": (
        lambda n: n.population("x", 1, "LIF"),  # type: ignore[arg-type]
        "model of population 'x' must be a neuron model such as LIF(tau=20e-3), not 'LIF'",
    ),
    "thresholds": (
        lambda n: n.population("x", 2, Neuron(threshold=np.array([1, 2, 3]))),
        "threshold of population 'x' must be one number or 2, not [3]",
    ),
    "unknown population": (
        lambda n: n.connect("in", "exc", weights=1),
        "population must be one of real, whole, not 'exc'",
    ),
    "dangling edge": (
        lambda n: n.connect("out", "real", weights=1),
        "population or input must be one of real, whole, in, not 'out'",
    ),
    "into an input": (lambda n: n.connect("real", "in", weights=1), "population must be one of real, whole, not 'in'"),
    "no weights": (lambda n: n.connect("in", "real"), "projection 'in-real' must have weights"),
    "shape": (
        lambda n: n.connect("in", "real", weights=np.ones((2, 2))),
        "weights of projection 'in-real' must have the shape [3, 2], not [2, 2]",
    ),
    "turned": (
        lambda n: n.connect("in", "real", weights=np.ones((2, 3))),
        "weights of projection 'in-real' must have the shape [3, 2], not [2, 3]; transpose it (rows are sources)",
    ),
    "nan": (
        lambda n: n.connect("in", "real", weights=np.array([[1, 2], [3, np.nan], [5, 6]])),
        "weights of projection 'in-real' must be finite, not nan (at 3)",
    ),
    "index": (
        lambda n: n.connect("in", "real", pre=[0, 3], post=[0, 0], weights=1.0),
        "pre of projection 'in-real' must be in 0..2 (neurons of 'in'), not 3",
    ),
    "half a list": (
        lambda n: n.connect("in", "real", pre=[0], weights=1.0),
        "projection 'in-real' must have both pre and post, or neither",
    ),
    "lengths": (
        lambda n: n.connect("in", "real", pre=[0, 1], post=[0], weights=1.0),
        "projection 'in-real' must have as many post as pre indices, not 1 and 2",
    ),
    "long delay": (
        lambda n: n.connect("in", "real", weights=np.ones((3, 2)), delay=64),
        "delays of projection 'in-real' must be in 0..63 steps, not 64; insert a relay population for more",
    ),
    "negative delay": (
        lambda n: n.connect("in", "real", weights=np.ones((3, 2)), delay=-1),
        "delays of projection 'in-real' must be in 0..63 steps, not -1; insert a relay population for more",
    ),
    "real delay": (
        lambda n: n.connect("in", "real", weights=np.ones((3, 2)), delay=1.5),
        "delays of projection 'in-real' must be integers in steps, not float64",
    ),
    "weight bits": (
        lambda n: n.connect("in", "real", weights=np.ones((3, 2)), weight_bits=17),
        "weight_bits of projection 'in-real' must be from 1 to 16, not 17",
    ),
    "enable": (
        lambda n: n.connect("in", "real", weights=np.ones((3, 2)), plasticity=STDP(enable=np.ones(5))),
        "enable of projection 'in-real' must be 6 times 0 or 1, one per synapse, not 5 values",
    ),
    "rule": (
        lambda n: n.connect("in", "real", weights=np.ones((3, 2)), plasticity="STDP"),  # type: ignore[arg-type]
        "plasticity of projection 'in-real' must be a rule such as STDP(), not 'STDP'",
    ),
    "record": (lambda n: n.record("real", "u"), "record must be one of spikes, v, not 'u'"),
    "margin": (lambda n: n.decide("real", margin=0), "margin must be an integer of at least 1, not 0"),
    "two rules": (
        lambda n: n.decide("real", margin=1, confidence=0.5),
        "decision must have one of margin, confidence and table",
    ),
    "confidence": (lambda n: n.decide("real", confidence=1.5), "confidence must be between 0 and 1, not 1.5"),
    "bounds": (
        lambda n: n.drive("real", bounds=(2, 1)),
        "bounds of a current must be (least, greatest), not (2, 1)",
    ),
    "current source": (
        lambda n: n.connect(n.drive("real", bounds=(0, 1)), "real", weights=1),
        "source of a projection must be spikes, not the current input 'real_current'",
    ),
    "unknown projection": (lambda n: n.matrix("x"), "projection must be one of (none yet), not 'x'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_the_builder_refuses_in_one_sentence(case: str, net: Network) -> None:
    build, message = REFUSED[case]
    with pytest.raises(InputError) as error:
        build(net)
    assert str(error.value) == message


MODELS_REFUSED: dict[str, tuple[Callable[[], object], str]] = {
    "negative refractory": (
        lambda: LIF(tau=1, refractory=-1),
        "refractory must be a number of steps of at least 0, not -1",
    ),
    "real refractory": (
        lambda: LIF(tau=1, refractory=1.5),
        "refractory must be a number of steps of at least 0, not 1.5",
    ),
    "nan": (lambda: LIF(tau=1, threshold=np.nan), "threshold must be finite, not nan"),
    "infinite": (lambda: LIF(tau=1, bias=np.array([1, np.inf])), "bias must be finite, not inf (at 1)"),
    "infinite tau": (lambda: LIF(tau=np.inf), "tau must be finite, not inf"),
    "tau": (lambda: LIF(tau=-1), "tau must be one time above 0 s for the population, not -1"),
    "beta": (lambda: LIF(beta=1.5), "beta must be one number from 0 to 1 for the population, not 1.5"),
    "both": (lambda: LIF(beta=0.5, tau=1), "beta and tau must not both be given: each says the same decay"),
    "neither": (lambda: LIF(), "neuron with a multiplicative leak must have beta or tau"),
    "reset": (lambda: LIF(tau=1, reset="to zero"), "reset must be one of zero, value, subtract, none, not 'to zero'"),
    "integer beta": (lambda: Neuron(beta=70000), "beta of an integer neuron must be in 0..65536, not 70000"),
    "real rate": (
        lambda: nl.Bernoulli(bias=0.1),
        "bias of a Bernoulli neuron must be integers (65536 is a rate of 1 per step), not 0.1",
    ),  # type: ignore[arg-type]
    "real threshold": (lambda: Neuron(threshold=1.5), "threshold of an integer neuron must be integers, not 1.5"),  # type: ignore[arg-type]
    "no synapse": (lambda: CubaLIF(tau=1), "CubaLIF must have tau_syn or alpha"),
    "pattern": (lambda: Izhikevich("XX"), "pattern must be one of RS, IB, CH, FS, LTS, not 'XX'"),
    "rule tau": (lambda: STDP(tau_plus=0), "tau_plus must be a time above 0 s, not 0"),
    "rule nan": (lambda: STDP(a_plus=np.nan), "a_plus must be finite, not nan"),
    "rule bounds": (lambda: WindowSTDP(w_min=2), "w_min must not be above w_max, not 2 and 1.0"),
    "window": (lambda: WindowSTDP(steps_plus=-1), "steps_plus must be a number of steps of at least 0, not -1"),
    "pairing": (lambda: RSTDP(pairing="some"), "pairing must be one of all, nearest, not 'some'"),
    "integer rule": (lambda: Learning(f=32), "f of a learning rule must be in 0..31, not 32"),
    "dt": (lambda: Network("x", dt=0), "dt must be a time above 0 s, not 0"),
    "seed": (lambda: Network("x", seed=0), "seed must be in 1..4294967295, not 0"),
    "weight bits": (lambda: Network("x", weight_bits=0), "weight_bits must be from 1 to 16, not 0"),
    "state bits": (lambda: Network("x", state_bits=64), "state_bits must be from 8 to 32, not 64"),
}


@pytest.mark.parametrize("case", MODELS_REFUSED)
def test_models_and_rules_refuse_in_one_sentence(case: str) -> None:
    build, message = MODELS_REFUSED[case]
    with pytest.raises(InputError) as error:
        build()
    assert str(error.value) == message
