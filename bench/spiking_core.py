"""Time steps per second of the ULX3S' spiking core on NeuroCoreX's network, from the cycles that its RTL takes.

NeuroCoreX (arXiv 2506.14138): 90 neurons, all connected with all, 96 inputs connected with all, 8-bit weights; STDP with
rectangular windows on every synapse of both kinds. The RTL runs under Verilator and plays its inputs from the pool; its cycle
counter, its weights and its membranes must be those of the core's model.
"""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from neuroloom.boards.registry import load_board
from neuroloom.compiler.spiking import layout
from neuroloom.compiler.spiking.core import CORES, CoreProgram
from neuroloom.compiler.spiking.executor import CoreModel
from neuroloom.compiler.spiking.image import write_raster
from neuroloom.compiler.spiking.lower import lower_network
from neuroloom.compiler.spiking.mapper import map_graph
from neuroloom.compiler.spiking.models import Neuron
from neuroloom.compiler.spiking.network import Network
from neuroloom.compiler.spiking.plasticity import Learning
from neuroloom.host.spiking import protocol
from neuroloom.host.spiking.rtl_engine import RtlEngine, batches

from bench.benchmark import Benchmark, Say, register
from bench.place_cores import core_sha256
from bench.results import table

NEURONS, INPUTS, STEPS = 90, 96, 100
BOARD = load_board("ulx3s_85f")
PROFILES = {config.profile: config for config in CORES[BOARD.name] if config.profile in ("delay", "reward")}
"""The cores: without learning, and the one that learns."""
NEUROCOREX = 1_042
"""Its steps/s, from its paper."""


@dataclass(frozen=True)
class Case:
    """A network and its inputs: share of inputs that spike per step, the neurons' threshold, the rule."""

    name: str
    share: float
    threshold: int
    low: int
    high: int
    learning: Learning | None

    @property
    def profile(self) -> str:
        """The smallest core that carries it."""
        return "delay" if self.learning is None else "reward"


WINDOW = Learning(kind="window", pre_step=10, post_step=10, pot=2, dep=2, w_min=-128, w_max=127)
PAIRS = Learning(
    pre_decay=62000, post_decay=62000, pre_step=3000, post_step=3000, w_min=-128, w_max=127, f=12, rounding="stochastic"
)
CASES = (
    Case("10 % spike, no learning", 0.1, 190, -60, 60, None),
    Case("10 % spike, window STDP as NeuroCoreX's", 0.1, 190, -60, 60, WINDOW),
    Case("10 % spike, exponential STDP, stochastic rounding", 0.1, 190, -60, 60, PAIRS),
    Case("all spike in every step, no learning", 1.0, 1, 1, 60, None),
    Case("all spike in every step, window STDP", 1.0, 1, 1, 60, WINDOW),
)


def network(case: Case, seed: int) -> Network:
    """The network of a case, with random weights."""
    rng = np.random.default_rng(seed)
    net = Network("neurocorex")
    inputs = net.input("in", INPUTS)
    cells = net.population("cells", NEURONS, Neuron(threshold=case.threshold, leak="subtractive", decay=1))
    for source, size in ((inputs, INPUTS), (cells, NEURONS)):
        weights = rng.integers(case.low, case.high + 1, (size, NEURONS))
        net.connect(source, cells, weights=np.where(weights == 0, 1, weights), delay=1, plasticity=case.learning)
    net.record(cells, "v")
    return net


def programs(seed: int) -> list[CoreProgram]:
    """What the cores are loaded with, case by case."""
    return [map_graph(lower_network(network(case, seed)), PROFILES[case.profile]) for case in CASES]


def design_sha256(seed: int) -> str:
    """SHA-256 of the cores' RTL and of what they are loaded with: a record with another one is stale."""
    found = hashlib.sha256("".join(core_sha256(config) for config in PROFILES.values()).encode())
    for program in programs(seed):
        found.update(program.program.astype("<u4").tobytes() + layout.pool_bytes(program.pool))
    return found.hexdigest()


