"""The committed spiking network is what the README says: in snnTorch, in integers, and on the virtual board."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import neuroloom as nl

HERE = Path(__file__).parent
MODEL = HERE / "digits_spiking.nloom"
CORRECT = 357
"""Of the 360 test images: in float32, in integers, and when it stops early."""


@pytest.fixture(scope="module")
def split(require_tool):
    require_tool("sklearn")
    from examples.digits_logic import data

    return data.stratified_fifth()


def rasters(images: np.ndarray) -> np.ndarray:
    return nl.encoders.rate(images / 16, 20)


def test_integers_classify_as_stated(split) -> None:
    outputs = nl.load(MODEL).simulate(rasters(split.test_images))
    assert int((outputs["last.spikes"].sum(1).argmax(1) == split.test_labels).sum()) == CORRECT
    done, at, winner = (outputs[f"decision.{name}"][:, -1] for name in ("done", "at", "winner"))
    assert int((winner == split.test_labels).sum()) == CORRECT
    assert 5.0 < np.where(done == 1, at + 1, 20).mean() < 5.2


def test_the_committed_file_is_the_compiled_network(split, require_tool, tmp_path) -> None:
    require_tool("torch")
    require_tool("snntorch")
    import torch

    from examples.digits_spiking.network import SpikingDigits, encode
    from examples.digits_spiking.train import classes, compiled

    network = SpikingDigits.load(HERE / "digits_spiking.npz")
    assert int((classes(network, split.test_images) == split.test_labels).sum()) == CORRECT
    model = compiled(network)
    assert model.save(tmp_path / MODEL.name).read_bytes() == MODEL.read_bytes()
    spikes, _ = network(torch.from_numpy(encode(split.test_images).astype(np.float32)))
    fine = compiled(network, weight_bits=16).simulate(encode(split.test_images))["last.spikes"]
    differ = int((fine != spikes.detach().numpy()).sum())
    print(f"16-bit weights: {differ} of {int(spikes.sum())} output spikes differ from float32")
    assert differ < 100


def test_the_virtual_board_answers_as_the_simulator(split, require_tool) -> None:
    require_tool("verilator")
    from neuroloom.host.flow import emulate_model, run_model

    model = nl.load(MODEL)
    x = rasters(split.test_images[:4])
    facts: dict = {}
    with emulate_model(model.graph, "icebreaker") as board, nl.connect(board.port) as device:
        answers = run_model(model.graph, device, x, facts=facts)
    expected = model.simulate(x)
    for name, value in expected.items():
        assert np.array_equal(answers[name], value), name
    assert (facts["stalls"] == 0).all() and (facts["cycles"] < 20 * 6687).all()
