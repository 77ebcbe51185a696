"""A recurrent network that learns, from its file to the weights read back from a (virtual) board, by the commands alone."""

from __future__ import annotations

import json

import numpy as np
import pytest
from neuroloom.compiler.spiking.core import CORES
from neuroloom.host.cli.app import main
from neuroloom.host.flow import emulate_model
from neuroloom.rtl.spiking.engine import model_hash

import neuroloom as nl

BOARD = "tang_nano_9k"


@pytest.fixture
def cli(capsys, tmp_path, monkeypatch):
    """Return ``cli(*words)``: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*words):
        capsys.readouterr()
        try:
            code = main([str(w) for w in words])
        except SystemExit as e:
            code = int(e.code or 0)
        return code, *capsys.readouterr()

    return run


NETWORK = """\
network: small
dt: 1e-3
seed: 1
inputs:
  in: {size: 24}
populations:
  exc: {size: 20, model: LIF, tau: 20e-3, threshold: 1.0, refractory: 2, record: [spikes, v]}
projections:
  - name: in-exc
    from: in
    to: exc
    topology: all_to_all
    weights: {uniform: {low: 0.1, high: 0.5, seed: 2}}
    plasticity: {STDP: {a_plus: 0.03, a_minus: 0.03}}
  - {name: exc-exc, from: exc, to: exc, topology: all_to_all, weights: 0.02, delay: 1}
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The network as .nloom, two samples of 40 steps."""
    folder = tmp_path_factory.mktemp("small")
    (folder / "small.yaml").write_text(NETWORK, encoding="utf-8")
    model = nl.compile(folder / "small.yaml", board=BOARD)
    model.save(folder / "small.nloom")
    np.save(folder / "x.npy", (np.random.default_rng(4).random((2, 40, 24)) < 0.2).astype(np.uint8))
    return folder


@pytest.fixture(scope="module")
def board(files, require_tool):
    """The board's core in RTL behind the link, on a pseudo-terminal."""
    require_tool("verilator")
    with emulate_model(nl.load(files / "small.nloom").graph) as virtual:
        yield virtual


def test_from_file_to_weights(cli, files, board, tmp_path, spiking):
    m, x, port = files / "small.nloom", files / "x.npy", board.port
    model, inputs = nl.load(m), {"in": np.load(x).astype(np.int64)}
    code, out, _ = cli("simulate", m, "-i", x, "-o", "sim.npz")
    assert code == 0

    code, out, err = cli("run", m, "--port", port, "-i", x, "-o", "board.npz", "--check")
    assert (code, "no differences" in out) == (0, True), out
    assert "cycles per step" in err
    simulated, board_says = np.load("sim.npz"), np.load("board.npz")
    assert set(simulated) == set(board_says) == {"exc.spikes", "exc.v"}
    assert all(np.array_equal(simulated[k], board_says[k]) for k in simulated) and simulated["exc.spikes"].sum() > 50

    truth = spiking.Learnt(model)
    truth.run(inputs)
    assert cli("readback", m, "--port", port, "-o", "w.npz")[0] == 0
    assert np.array_equal(np.load("w.npz")["in-exc"], truth.weights("in-exc"))

    # learn goes on from there, twice; load begins anew
    for _ in range(2):
        code, out, _ = cli("learn", m, "--port", port, "-i", x, "-o", "y.npz")
        assert code == 0 and "weights changed" in out
        want = truth.run(inputs)
        assert all(np.array_equal(want[k], v) for k, v in np.load("y.npz").items())
    code, out, _ = cli("readback", m, "--port", port, "-o", "w.npz", "--json")
    assert np.array_equal(np.load("w.npz")["in-exc"], truth.weights("in-exc"))
    code, out, _ = cli("load", m, "--port", port, "--json")
    assert code == 0 and json.loads(out)["profile"] == "stdp"
    assert cli("readback", m, "--port", port, "--all", "-o", "w.npz")[0] == 0
    first = nl.compile(files / "small.yaml", board=BOARD)
    assert np.array_equal(np.load("w.npz")["in-exc"], spiking.Learnt(first).weights("in-exc"))


