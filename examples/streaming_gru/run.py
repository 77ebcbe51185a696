#!/usr/bin/env python3
"""Decodes spikes bin by bin over a virtual board's serial port, and says how long a round trip takes; draws a picture.

    python examples/streaming_gru/run.py            # about a minute; draws build/streaming_gru.png

Every bin is sent when the answer to the last one is there, as a closed loop does. Times are the board's own (its clock's cycles),
which runs on while this program works: the line at 3 Mbaud, link and engine, but no USB adapter.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

from neuroloom.boards.emulate import emulate  # noqa: E402
from neuroloom.boards.registry import load_board  # noqa: E402
from neuroloom.host.device import connect  # noqa: E402
from neuroloom.host.gated.choose import choose_config  # noqa: E402
from neuroloom.host.gated.flow import engine_design  # noqa: E402
from neuroloom.host.gated.session import GatedDevice  # noqa: E402
from neuroloom.host.verify.gated import predicted_cycles  # noqa: E402

from examples.lorenz_lfads import data  # noqa: E402
from examples.picture import save, subplots  # noqa: E402
from examples.streaming_gru.compiled import compiled, decode  # noqa: E402
from examples.streaming_gru.score import r_squared  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--board", default="icebreaker")
    parser.add_argument("--picture", type=Path, default=Path("build/streaming_gru.png"))
    options = parser.parse_args()
    training, test = data.make()
    model, board = compiled(training), load_board(options.board)
    print(
        f"R² of the coordinates on {len(test.counts)} test trials: {r_squared(test.path, decode(model, test.counts)):.4f}"
    )
    config = choose_config(model.graph, board)
    trial = test.counts[5]
    cycles = predicted_cycles(model.graph, config, {"counts": trial[None]})[0]
    make, identity = engine_design(config, board)
    found, times = [], []
    with emulate(make, identity, board) as virtual:
        assert virtual.port is not None
        with connect(virtual.port) as device:
            session = GatedDevice(device, config)
            session.load(model.graph)
            before = virtual.statistics().cycles
            for step, counts in enumerate(trial):
                found.append(session.step(counts, fresh=step == 0)["coordinates"])
                now = virtual.statistics().cycles
                times.append((now - before) / identity.clock_hz)
                before = now
    wanted = model.simulate(trial[None])[0]
    print(
        f"{len(trial)} bins over the port of the virtual {options.board}, equal to the simulator: {np.array_equal(found, wanted)}"
    )
    print(
        f"engine {config.profile}: {cycles.min():,} to {cycles.max():,} cycles a bin "
        f"({1e6 * cycles.max() / identity.clock_hz:.1f} us at {identity.clock_hz / 1e6:g} MHz)"
    )
    print(
        f"round trip in the board's time: {1e6 * np.median(times):.0f} us at the median, {1e6 * max(times):.0f} us at most"
    )
    figure, axes = subplots(1, 3, (11, 2.8))
    real = np.asarray(model.dequantize(np.array(found)[None]))[0]
    for axis, (name, place) in zip(axes, (("x", 0), ("y", 1), ("z", 2)), strict=True):
        axis.plot(test.path[5, :, place], color="black", linestyle="--", linewidth=1, label="Lorenz system")
        axis.plot(real[:, place], color=f"C{place}", linewidth=1.5, label="decoded on the board")
        axis.set(title=name, xlabel="bin of 10 ms")
        axis.legend(fontsize=7)
    save(figure, options.picture)


if __name__ == "__main__":
    main()
