"""Learning without labels, labelling what has been learnt, and classifying with it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from neuroloom.sim.spiking import Engine, Session

import neuroloom as nl
from examples.stdp_digits.network import NEURONS, POPULATION, SYNAPSES, encode, network

EPOCHS = 6
CLASSES = 10
NOBODY = -1
"""Class of a neuron that never spiked for a training image, and the answer when no neuron with a class spikes."""


@dataclass(frozen=True)
class Learnt:
    """What the core remembers: weights int64 [128, neurons] and what adaptation added to the thresholds, int64 [neurons]."""

    weights: np.ndarray
    adaptation: np.ndarray

    def frozen(self) -> nl.Network:
        """The network with these weights and thresholds, which nothing changes any more."""
        net = network(0, neurons=len(self.adaptation))
        return net.frozen({SYNAPSES: self.weights}, {POPULATION: self.adaptation})


def presented(images: np.ndarray, seed: int, epochs: int) -> list[np.ndarray]:
    """The images in the order in which they are shown, one array per epoch."""
    rng = np.random.default_rng([seed, 1])
    return [images[rng.permutation(len(images))] for _ in range(epochs)]


def learn(
    images: np.ndarray, seed: int, *, epochs: int = EPOCHS, neurons: int = NEURONS, learning: bool = True
) -> Learnt:
    """Show uint8 images [N, 64]; there are no labels here. Without ``learning`` the random weights stay as they are, and
    only the thresholds adapt."""
    net = network(seed, neurons=neurons, learning=learning)
    session = Session(nl.compile(net).graph)
    for shown in presented(images, seed, epochs):
        session.samples(encode(shown))
    weights = net.matrix(SYNAPSES, session.state(f"{SYNAPSES}.weights") if learning else None)
    return Learnt(weights, session.state(f"{POPULATION}.a"))


def spike_counts(learnt: Learnt, images: np.ndarray) -> np.ndarray:
    """Spikes of each neuron for each image, int64 [N, neurons], in the frozen network."""
    spikes = Engine(nl.compile(learnt.frozen()).graph).run(encode(images))[f"{POPULATION}.spikes"]
    return spikes.sum(1)


def assign(counts: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Class of each neuron, int64 [neurons]: the one with the highest mean rate among the training images."""
    members = labels == np.arange(CLASSES)[:, None]
    rates = members @ counts / np.maximum(members.sum(1, keepdims=True), 1)
    return np.where(rates.any(0), rates.argmax(0), NOBODY)


def classify(counts: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Answer for each image, int64 [N]: the class whose neurons have the highest mean rate, of equals the lowest."""
    members = classes == np.arange(CLASSES)[:, None]
    rates = counts @ members.T / np.maximum(members.sum(1), 1)
    return np.where(rates.any(1), rates.argmax(1), NOBODY)


def accuracy(learnt: Learnt, train: tuple[np.ndarray, np.ndarray], test: tuple[np.ndarray, np.ndarray]) -> float:
    """Share of right answers on ``test`` (images, labels) after labelling the neurons with ``train``."""
    classes = assign(spike_counts(learnt, train[0]), train[1])
    return float((classify(spike_counts(learnt, test[0]), classes) == test[1]).mean())