def measure(program: CoreProgram, engine: RtlEngine, inputs: np.ndarray) -> tuple[CoreModel, float]:
    """The model after the run, and the core's cycles per step, after both have been found equal."""
    model = CoreModel(program)
    base, words = write_raster(program, {"in": inputs})
    model.pool[base : base + len(words)] = words
    fired = 0
    place: Any = program.maps
    cells = place["populations"]["cells"]
    for _ in range(STEPS):
        model.run_step(raster=True)
        slot = (model.step - 1) % program.config.slots
        fired += int(model.history[slot, cells["first"] : cells["first"] + NEURONS].sum())
    width, limit = 4 * program.config.lanes, 32768
    calls = [protocol.zero(), *protocol.write(0, 0, program.program.astype("<u4").tobytes(), limit)]
    calls += protocol.write(1, 0, layout.pool_bytes(program.pool), limit)
    calls += protocol.write(1, width * base, layout.pool_bytes(words), limit)
    seed = place["seed"]
    calls += [protocol.control(4, seed if isinstance(seed, int) else 1), protocol.control(8, 0)]
    calls += [protocol.go(STEPS, protocol.Go.RASTER), protocol.query(), protocol.status()]
    read = protocol.read(1, 0, width * len(program.pool), limit)
    answer = b""
    for _, data, count in batches([*calls, *read], limit):
        part = engine.exchange(data, count)
        if part is None:
            raise RuntimeError("the core must answer, and stands still")
        answer += part
    status = protocol.Status.from_bytes(answer[protocol.RECORD_BYTES :][: protocol.STATUS_BYTES])
    pool = answer[protocol.RECORD_BYTES + protocol.STATUS_BYTES :]
    if status.cycles != model.cycles or pool != layout.pool_bytes(model.pool[: len(program.pool)]):
        raise RuntimeError(f"the core must do as its model, {model.cycles} cycles, and took {status.cycles}")
    return model, fired / (STEPS * NEURONS)


def run(say: Say, seed: int) -> dict[str, Any]:
    """Every case on its core of the ULX3S."""
    (lanes,) = {config.lanes for config in PROFILES.values()}
    found: dict[str, Any] = {"lanes": lanes, "steps": STEPS, "cases": []}
    found["design_sha256"] = design_sha256(seed)
    rng = np.random.default_rng(seed)
    with contextlib.ExitStack() as stack:
        engines = {name: stack.enter_context(RtlEngine(config)) for name, config in PROFILES.items()}
        for case, program in zip(CASES, programs(seed), strict=True):
            inputs = (rng.random((STEPS, INPUTS)) < case.share).astype(np.int64)
            model, active = measure(program, engines[case.profile], inputs)
            sent = 2 + 2 * inputs.sum() / STEPS + 6  # I with its sources, G
            back = 4 * active * NEURONS  # D
            found["cases"].append(
                {
                    "name": case.name,
                    "profile": case.profile,
                    "active": round(active, 3),
                    "cycles": model.cycles / STEPS,
                    "bytes_to_core": round(float(sent), 1),
                    "bytes_to_host": round(float(back), 1),
                }
            )
            say(f"{case.name}: {model.cycles / STEPS:.1f} cycles per step, {100 * active:.1f} % of the neurons spike")
    return found


def render(found: dict[str, Any]) -> str:
    """Steps per second of every case."""
    rows = []
    for case in found["cases"]:
        speed = BOARD.speed("spiking", case["profile"])
        rate = speed.plan.logic_hz / case["cycles"]
        fed = speed.baud / 10 / max(case["bytes_to_core"], case["bytes_to_host"], 1)
        rows.append(
            [
                case["name"],
                f"{100 * case['active']:.1f} %",
                f"{case['cycles']:.1f}",
                case["profile"],
                f"{speed.plan.logic_hz / 1e6:g}",
                f"{rate:,.0f}",
                f"{rate / NEUROCOREX:.0f}×",
                f"{min(fed, rate):,.0f}",
            ]
        )
    head = [
        "case",
        "neurons that spike per step",
        "cycles per step (RTL)",
        "profile",
        "its clock, MHz",
        "steps/s",
        f"beside NeuroCoreX's {NEUROCOREX:,}",
        "steps/s fed by UART (computed)",
    ]
    return (
        f"{table(head, rows)}\n\nMeasured over {found['steps']} steps of cores of {found['lanes']} lanes in Verilator, inputs "
        "played from the pool; weights, membranes and cycles equal the cores' model. Fed by UART: 2 bytes per input spike and 8 "
        "per step to the core, 4 bytes per spike back, without the link's frames and turnarounds."
    )


register(
    Benchmark(
        "spiking_core",
        "NeuroCoreX's network (90 neurons all-to-all, 96 inputs, 8-bit weights) on the ULX3S' core, cycles counted by its RTL.",
        run,
        render,
    )
)
