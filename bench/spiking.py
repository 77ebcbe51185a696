"""Steps per second of the event-driven engine, of a hand-written numpy loop and of Brian2 on the same random networks, on one core.

80 synapses per neuron to random targets, delay 1 step, leaky integrate-and-fire at about 5.5 spikes per neuron and second, 1 ms
steps. All must give the same spikes. Brian2 runs where it is there, perhaps in a Python of its own, because it needs an older
numpy: ``NEUROLOOM_BRIAN2=/path/to/python``. What a loop and Brian2 did on such networks elsewhere is quoted beside.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from neuroloom.compiler.ir import BIT, Builder, Graph, Type
from neuroloom.compiler.ir.file import save
from neuroloom.sim.spiking import Engine

from bench.benchmark import Benchmark, Say, register
from bench.results import table
from bench.timing import Timing, measure

SIZES = {1_000: 20_000, 10_000: 2_000, 100_000: 200}
"""Neurons: steps measured."""

FAN_OUT, BETA, THRESHOLD = 80, 64880, 10000

ELSEWHERE = {1_000: (67_100, 47_900), 10_000: (24_300, 9_980), 100_000: (2_690, 712)}
"""Steps/s on a 2-core AMD EPYC (Zen 5): such a numpy loop, and Brian2 2.9 with Cython."""


@dataclass(frozen=True)
class Net:
    """Targets and weights [n, FAN_OUT] of every neuron, constant currents [n], membranes at the start [n]."""

    targets: np.ndarray
    weights: np.ndarray
    bias: np.ndarray
    start: np.ndarray

    @classmethod
    def random(cls, n: int, seed: int) -> Net:
        """Balanced random weights; currents that make a neuron fire every 160 to 260 steps."""
        rng = np.random.default_rng(seed)
        return cls(
            np.sort(rng.integers(0, n, (n, FAN_OUT)), axis=1).astype(np.int32),
            rng.integers(-10, 11, (n, FAN_OUT)).astype(np.int32),
            rng.integers(109, 127, n).astype(np.int32),
            rng.integers(0, THRESHOLD, n).astype(np.int32),
        )

    def graph(self) -> Graph:
        """The network as neuroloom's graph."""
        n, b = len(self.bias), Builder("bench", clocked=True)
        b.input("clock", BIT, (1,))
        history = b.state(np.zeros((1, n), np.int64), BIT, "sample", name="history")
        v = b.state(self.start, Type(24, True), "sample", name="v")
        current = b.node(
            "synapses",
            [b.node("concat", [b.const(np.zeros((1, n), np.int64), BIT), history], axis=0)],
            pre=np.repeat(np.arange(n, dtype=np.int32), FAN_OUT),
            post=self.targets.reshape(-1),
            delay=np.ones(n * FAN_OUT, np.int8),
            weights=self.weights.reshape(-1),
            n_post=n,
        )
        spikes, after, _ = b.nodes(
            "lif",
            [current, v],
            threshold=np.array(THRESHOLD),
            leak="multiplicative",
            beta=BETA,
            bias=self.bias,
            strict=True,
            reset="zero",
            reset_mode="immediate",
        )
        b.update(v, after)
        b.update(history, b.node("reshape", [spikes], shape=(1, n)))
        b.output("spikes", spikes)
        return b.finish()

    def numpy_loop(self, steps: int) -> np.ndarray:
        """(step, neuron) of every spike, by a loop over steps with numpy's int32 arrays and work per spike."""
        v, current, found = self.start.copy(), np.zeros(len(self.bias), np.int32), []
        for t in range(steps):
            v *= BETA
            v >>= 16
            current += self.bias
            v += current
            spikes = np.flatnonzero(v > THRESHOLD)
            v[spikes] = 0
            current[:] = 0
            np.add.at(current, self.targets[spikes].reshape(-1), self.weights[spikes].reshape(-1))
            found.append(np.stack([np.full(len(spikes), t), spikes], axis=1))
        return np.concatenate(found)


def brian2(net: Net, steps: int) -> tuple[dict[str, Any], np.ndarray] | None:
    """Version and rates of Brian2, and its spikes as those of :meth:`Net.numpy_loop`; None where it is not there."""
    python = os.environ.get("NEUROLOOM_BRIAN2", sys.executable)
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        given, out = str(Path(name) / "net.npz"), str(Path(name) / "spikes.npz")
        parts = {"targets": net.targets, "weights": net.weights, "bias": net.bias, "start": net.start}
        np.savez(given, **parts, beta=BETA / 65536, threshold=THRESHOLD)
        script = str(Path(__file__).with_name("peer_brian2.py"))
        done = subprocess.run(
            [python, script, given, str(steps), "3", out], capture_output=True, text=True, timeout=1800
        )
        if done.returncode:
            return None
        told = json.loads(done.stdout)
        wall, cpu = float(np.median(told["walls"])), float(np.median(told["cpus"]))
        rates = Timing(wall, cpu, min(told["walls"]), None).rate(steps)
        with np.load(out) as found:
            return {"version": told["version"], "target": told["target"], **rates}, found["spikes"]