def test_a_classifier_is_scored_on_the_board(cli, files, board, tmp_path):
    """`run --labels` reads the answer as `eval` does: by spike counts here."""
    net = nl.Network("classes")
    cells = net.input("in", 24)
    o = net.population("o", 3, nl.Neuron(threshold=60, adapt_decay=65000, adapt_step=3), record=["spikes"])
    net.connect(cells, o, weights=np.random.default_rng(7).integers(-20, 60, (24, 3)))
    model = nl.compile(net)
    m, x = model.save(tmp_path / "classes.nloom"), files / "x.npy"
    spikes = model.simulate(np.load(x))
    answers = spikes.sum(axis=1).argmax(axis=1)
    assert spikes.any()
    np.save("y.npy", np.array([answers[0], (answers[1] + 1) % 3]))
    code, out, err = cli("run", m, "--port", board.port, "-i", x, "--labels", "y.npy", "--check")
    assert code == 0, err
    assert (
        "accuracy 50.00 % (1/2)" in out and "the neuron of o.spikes that spikes most" in out and "no differences" in out
    )
    code, out, _ = cli("readback", m, "--port", board.port, "--states", "-o", "states.npz")
    assert code == 0 and "o.threshold" in out
    found = np.load("states.npz")
    assert np.array_equal(found["o.threshold"], 60 + found["o.a"]) and found["o.a"].any()
    code, _, err = cli("run", m, "--port", board.port, "-i", x, "--labels", x)
    assert code == 2 and "labels must be 2 class numbers" in err
    code, _, err = cli("run", m, "--port", board.port, "-i", x, "--output-name", "o.spikes")
    assert code == 2 and "--output-name must come with --labels" in err


def test_a_core_takes_other_networks_and_refuses_what_it_cannot_hold(cli, files, board, tmp_path):
    m, x, port = files / "small.nloom", files / "x.npy", board.port
    rng = np.random.default_rng(0)

    def saved(name, size, **options):
        net = nl.Network(name)
        cells = net.input("in", 24)
        net.connect(
            cells, net.population("a", size, nl.Neuron(threshold=40)), weights=np.full((24, size), 9), **options
        )
        net.record("a", "spikes")
        return nl.compile(net).save(tmp_path / f"{name}.nloom")

    code, _, err = cli("run", saved("other", 16), "--port", port, "-i", x, "--check")
    assert code == 0, err
    code, _, err = cli("learn", m, "--port", port, "-i", x)
    assert code == 4 and "must be loaded with 'small' first; run `neuroloom load`" in err
    code, _, err = cli("learn", tmp_path / "other.nloom", "--port", port, "-i", x)
    assert code == 2 and "must have a projection that learns" in err
    code, _, err = cli("load", saved("large", 500), "--port", port)
    assert code == 1 and "at most 256 neurons" in err and "it fits icebreaker" in err
    code, _, err = cli("load", saved("late", 16, delay=9), "--port", port)
    assert code == 1 and "delays of at most 1 steps in profile 'stdp', not 9" in err
    np.save(tmp_path / "r.npy", rng.integers(0, 2, (2, 40)))
    code, _, err = cli("learn", m, "--port", port, "-i", x, "--reward", tmp_path / "r.npy")
    assert code == 2 and "--reward must go with a network that learns by reward" in err
    for text in (err,):
        assert text.count("error:") == 1 and len(text.strip().splitlines()) == 1


def test_doctor_and_ping_know_the_core(cli, board):
    code, out, _ = cli("doctor", "--port", board.port, "--board", BOARD)
    assert code == 0 and "spiking engine" in out and "profile stdp, 256 neurons, 128 inputs" in out
    code, out, _ = cli("ping", "--port", board.port, "--json")
    named = {model_hash(config).hex() for config in CORES[BOARD]}
    assert json.loads(out)["model_hash"] in named


def test_cores_are_named_when_none_is_meant(cli, files):
    code, _, err = cli("build", "--core", "infer", "--board", "arty_a7")
    assert code == 2 and "board must be one with a spiking core" in err
    code, _, err = cli("build", "--core", "all", "--board", BOARD)
    assert code == 2 and "must be one of infer, stdp, not 'all'" in err
    code, _, err = cli("build", "--core", "infer")
    assert code == 2 and "--core must come with --board" in err
    code, _, err = cli("build", "--board", BOARD)
    assert code == 2 and "either a model or --core PROFILE" in err
    code, _, err = cli("emulate", files / "small.nloom", "--core", "infer")
    assert code == 2 and "one only" in err
    code, _, err = cli("build", files / "small.nloom", "--register-interval", 2)
    assert code == 2 and "--register-interval must be left out" in err
    code, out, _ = cli("boards")
    assert code == 0 and "spiking cores" in out and "126,976" in out
