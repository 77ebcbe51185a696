"""A content-addressable memory like the hippocampus' CA3: recurrent plastic synapses, graded inhibition, strong inputs.

Patterns are sets of 12 of 128 cells. Writing: the pattern's cells fire in volleys, each within four steps in a random
order, and STDP strengthens the synapses among them (pairs within a few steps gain more than they lose). Recall: a
fragment of the cells fires once, the network completes it. Forgetting: random firing, whose pairs at long lags lose more
than those at short lags gain.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from neuroloom.sim.spiking import Session

import neuroloom as nl

CELLS, ACTIVE = 128, 12
VOLLEYS, JITTER, PERIOD = 30, 4, 64
"""Writing: volleys per pattern, steps over which one is spread, steps from one to the next."""
RECALL = 10
"""Steps of a recall; the fragment fires in the first."""
GAIN, LOSS = 3072, 400
"""What a pair gains and loses at lag 0, in 1/256 of a weight integer; gain falls by e in 3 steps, loss in 25."""
FULL = 40
"""The weight of a learnt synapse, at most."""
INHIBITION = 22
THRESHOLD = {"write": 280, "recall": 40}
"""While writing, only inputs can make a cell fire: recurrent synapses learn but are held back (Hasselmo's two modes)."""
GRADES = 64


def rule() -> nl.Learning:
    """Pair STDP with a short window of gain and a long one of loss, in integers with 8 fraction bits."""
    return nl.Learning(
        pre_decay=round(65536 * np.exp(-1 / 3)),
        pre_step=GAIN,
        post_decay=round(65536 * np.exp(-1 / 25)),
        post_step=LOSS,
        f=8,
        w_min=0,
        w_max=FULL,
        rounding="stochastic",
    )


def network(weights: np.ndarray | None = None, mode: str = "write") -> nl.Network:
    """The memory; ``weights`` [cells, cells] as learnt, or none yet; ``mode``: write or recall.

    ``inhibition`` is a population of 64 cells with thresholds 1, 2, ... active cells, so that as many of them fire as
    CA3 cells do in the step, and each takes the same from every cell in the next step.
    """
    net = nl.Network("ca3", seed=1)
    mossy = net.input("mossy", CELLS)
    cells = net.population(
        "ca3", CELLS, nl.Neuron(threshold=THRESHOLD[mode], leak="multiplicative", beta=16384), record=["spikes"]
    )
    inhibition = net.population(
        "inhibition", GRADES, nl.Neuron(threshold=np.arange(1, GRADES + 1), leak="multiplicative", beta=0)
    )
    four = np.repeat(np.arange(CELLS), 4)  # four synapses of 127 each: an input spike always makes its cell fire
    net.connect(mossy, cells, pre=four, post=four, weights=127, delay=0, name="inputs")
    pre, post = np.nonzero(~np.eye(CELLS, dtype=bool))
    start = np.zeros(len(pre), int) if weights is None else weights[pre, post]
    net.connect(
        cells,
        cells,
        pre=pre,
        post=post,
        weights=start,
        name="recurrent",
        plasticity=rule() if mode == "write" else None,
    )
    net.connect(cells, inhibition, weights=np.ones((CELLS, GRADES), int), delay=0, name="count")
    net.connect(inhibition, cells, weights=np.full((GRADES, CELLS), -INHIBITION), name="hold")
    return net


def make_patterns(count: int, seed: int) -> np.ndarray:
    """Patterns int64 [count, 12]: cells drawn without order."""
    rng = np.random.default_rng([seed, 1])
    return np.array([np.sort(rng.choice(CELLS, ACTIVE, replace=False)) for _ in range(count)])


def writing(pattern: np.ndarray, rng: np.random.Generator, volleys: int = VOLLEYS) -> np.ndarray:
    """Input spikes uint8 [64 * volleys, 128] that write a pattern."""
    x = np.zeros((volleys * PERIOD, CELLS), np.uint8)
    for volley in range(volleys):
        x[volley * PERIOD + rng.integers(0, JITTER, len(pattern)), pattern] = 1
    return x


def noise(steps: int, rate: float, rng: np.random.Generator) -> np.ndarray:
    """Input spikes uint8 [steps, 128] at random, ``rate`` per cell and step."""
    return (rng.random((steps, CELLS)) < rate).astype(np.uint8)


class Memory:
    """The network while it writes and forgets: what it has learnt lives on from call to call."""

    def __init__(self) -> None:
        self.network = network()
        self.session = Session(nl.compile(self.network).graph)

    def see(self, spikes: np.ndarray) -> np.ndarray:
        """Run on input ``spikes`` [steps, 128]; returns the cells' spikes."""
        return self.session.run(spikes)["ca3.spikes"]

    @property
    def weights(self) -> np.ndarray:
        """What is learnt so far, int64 [128, 128], rows are sources."""
        return self.network.matrix("recurrent", self.session.state("recurrent.weights"))


@dataclass(frozen=True)
class Recall:
    """Means over recalls: share of the pattern's cells that fired, other cells that fired, and the quality: cells in
    both pattern and answer over cells in either (1: perfect)."""

    found: float
    false: float
    quality: float


def recall(weights: np.ndarray, patterns: np.ndarray, size: int, wrong: int = 0, seed: int = 0) -> Recall:
    """Recall every pattern from ``size`` of its cells and ``wrong`` others, all in one batch. The answer is the set of
    cells that fire in the last step."""
    rng = np.random.default_rng([seed, 2])
    x = np.zeros((len(patterns), RECALL, CELLS), np.uint8)
    for n, pattern in enumerate(patterns):
        x[n, 0, rng.choice(pattern, size, replace=False)] = 1
        x[n, 0, rng.choice(np.setdiff1d(np.arange(CELLS), pattern), wrong, replace=False)] = 1
    spikes = nl.compile(network(weights, "recall")).simulate(x)
    answer = spikes[:, -1].astype(bool)
    wanted = np.zeros_like(answer)
    np.put_along_axis(wanted, patterns, True, axis=1)
    both, either = (answer & wanted).sum(1), (answer | wanted).sum(1)
    return Recall(float(both.mean() / ACTIVE), float((answer & ~wanted).sum(1).mean()), float((both / either).mean()))
