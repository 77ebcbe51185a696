"""Random networks of every option, mapped by the compiler, on the core's RTL.

Spike words, states, status and cycles after every step, then the whole used pool, the history and the events are those of
the model of the core, and the model's outputs are those of the graph's reference interpreter. Many networks run in one
simulation after the other, so that each also meets what another left behind.
"""

from __future__ import annotations

import importlib.util
import itertools
import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from neuroloom.compiler.errors import DoesNotFitError, GraphError, UnsupportedError
from neuroloom.compiler.ir import Graph
from neuroloom.compiler.spiking import layout
from neuroloom.compiler.spiking.core import CoreConfig, CoreProgram
from neuroloom.compiler.spiking.executor import CoreModel, run_program, write_word
from neuroloom.compiler.spiking.image import input_spikes, write_raster
from neuroloom.compiler.spiking.mapper import map_graph
from neuroloom.host.spiking import protocol as p
from neuroloom.host.spiking.rtl_engine import RtlEngine, batches
from neuroloom.sim import reference

STEPS = 10
LIMIT = 32768
SEED = int(os.environ.get("NEUROLOOM_SEED", "1"))

BUILDS = {
    "16 lanes, reward": {"lanes": 16, "learning": "reward", "neurons": 1024, "pool_words": 8192, "event_depth": 1024},
    "4 lanes, reward": {"lanes": 4, "learning": "reward", "neurons": 256, "pool_words": 16384, "event_depth": 256},
    "2 lanes, stdp": {"lanes": 2, "learning": "stdp", "neurons": 256, "pool_words": 16384, "event_depth": 256},
    "1 lane, 16-bit weights": {
        **{"lanes": 1, "learning": "none", "weight_bits": 16},
        **{"neurons": 256, "pool_words": 16384, "event_depth": 256},
    },
    "1 lane, stdp": {"lanes": 1, "learning": "stdp", "neurons": 256, "pool_words": 32768, "event_depth": 256},
    "2 lanes, 64 slots": {
        **{"lanes": 2, "slots": 64, "state_bits": 16, "neurons": 256, "pool_words": 4096, "event_depth": 256},
    },
}
"""Widths and lanes; the first is the large board's core with smaller memories, the last two are small boards' cores that learn by
the serial unit, and that have a long history.
"""


def build(name: str) -> CoreConfig:
    return CoreConfig("custom", **{"slots": 8, "inputs": 128, "program_words": 1024, **BUILDS[name]})


def _module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"beside_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


HERE = Path(__file__).parent
Coverage: Any = _module(HERE / "option_pairs.py").Coverage


def _maker() -> Any:
    return _module(HERE.parents[1] / "compiler" / "spiking" / "conftest.py").GraphMaker


