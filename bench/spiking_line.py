"""Samples of a spiking network over the link of a virtual board, in line time: streamed, and each after the last one's answer."""

from __future__ import annotations

from typing import Any

import numpy as np
from neuroloom.boards.emulate import emulate
from neuroloom.boards.faults import LineFaults
from neuroloom.boards.registry import load_board
from neuroloom.host.device import connect
from neuroloom.host.spiking.flow import core_design, core_of
from neuroloom.host.spiking.sample import SampleRun
from neuroloom.host.spiking.session import SpikingDevice
from neuroloom.host.spiking.streaming import OneByOne

import neuroloom as nl
from bench.benchmark import Benchmark, Say, register
from bench.link import ADAPTERS as LATENCIES
from bench.results import table

BOARD = "icebreaker"
SAMPLES = 100
ADAPTERS = {name: spec for name, spec in LATENCIES.items() if "timer" not in name}
INPUTS, OUTPUTS = 64, 10


class OneByOneDevice(SpikingDevice):
    """A session that waits for each sample's answer."""

    def sequence(self, runner: SampleRun) -> OneByOne:
        """One sample after the other."""
        return OneByOne(runner)


WAYS = {"streamed": SpikingDevice, "one by one": OneByOneDevice}
CASES = (("infer", 12, False), ("infer", 25, False), ("decide", 12, True))
"""Profile, steps of a sample, and whether it stops at its decision. With 25 steps the events may not all have room."""


def network(seed: int, *, decision: bool) -> nl.Model:
    """A layer of integer weights: 64 inputs, 10 outputs whose spikes are told."""
    rng = np.random.default_rng(seed)
    net = nl.Network("layer")
    cells = net.input("in", INPUTS)
    o = net.population("o", OUTPUTS, nl.Neuron(threshold=300, leak="subtractive", decay=3, reset="subtract"))
    net.connect(cells, o, weights=rng.integers(-30, 60, (INPUTS, OUTPUTS)), delay=0)
    net.record(o, "spikes")
    if decision:
        net.decide(o, margin=2)
    return nl.compile(net)


def run(say: Say, seed: int) -> list[dict[str, Any]]:
    """Every case under every adapter, both ways; the answers of both must be the simulator's."""
    found = []
    board = load_board(BOARD)
    for profile, steps, decide in CASES:
        model = network(seed, decision=decide)
        x = (np.random.default_rng(seed).random((SAMPLES, steps, INPUTS)) < 0.15).astype(np.int64)
        outputs = model.outputs(x)
        want = outputs["decision.winner"][:, -1] if decide else outputs["o.spikes"]
        build, identity = core_design(core_of(profile, board), board)
        with emulate(build, identity, board) as virtual:
            assert virtual.port is not None
            with connect(virtual.port, timeout=60) as device:
                SpikingDevice(device).load(model.graph)
                for name, spec in ADAPTERS.items():
                    virtual.set_faults(LineFaults.parse(spec))
                    for way, kind in WAYS.items():
                        session = kind(device)
                        session.attach(model.graph)
                        before = virtual.statistics()
                        got = session.decide(x)["winner"] if decide else session.run(x)["o.spikes"]
                        after = virtual.statistics()
                        if not np.array_equal(got, want):
                            raise RuntimeError(f"answers to {SAMPLES} samples must be the simulator's, and are not")
                        seconds = (after.cycles - before.cycles) / device.identity.clock_hz
                        moved = max(after.sent - before.sent, after.received - before.received)
                        found.append(
                            {
                                **{"profile": profile, "steps": steps, "decide": decide, "adapter": name, "way": way},
                                "samples": SAMPLES,
                                "spikes": int(outputs["o.spikes"].sum()),
                                "line_s": round(seconds, 4),
                                "line_busy": round(moved * 10 / device.identity.baud / seconds, 4),
                            }
                        )
                        say(f"{profile}, {steps} steps, {name}, {way}: {SAMPLES / seconds:,.0f} samples/s")
    return found


def render(found: list[dict[str, Any]]) -> str:
    """One row per case and way."""
    rows: dict[tuple[object, ...], list[object]] = {}
    for f in found:
        what = "until decided" if f["decide"] else "spikes of every step"
        key = (f["profile"], f["steps"], what, f["way"])
        rows.setdefault(key, list(key)).append(f"{f['samples'] / f['line_s']:,.0f} ({100 * f['line_busy']:.0f} %)")
    return table(["core", "steps", "answer", "samples", *ADAPTERS], list(rows.values()))


register(
    Benchmark(
        "spiking_line",
        f"Samples a second of a spiking network ({INPUTS} inputs, {OUTPUTS} outputs, 15 % of the inputs active) over 3 Mbaud, in "
        "line time, on the virtual iCEBreaker, and how busy that keeps the busier direction; latencies are the adapter's.",
        run,
        render,
    )
)