def run(say: Say, seed: int) -> dict[str, Any]:
    """Every size, all engines, and the time until ready of the middle one."""
    found: dict[str, Any] = {"sizes": {}}
    for n, steps in SIZES.items():
        net = Net.random(n, seed)
        graph = net.graph()
        engine = Engine(graph)
        clock = np.zeros((1, steps, 1), np.uint8)
        own = measure(lambda e=engine, c=clock: e.run(c, events=True)["spikes"], repeats=5)
        peer = measure(lambda m=net, s=steps: m.numpy_loop(s), repeats=3)
        if not np.array_equal(own.result[:, 1:], peer.result):
            raise RuntimeError(f"the numpy loop must give the same spikes as neuroloom with {n} neurons, and does not")
        other = brian2(net, steps)
        if other is not None and not np.array_equal(other[1], peer.result):
            raise RuntimeError(f"Brian2 must give the same spikes as the numpy loop with {n} neurons, and does not")
        rate = 1000 * len(peer.result) / (n * steps)
        found["sizes"][str(n)] = {
            "steps": steps,
            "hertz": round(rate, 2),
            "neuroloom": own.rate(steps),
            "numpy": peer.rate(steps),
            **({"brian2": other[0]} if other is not None else {}),
            "megabytes": round(engine.program.bytes / 1e6, 1),
        }
        third = other[0]["per_second"] if other is not None else "is not there"
        rates = f"{own.rate(steps)['per_second']} steps/s, numpy {peer.rate(steps)['per_second']}, Brian2 {third}"
        say(f"{n} neurons at {rate:.1f} Hz: {rates}")
    found["ready"] = _ready(Net.random(10_000, seed).graph())
    return found


_READY = """
import json, sys, time
import numpy as np
t = [time.perf_counter()]
import neuroloom as nl
import neuroloom.model, neuroloom.sim.spiking
t.append(time.perf_counter())
m = nl.load(sys.argv[1])
t.append(time.perf_counter())
m._fast_engine(())
t.append(time.perf_counter())
m.outputs(np.zeros((1, 1, 1), np.uint8), engine="fast")
t.append(time.perf_counter())
print(json.dumps([round(1e3 * (b - a), 1) for a, b in zip(t, t[1:])]))
"""


def _ready(graph: Graph) -> dict[str, list[float]]:
    """Milliseconds to import, load, prepare and run a step: medians of fresh processes, and with nothing compiled yet."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        file = Path(name) / "bench.nloom"
        save(graph, file)

        def fresh(**extra: str) -> list[float]:
            done = subprocess.run(
                [sys.executable, "-c", _READY, str(file)],
                env={**os.environ, **extra},
                capture_output=True,
                text=True,
                check=True,
                timeout=600,
            )
            return json.loads(done.stdout)

        runs = [fresh() for _ in range(3)]
        return {
            "warm": [float(np.median(x)) for x in zip(*runs, strict=True)],
            "first_ever": fresh(NUMBA_CACHE_DIR=str(Path(name) / "jit")),
        }


def render(found: dict[str, Any]) -> str:
    """A table of sizes, and the time until ready."""
    head = [
        "neurons",
        "Hz",
        "neuroloom steps/s (median)",
        "per processor second",
        "numpy loop",
        "per processor second",
        "Brian2 (Cython)",
        "per processor second",
        "faster than numpy, than Brian2 (processor time)",
        "numpy loop and Brian2 elsewhere",
        "MB",
    ]
    rows = []
    for size, body in found["sizes"].items():
        own, peer, (loop, brian) = body["neuroloom"], body["numpy"], ELSEWHERE[int(size)]
        cells = [_n(own["per_second"]), _n(own["per_cpu_second"]), _n(peer["per_second"]), _n(peer["per_cpu_second"])]
        other = body.get("brian2")
        cells += [_n(other["per_second"]), _n(other["per_cpu_second"])] if other else ["-", "-"]
        ratio = f"{own['per_cpu_second'] / peer['per_cpu_second']:.1f}×"
        ratio += f", {own['per_cpu_second'] / other['per_cpu_second']:.1f}×" if other else ""
        rows.append([_n(int(size)), body["hertz"], *cells, ratio, f"{_n(loop)}, {_n(brian)}", body["megabytes"]])
    warm, first = found["ready"]["warm"], found["ready"]["first_ever"]
    return (
        f"{table(head, rows)}\n\n"
        f"All give the same spikes; Brian2's code generation is not counted. *Elsewhere* was another machine (AMD EPYC, Zen 5). "
        f"From the `.nloom` file with 10,000 neurons: import {warm[0]:.0f} ms, load {warm[1]:.0f} ms, prepare {warm[2]:.0f} ms, "
        f"first step {warm[3]:.0f} ms; with nothing compiled yet, once per machine: {sum(first) / 1e3:.1f} s in all."
    )


def _n(number: float) -> str:
    return f"{number:,.0f}"


register(
    Benchmark(
        "spiking",
        "Random spiking networks, 80 synapses per neuron at 5.5 Hz, steps per second beside numpy and Brian2.",
        run,
        render,
    )
)