def draw(graph: Graph, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Random inputs [steps, ...]; spikes rare or frequent."""
    share = rng.choice([0.1, 0.3, 0.8])
    out = {}
    for item in graph.inputs:
        shape = (STEPS, *item.value.shape)
        if item.value.type.is_bit:
            out[item.name] = (rng.random(shape) < share).astype(np.int64)
        else:
            out[item.name] = rng.integers(item.range[0], item.range[1] + 1, shape)
    if "reward" in out:
        out["reward"] *= rng.random(STEPS) < 0.5
    return out


class Wrong(AssertionError):
    """The core's answer differs."""


class Bench:
    """Calls for the core with the answers that the model expects of them."""

    def __init__(self, engine: RtlEngine) -> None:
        self.engine = engine
        self.calls: list[tuple[p.Call, bytes | None, str]] = []

    def say(self, calls: p.Call | list[p.Call], expected: bytes | None = None, what: str = "") -> None:
        at = 0
        for call in calls if isinstance(calls, list) else [calls]:
            part = None if expected is None else expected[at : at + call.answer]
            self.calls.append((call, part, what))
            at += call.answer

    def flush(self) -> None:
        calls, self.calls = self.calls, []
        expected = {id(call): (part, what) for call, part, what in calls}
        for batch, data, count in batches([call for call, _, _ in calls], LIMIT):
            answer = self.engine.exchange(data, count)
            if answer is None:
                raise Wrong(f"no answer of {count} bytes")
            at = 0
            for call in batch:
                part, what = expected[id(call)]
                got = answer[at : at + call.answer]
                at += call.answer
                if part is not None and got != part:
                    place = next(n for n, (a, b) in enumerate(zip(got, part, strict=True)) if a != b)
                    start = max(0, place - 8)
                    raise Wrong(
                        f"{what}: byte {place} of {len(part)}: got {got[start : place + 16].hex(' ')}, "
                        f"expected {part[start : place + 16].hex(' ')} (from byte {start})"
                    )


def status_of(core: CoreModel, events: int) -> bytes:
    at = core.at if core.decided else 0
    head = struct.pack("<BBHIII", core.decided << 3, core.saturated, events, core.step, core.cycles, 0)
    return head + struct.pack("<IHH", at, core.winner, 0)


def load(bench: Bench, program: CoreProgram) -> None:
    bench.say(p.zero())
    bench.say(p.write(p.Space.PROGRAM, 0, program.program.astype("<u4").tobytes(), LIMIT))
    bench.say(p.write(p.Space.POOL, 0, layout.pool_bytes(program.pool), LIMIT))
    seed = program.maps.get("seed")
    if program.config.learning != "none":
        bench.say(
            [p.control(p.Control.LFSR, int(seed) if isinstance(seed, int) else 1), p.control(p.Control.REWARD, 0)]
        )
    bench.say(p.control(p.Control.POSITION, 0))


def read_pool(bench: Bench, core: CoreModel, first: int, words: int, what: str) -> None:
    if words:
        width = 4 * core.config.lanes
        data = layout.pool_bytes(core.pool[first : first + words])
        bench.say(p.read(p.Space.POOL, width * first, width * words, LIMIT), data, what)


def history_bytes(core: CoreModel) -> bytes:
    bits = core.history.reshape(core.config.slots, -1, 16)
    return np.packbits(bits.transpose(1, 0, 2), axis=2, bitorder="little").tobytes()


def events_bytes(events: list[tuple[int, int]]) -> bytes:
    return b"".join(struct.pack("<HH", *event) for event in events)


def step_by_step(bench: Bench, program: CoreProgram, inputs: dict[str, np.ndarray], core: CoreModel) -> None:
    """Every step by a command of its own, with currents and rewards; what is small is looked at behind each."""
    maps: Any = program.maps
    config = program.config
    width = 4 * config.lanes
    blocks = list(maps["populations"].items())
    for t in range(STEPS):
        for name, (population, word) in maps["drives"].items():
            place = maps["populations"][population]
            write_word(core, place, word, inputs[name][t])
            for group in range(-(-place["size"] // config.lanes)):
                at = place["base"] + group * place["stride"] + place["words"][word]
                bench.say(p.write(p.Space.POOL, width * at, layout.pool_bytes(core.pool[at : at + 1]), LIMIT))
        if maps["reward"]:
            core.reward = int(inputs[maps["reward"]][t])
            bench.say(p.control(p.Control.REWARD, core.reward))
        spikes = input_spikes(program, inputs, t)
        bench.say(p.inject(np.flatnonzero(spikes) + config.neurons))
        before, core.events = core.events, []
        core.run_step(spikes)
        bench.say(p.go(1, p.Go.CONTINUE if t else 0))
        bench.say(p.query(), config.to_bytes(), f"configuration in step {t}")
        name, place = blocks[t % len(blocks)]
        groups = -(-place["size"] // config.lanes)
        if len(core.events) <= config.event_depth:
            bench.say(p.status(), status_of(core, len(core.events)), f"status after step {t}")
            bench.say(p.drain(len(core.events), LIMIT), events_bytes(core.events), f"events of step {t}")
        read_pool(bench, core, place["base"], groups * place["stride"], f"states of {name} after step {t}")
        core.events = before + core.events


def freely(bench: Bench, program: CoreProgram, inputs: dict[str, np.ndarray], core: CoreModel, stop: bool) -> None:
    """All steps at once from the raster, events drained while the core runs; perhaps stopped by the decision."""
    base, words = write_raster(program, inputs)
    core.pool[base : base + len(words)] = words
    core.position = 0
    width = 4 * program.config.lanes
    bench.say(p.write(p.Space.POOL, width * base, layout.pool_bytes(words), LIMIT))
    for _ in range(STEPS):
        core.run_step(raster=True)
        if stop and core.decided:
            break
    bench.say(p.go(STEPS, p.Go.RASTER | (p.Go.STOP if stop else 0)))
    bench.flush()
    got = b""
    for _ in range(10000):
        if len(got) >= 4 * len(core.events):
            break
        answer = bench.engine.exchange(b"D\x20\0", 128)
        assert answer is not None
        got += b"".join(answer[n : n + 4] for n in range(0, 128, 4) if answer[n : n + 4] != b"\xff" * 4)
    if got != events_bytes(core.events):
        raise Wrong(f"events of a free run: {len(got) // 4} of {len(core.events)}, or others")
    bench.say(p.query(), program.config.to_bytes(), "configuration after a free run")
    bench.flush()
    answer = bench.engine.exchange(b"S", p.STATUS_BYTES)
    assert answer is not None
    expected = bytearray(status_of(core, 0))
    expected[0] |= (stop and core.decided) << 2
    found = bytearray(answer)
    found[12:16] = expected[12:16]  # stalls hang on the host
    if bytes(found) != bytes(expected):
        raise Wrong(f"status after a free run: got {answer.hex(' ')}, expected {bytes(expected).hex(' ')}")


def one(engine: RtlEngine, config: CoreConfig, seed: int, coverage: Coverage, maker: Any) -> bool:
    """Map and run one random network; False when the mapper refuses it."""
    rng = np.random.default_rng([SEED, seed])
    learning = ("none", config.learning, config.learning)[int(rng.integers(3))]
    most = int(rng.integers(2, config.slots))
    random_graph = maker(
        np.random.default_rng([SEED, seed, 1]), max_delay=most, learning=learning, state_bits=config.state_bits
    )
    try:
        graph = random_graph.make()
    except GraphError:  # states of so few bits can not hold its currents
        assert config.state_bits < 24
        coverage.refused["GraphError"] += 1
        return False
    try:
        program = map_graph(graph, config)
    except (DoesNotFitError, UnsupportedError) as refusal:
        coverage.refused[type(refusal).__name__] += 1
        return False
    inputs = draw(graph, rng)
    expected = reference.run(graph, {name: values[None] for name, values in inputs.items()})
    result = run_program(program, inputs)
    for name, values in result.outputs.items():
        np.testing.assert_array_equal(values, expected[name][0], err_msg=f"{name} of the model, network {seed}")
    maps: Any = program.maps
    bench, core = Bench(engine), CoreModel(program)
    load(bench, program)
    raster = maps["raster"] is not None and maps["raster"]["capacity"] >= STEPS
    steps = STEPS
    if raster and not maps["drives"] and not maps["reward"] and rng.random() < 0.4:
        freely(bench, program, inputs, core, bool(maps["decision"]) and rng.random() < 0.5)
        steps = core.step
    else:
        step_by_step(bench, program, inputs, core)
    assert core.cycles == result.cycles[:steps].sum() or raster
    read_pool(bench, core, 0, len(program.pool), "pool")
    bench.say(p.read(p.Space.HIST, 0, len(history_bytes(core)), LIMIT), history_bytes(core), "history")
    bench.flush()
    coverage.note(graph, program)
    coverage.spikes += int(sum(v.sum() for k, v in result.outputs.items() if k.endswith(".spikes")))
    coverage.learnt += sum(bool((v != v[0]).any()) for k, v in result.outputs.items() if k.endswith(".weights"))
    return True


@pytest.fixture(scope="module")
def running(require_tool: Callable[..., Any]) -> Iterator[Callable[..., RtlEngine]]:
    """``running(name, simulator)``: the core of a build, started once."""
    engines: dict[tuple[str, str], RtlEngine] = {}

    def start(name: str, simulator: str = "verilator") -> RtlEngine:
        require_tool("verilator" if simulator == "verilator" else "iverilog")
        if (name, simulator) not in engines:
            engines[name, simulator] = RtlEngine(build(name), simulator, slack=20)
            engines[name, simulator].start()
        return engines[name, simulator]

    yield start
    for engine in engines.values():
        engine.stop()


def many(engine: RtlEngine, name: str, seeds: Iterator[int], count: int, shown: Callable[[str], None]) -> Coverage:
    """``count`` networks that fit."""
    config, maker = build(name), _maker()
    coverage = Coverage(config)
    while coverage.networks < count:
        seed = next(seeds)
        try:
            one(engine, config, seed, coverage, maker)
        except Wrong as error:
            engine.stop()  # it may stand anywhere
            pytest.fail(f"network {seed} of seed {SEED} on {name}: {error}")
    shown(f"{name}, seed {SEED}: {coverage.report()}")
    return coverage


NETWORKS = {"16 lanes, reward": 100, "2 lanes, stdp": 120}


@pytest.mark.parametrize("name", NETWORKS)
def test_random_networks_under_verilator(name: str, running: Callable[..., RtlEngine], shown: Any) -> None:
    """The same networks in every run (unless NEUROLOOM_SEED says otherwise): they meet nearly every pair of options."""
    coverage = many(running(name), name, itertools.count(), NETWORKS[name], shown)
    assert coverage.spikes and coverage.learnt and coverage.decisions and coverage.drives
    assert len(coverage.missing) < 0.03 * len(coverage.legal), sorted(coverage.missing)


@pytest.mark.parametrize(("name", "count"), [("1 lane, stdp", 40), ("2 lanes, 64 slots", 25)])
def test_small_cores_under_verilator(name: str, count: int, running: Callable[..., RtlEngine], shown: Any) -> None:
    coverage = many(running(name), name, itertools.count(500), count, shown)
    assert coverage.spikes and (coverage.learnt or "stdp" not in name)


@pytest.mark.parametrize("name", ["4 lanes, reward", "1 lane, 16-bit weights", "1 lane, stdp", "2 lanes, 64 slots"])
def test_random_networks_under_icarus(name: str, running: Callable[..., RtlEngine], shown: Any) -> None:
    assert many(running(name, "icarus"), name, itertools.count(100), 1, shown).spikes


@pytest.mark.campaign
@pytest.mark.parametrize("name", BUILDS)
def test_campaign(name: str, running: Callable[..., RtlEngine], shown: Any) -> None:
    """Ten thousand networks per build (NEUROLOOM_NETWORKS: another number); every legal pair of options must have been met."""
    count = int(os.environ.get("NEUROLOOM_NETWORKS", "10000"))
    coverage = many(running(name), name, itertools.count(1000), count, shown)
    assert count < ENOUGH or not coverage.missing, sorted(coverage.missing)


ENOUGH = 1000
"""Networks that meet every pair (400 did with seed 1)."""
