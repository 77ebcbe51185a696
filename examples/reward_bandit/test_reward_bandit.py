"""The agent learns from the reward alone, and the board's core does the same as the simulator, weight for weight."""

from __future__ import annotations

import numpy as np
import pytest
from neuroloom.compiler.spiking.core import CORES
from neuroloom.host.spiking.session import SpikingDevice
from neuroloom.host.spiking.simulated import simulated_device

import neuroloom as nl
from examples.on_core import on_core
from examples.reward_bandit import bandit
from examples.reward_bandit.board import board_loop

TRIALS = 450


@pytest.fixture(scope="module")
def run() -> bandit.Run:
    return bandit.spiking_agent(bandit.World(0), 0, TRIALS)


def test_regret_is_far_below_that_of_chance(run: bandit.Run) -> None:
    world = bandit.World(0)
    regret = world.regret(run.arms)[-1]
    assert regret < 0.4 * world.regret(bandit.random_agent(world, 0, TRIALS))[-1]
    silent = bandit.spiking_agent(world, 0, TRIALS, learning=False)
    assert regret < 0.4 * world.regret(silent.arms)[-1]
    assert (silent.weights == silent.weights[0]).all()
    assert run.weights.min() >= 0 and run.weights.max() <= 127


def test_pieces_of_the_closed_loop_equal_one_run(run: bandit.Run) -> None:
    steps = 40 * (bandit.CHOOSE + bandit.QUIET)
    inputs = {name: value[None, :steps] for name, value in run.inputs.items()}
    spikes = nl.compile(bandit.network()).simulate(inputs)
    np.testing.assert_array_equal(spikes[0], run.spikes[:steps])


def test_core_gives_the_same_spikes_and_weights(run: bandit.Run) -> None:
    found = on_core(nl.compile(bandit.network()), {name: value[:240] for name, value in run.inputs.items()})
    assert found.profile == "reward"
    assert found.differences == 0
    assert found.spikes > 20 and found.changed_weights > 10


def test_closed_loop_over_the_link_is_the_same(run: bandit.Run) -> None:
    trials, model = 25, nl.compile(bandit.network())
    config = next(c for c in CORES["ulx3s_85f"] if c.profile == "reward")
    with simulated_device(config) as device:
        body = board_loop(SpikingDevice(device), model)
        there = bandit.spiking_agent(bandit.World(0), 0, trials, body=body)
    np.testing.assert_array_equal(there.arms, run.arms[:trials])
    np.testing.assert_array_equal(there.weights, run.weights[:trials])
    assert (there.weights[-1] != there.weights[0]).any()
