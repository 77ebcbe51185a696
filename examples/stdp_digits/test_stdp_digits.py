"""Unsupervised learning beats random weights by far, the trained file gives its figure, and the board's core learns the
same weights and thresholds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from neuroloom.compiler.spiking.core import CORES
from neuroloom.compiler.spiking.image import state_from_pool
from neuroloom.compiler.spiking.layout import pool_bytes
from neuroloom.host.spiking.session import SpikingDevice
from neuroloom.host.spiking.simulated import ModelEngine, simulated_device
from neuroloom.sim.spiking import Session

import neuroloom as nl
from examples.digits_logic import data
from examples.stdp_digits.learning import Learnt, accuracy, assign, classify, learn, presented
from examples.stdp_digits.network import CHANNELS, NEURONS, POPULATION, STEPS, SYNAPSES, encode, network

FILE = Path(__file__).with_name("stdp_digits.npz")
RIGHT = 331
"""Of the 360 test images, as train.py says for seed 0 (91.94 %)."""
Part = tuple[np.ndarray, np.ndarray]


@pytest.fixture(scope="module")
def split() -> data.Split:
    return data.stratified_fifth()


@pytest.fixture(scope="module")
def parts(split: data.Split) -> tuple[Part, Part]:
    return (split.train_images, split.train_labels), (split.test_images, split.test_labels)


def test_the_network_keeps_the_rules() -> None:
    net = network(0)
    assert net.neurons <= 200
    assert net.exact
    weights = net.projections[SYNAPSES].weight
    assert weights.min() >= 0 and weights.max() <= 127


def test_every_channel_spikes_once_per_image(split: data.Split) -> None:
    spikes = encode(split.test_images)
    assert spikes.shape == (len(split.test_images), STEPS, CHANNELS)
    assert (spikes.sum(1) == 1).all()
    on, off = spikes.argmax(1)[:, :64], spikes.argmax(1)[:, 64:]
    np.testing.assert_array_equal(on, 16 - split.test_images)
    np.testing.assert_array_equal(off, split.test_images)


def test_two_epochs_of_learning_beat_random_weights(parts: tuple[Part, Part]) -> None:
    train, test = parts
    learnt = accuracy(learn(train[0], 0, epochs=2), train, test)
    chance = accuracy(learn(train[0], 0, epochs=2, learning=False), train, test)
    assert learnt >= 0.8
    assert learnt >= chance + 0.1


def test_the_trained_file_reaches_its_figure(parts: tuple[Part, Part]) -> None:
    with np.load(FILE) as arrays:
        learnt = Learnt(arrays["weights"].astype(np.int64), arrays["adaptation"].astype(np.int64))
    assert learnt.weights.shape == (CHANNELS, NEURONS)
    assert round(accuracy(learnt, *parts) * len(parts[1][0])) == RIGHT


def test_labels_are_given_and_read_by_mean_rates() -> None:
    counts = np.array([[2, 0, 0, 1], [1, 1, 0, 0], [0, 3, 0, 0], [0, 1, 0, 2]])
    classes = assign(counts, np.array([4, 4, 7, 7]))
    assert classes.tolist() == [4, 7, -1, 7]  # the third neuron never spikes
    # 4: 2 by one neuron; 7: (1 + 2) / 2 by two
    assert classify(np.array([[2, 1, 9, 2], [1, 2, 0, 2], [0, 0, 5, 0]]), classes).tolist() == [4, 7, -1]


def test_the_core_learns_the_same_weights_and_thresholds(split: data.Split) -> None:
    graph = nl.compile(network(0)).graph
    images = encode(presented(split.train_images, 0, 1)[0][:5])
    session = Session(graph)
    wanted = session.samples(images)
    config = next(core for core in CORES["ulx3s_85f"] if core.learning != "none")
    engine = ModelEngine(config)
    device = SpikingDevice(simulated_device(config, engine))
    device.load(graph)
    found = device.run(images)
    np.testing.assert_array_equal(found[f"{POPULATION}.spikes"], wanted[f"{POPULATION}.spikes"])
    np.testing.assert_array_equal(device.weights(SYNAPSES), session.state(f"{SYNAPSES}.weights"))
    assert device.program is not None
    adaptation = state_from_pool(device.program, f"{POPULATION}.a", pool_bytes(engine.core.pool))
    np.testing.assert_array_equal(adaptation, session.state(f"{POPULATION}.a"))
    assert (device.weights(SYNAPSES) != network(0).projections[SYNAPSES].weight).sum() > 500
