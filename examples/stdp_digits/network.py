"""The network of the example: 128 input channels, 190 neurons that compete, one that inhibits them, pair STDP.

An image is 17 steps long. Every pixel has two channels, ON and OFF, each with one spike: ON in step 16 − value, OFF in
step value, so what is bright (dark) comes early in ON (OFF). At most one neuron spikes in a step, the one furthest above
its threshold; it stays silent for the rest of the image and holds all others back through the inhibitory neuron. The
synapses whose spikes came before the neuron's are potentiated, those whose spikes come behind it are depressed. With soft
bounds a weight settles where w / 127 is the share of potentiation in all changes, so a neuron's ON weights come to look
like the images that it answers to, and its OFF weights like their negative. As every pixel is early in exactly one of
its two channels, neurons for thin and for thick digits get similar sums and compete on equal terms; what inequality
remains, adaptive thresholds (homeostasis) take away.
"""

from __future__ import annotations

import numpy as np
from neuroloom.compiler.spiking import encoders

import neuroloom as nl

PIXELS = 64
CHANNELS = 2 * PIXELS
NEURONS = 190
STEPS = 17
THRESHOLD = 4140
SHIFT = 6
"""Membranes are in 1/64 of a weight integer, so that thresholds can move by fractions of one."""
INHIBITION = 280
POPULATION = "cells"
SYNAPSES = "image-cells"


def encode(images: np.ndarray) -> np.ndarray:
    """Images uint8 [N, 64] with values 0..16 to spikes uint8 [N, 17, 128]: ON channels, then OFF channels."""
    on = images / 16
    values = np.concatenate([on, 1 - on], axis=1)
    return encoders.latency(values, STEPS, silent_below=-1)  # channels of value 0 spike too, last of all


def network(seed: int, *, neurons: int = NEURONS, learning: bool = True) -> nl.Network:
    """The network with random weights; without ``learning`` they stay, and only the thresholds adapt."""
    rng = np.random.default_rng(seed)
    net = nl.Network("stdp_digits", seed=seed + 1)
    image = net.input("image", CHANNELS)
    cells = net.population(
        POPULATION,
        neurons,
        nl.Neuron(
            threshold=THRESHOLD << SHIFT,
            refractory=STEPS,  # a neuron spikes once per image
            wta=True,
            adapt_decay=65533,  # forgets half in 15,000 steps, 900 images
            adapt_step=2000,  # 31 weight integers
            adapt_persistent=True,
        ),
        record=["spikes"],
    )
    cells.shift = SHIFT
    inhibition = net.population("inhibition", 1, nl.Neuron(threshold=1))
    rule = nl.Learning(
        pre_step=3680,  # potentiation: 5.6 % of the distance to w_max, times 0.84 per step between the two spikes
        pre_decay=55000,
        post_step=3680,  # depression: 5.6 % of the distance to w_min, however late
        f=16,
        w_min=0,
        w_max=127,
        soft=True,
        rounding="stochastic",
    )
    net.connect(
        image,
        cells,
        weights=rng.integers(50, 120, (CHANNELS, neurons)),
        delay=0,
        plasticity=rule if learning else None,
        name=SYNAPSES,
    )
    net.connect(cells, inhibition, weights=np.ones((neurons, 1), np.int64), delay=0, name="cells-inhibition")
    net.connect(
        inhibition,
        cells,
        weights=np.full((1, neurons), -INHIBITION),
        delay=1,
        weight_bits=16,
        name="inhibition-cells",
    )
    return net
