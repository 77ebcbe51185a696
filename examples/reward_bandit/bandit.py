"""A spiking agent at a multi-armed bandit: three-factor learning, the reward comes from outside after the choice.

A trial is 24 steps. In steps 0..11 eight ``cue`` channels fire and drive one action neuron per arm through plastic
synapses; each action neuron also gets noise of its own, and an action that spikes holds the others back. The arm is the
action with most spikes, the first one of equals. Then the world pays or not, and in step 12 the input ``reward`` brings the
difference to what was expected: it turns the eligibility of the synapses that made the choice into weight. Twelve quiet
steps let everything decay.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from neuroloom.sim.spiking import Session

import neuroloom as nl

ARMS = 4
CUES = 8
CHOOSE, QUIET = 12, 12
"""Steps of a trial until the choice, and behind it; the reward is in the first of the quiet ones."""
GOOD, BAD = 0.8, 0.2
CHANGE = 150
"""Trials after which another arm is the best."""
TRIALS = 900
EXPECTATION_RATE = 0.05


def network() -> nl.Network:
    """The agent in integers: 8 cue and 8 noise channels, 4 action neurons."""
    net = nl.Network("bandit", seed=1)
    cue = net.input("cue", CUES)
    noise = net.input("noise", 2 * ARMS)
    action = net.population(
        "action", ARMS, nl.Neuron(threshold=300, leak="multiplicative", beta=55705, wta=True), record=["spikes"]
    )
    rule = nl.Learning(
        pre_decay=52429,  # 0.8 per step
        pre_step=16 * 256,  # a pair of neighbouring steps leaves an eligibility of 12
        f=8,
        w_min=0,
        w_max=127,
        rounding="stochastic",
        eligibility=True,
        e_decay=243,  # 0.95 per step
        g=10,
    )
    net.connect(cue, action, weights=np.full((CUES, ARMS), 40), name="values", plasticity=rule)
    net.connect(noise, action, weights=np.kron(np.eye(ARMS, dtype=int), np.full((2, 1), 90)), name="exploration")
    others = 1 - np.eye(ARMS, dtype=int)
    net.connect(action, action, weights=-600 * others, name="competition", weight_bits=16)
    return net


class World:
    """The bandit: arm ``best`` pays with probability 0.8, the others with 0.2; the best one changes every 150 trials."""

    def __init__(self, seed: int, trials: int = TRIALS) -> None:
        rng = np.random.default_rng([seed, 1])
        best = [int(rng.integers(ARMS))]
        for _ in range(trials // CHANGE):
            best.append(int((best[-1] + rng.integers(1, ARMS)) % ARMS))
        self.best = np.repeat(best, CHANGE)[:trials]
        self.draws = rng.random((trials, ARMS))

    def pays(self, trial: int, arm: int) -> bool:
        """Whether ``arm`` pays in ``trial``: the same draw for every agent."""
        return bool(self.draws[trial, arm] < (GOOD if arm == self.best[trial] else BAD))

    def regret(self, arms: np.ndarray) -> np.ndarray:
        """Expected reward lost against the best arm, summed up, per trial."""
        return np.cumsum((arms != self.best[: len(arms)]) * (GOOD - BAD))


@dataclass
class Run:
    """What an agent did: arms [trials], weights [trials, 8 * 4] after each, and every input of every step."""

    arms: np.ndarray
    weights: np.ndarray
    inputs: dict[str, np.ndarray]
    spikes: np.ndarray


class Body(Protocol):
    """A network that runs on from call to call."""

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Outputs of the next steps."""

    def state(self, name: str) -> np.ndarray:
        """A learnt state as it is now."""


def spiking_agent(
    world: World, seed: int, trials: int = TRIALS, *, learning: bool = True, body: Body | None = None
) -> Run:
    """The network in a closed loop, piece by piece; without ``learning`` the reward is never sent.
    ``body`` is where the network runs: the simulator, unless given."""
    rng = np.random.default_rng([seed, 2])
    session = body or Session(nl.compile(network()).graph)
    expected = np.full(1, 0.5)
    arms, weights, given, spikes = [], [], [], []
    for trial in range(trials):
        choose = {
            "cue": (rng.random((CHOOSE, CUES)) < 0.4).astype(np.uint8),
            "noise": (rng.random((CHOOSE, 2 * ARMS)) < 0.25).astype(np.uint8),
            "reward": np.zeros(CHOOSE, np.int64),
        }
        out = session.run(choose)["action.spikes"]
        counts = out.sum(0)
        arm = int(counts.argmax()) if counts.any() else int(rng.integers(ARMS))
        paid = world.pays(trial, arm)
        error = float(paid) - float(expected[0])
        expected += EXPECTATION_RATE * error
        quiet = {
            "cue": np.zeros((QUIET, CUES), np.uint8),
            "noise": np.zeros((QUIET, 2 * ARMS), np.uint8),
            "reward": np.zeros(QUIET, np.int64),
        }
        quiet["reward"][0] = round(100 * error) if learning else 0
        after = session.run(quiet)
        arms.append(arm)
        weights.append(session.state("values.weights"))
        given += [choose, quiet]
        spikes += [out, after["action.spikes"]]
    inputs = {name: np.concatenate([g[name] for g in given]) for name in given[0]}
    return Run(np.array(arms), np.array(weights), inputs, np.concatenate(spikes))


def random_agent(world: World, seed: int, trials: int = TRIALS) -> np.ndarray:
    """Arms drawn at random."""
    return np.random.default_rng([seed, 3]).integers(0, ARMS, trials)


def greedy_agent(
    world: World, seed: int, trials: int = TRIALS, *, epsilon: float = 0.1, rate: float = 0.1
) -> np.ndarray:
    """Epsilon-greedy with values that follow a changing world: value += rate * (reward - value)."""
    rng = np.random.default_rng([seed, 4])
    values, arms = np.full(ARMS, 0.5), []
    for trial in range(trials):
        best = np.flatnonzero(values == values.max())
        arm = int(rng.integers(ARMS) if rng.random() < epsilon else rng.choice(best))
        values[arm] += rate * (world.pays(trial, arm) - values[arm])
        arms.append(arm)
    return np.array(arms)
