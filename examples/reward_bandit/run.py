#!/usr/bin/env python3
"""Lets the spiking agent play a bandit whose best arm changes, beside epsilon-greedy and random agents.

python examples/reward_bandit/run.py                 # 5 seeds; draws build/reward_bandit.png
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

from neuroloom.host.device import connect  # noqa: E402
from neuroloom.host.spiking.session import SpikingDevice  # noqa: E402

import neuroloom as nl  # noqa: E402
from examples import picture  # noqa: E402
from examples.on_core import on_core  # noqa: E402
from examples.reward_bandit import bandit  # noqa: E402
from examples.reward_bandit.board import board_loop  # noqa: E402


def play(seeds: int) -> tuple[dict[str, np.ndarray], bandit.Run, bandit.World]:
    """Regrets [seeds, trials] by agent, and the spiking run of seed 0 with its world."""
    regrets: dict[str, list[np.ndarray]] = {}
    first = None
    for seed in range(seeds):
        world = bandit.World(seed)
        run = bandit.spiking_agent(world, seed)
        first = first or (run, world)
        agents = {
            "spiking": run.arms,
            "spiking, reward never sent": bandit.spiking_agent(world, seed, learning=False).arms,
            "epsilon-greedy, 0.1": bandit.greedy_agent(world, seed),
            "epsilon-greedy, tuned": bandit.greedy_agent(world, seed, epsilon=0.02, rate=0.2),
            "random": bandit.random_agent(world, seed),
        }
        for name, arms in agents.items():
            regrets.setdefault(name, []).append(world.regret(arms))
    assert first is not None
    return {name: np.array(values) for name, values in regrets.items()}, *first


def draw(regrets: dict[str, np.ndarray], run: bandit.Run, world: bandit.World, path: Path) -> None:
    """Regret of all agents; weights of every arm over the trials of seed 0."""
    figure, (left, right) = picture.subplots(1, 2, (9, 3))
    for name, values in regrets.items():
        left.plot(values.mean(0), label=name)
    left.set(xlabel="trial", ylabel="regret (mean of the seeds)")
    left.legend(frameon=False)
    means = run.weights.reshape(-1, bandit.CUES, bandit.ARMS).mean(1)
    for arm in range(bandit.ARMS):
        (line,) = right.plot(means[:, arm], label=f"arm {arm}")
        where = np.flatnonzero(world.best == arm)
        right.plot(where, np.full(len(where), -4), "|", color=line.get_color())
    right.set(xlabel="trial (marks below: the best arm)", ylabel="mean weight cue to action")
    right.legend(frameon=False, ncol=2)
    picture.save(figure, path)


def with_board(port: str, trials: int) -> None:
    """The closed loop over the link, held to the simulator's."""
    with connect(port) as device:
        body = board_loop(SpikingDevice(device), nl.compile(bandit.network()))
        there = bandit.spiking_agent(bandit.World(0), 0, trials, body=body)
    here = bandit.spiking_agent(bandit.World(0), 0, trials)
    arms, weights = int((there.arms != here.arms).sum()), int((there.weights != here.weights).sum())
    regret = bandit.World(0).regret(there.arms)[-1]
    print(
        f"{trials} trials on {port}: regret {regret:.1f}; {arms} choices and {weights} weights differ from the simulator's"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--picture", type=Path, default=Path("build/reward_bandit.png"), help="PNG to write")
    parser.add_argument(
        "--port", help="play with the board on this serial port instead, and compare with the simulator"
    )
    parser.add_argument("--trials", type=int, default=100, help="trials with the board (%(default)s)")
    options = parser.parse_args()
    if options.port:
        with_board(options.port, options.trials)
        return
    regrets, run, world = play(options.seeds)
    print(f"regret after {bandit.TRIALS} trials, best arm changes every {bandit.CHANGE}, {options.seeds} seeds")
    for name, values in regrets.items():
        last = values[:, -1]
        print(f"  {name:27s} mean {last.mean():6.1f}   each {', '.join(f'{v:.0f}' for v in last)}")
    share = [(run.arms == world.best).reshape(-1, bandit.CHANGE)[:, a:b].mean() for a, b in [(0, 50), (50, 150)]]
    print(
        f"seed 0: best arm chosen in {100 * share[0]:.0f} % of 50 trials after a change, {100 * share[1]:.0f} % of the others"
    )
    part = {name: value[:480] for name, value in run.inputs.items()}
    print(on_core(nl.compile(bandit.network()), part))
    draw(regrets, run, world, options.picture)


if __name__ == "__main__":
    main()
