"""Several cores with their exchange in real simulators: random networks shared out over 2 and 4 cores.

Outputs (spikes, membranes, decisions, weights) are those of the graph's reference interpreter, and the cycles of every step those
that the model of the cores predicts; then the same runs freely, with events drained meanwhile.
"""

from __future__ import annotations

import importlib.util
import itertools
import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from neuroloom.compiler.errors import DoesNotFitError, UnsupportedError
from neuroloom.compiler.ir import Graph
from neuroloom.compiler.spiking.cluster_model import run_cluster
from neuroloom.compiler.spiking.core import CoreConfig
from neuroloom.compiler.spiking.lower import lower_network
from neuroloom.compiler.spiking.mapper import map_graph
from neuroloom.compiler.spiking.models import Neuron
from neuroloom.compiler.spiking.network import Network
from neuroloom.host.spiking.rtl_engine import RtlEngine
from neuroloom.host.spiking.session import SpikingDevice
from neuroloom.host.spiking.simulated import simulated_device
from neuroloom.sim import reference

STEPS = 8
SEED = int(os.environ.get("NEUROLOOM_SEED", "1"))
SMALL = {"slots": 8, "inputs": 128, "pool_words": 2048, "program_words": 1024, "learning": "reward", "event_depth": 64}
BUILDS = {
    "2 cores": {"cores": 2, "lanes": 2, "neurons": 48},
    "4 cores": {"cores": 4, "lanes": 4, "neurons": 32},
    "4 small cores": {"cores": 4, "lanes": 1, "neurons": 32},
}


def build(name: str) -> CoreConfig:
    return CoreConfig("custom", **SMALL, **BUILDS[name])


def _maker() -> Any:
    path = Path(__file__).parents[2] / "compiler" / "spiking" / "conftest.py"
    spec = importlib.util.spec_from_file_location("graphs_of_clusters", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.GraphMaker


def draw(graph: Graph, rng: np.random.Generator, samples: int) -> dict[str, np.ndarray]:
    share, out = rng.choice([0.1, 0.3, 0.8]), {}
    for item in graph.inputs:
        shape = (samples, STEPS, *item.value.shape)
        if item.value.type.is_bit:
            out[item.name] = (rng.random(shape) < share).astype(np.int64)
        else:
            out[item.name] = rng.integers(item.range[0], item.range[1] + 1, shape)
    return out


class Truth:
    """What the graph says of some samples: outputs, and plastic weights at the end."""

    def __init__(self, graph: Graph, arrays: dict[str, np.ndarray]) -> None:
        interpreter = reference.Interpreter(graph)
        count = len(next(iter(arrays.values())))
        parts = [interpreter.samples({k: v[n : n + 1] for k, v in arrays.items()}) for n in range(count)]
        self.outputs = {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}
        self.weights = interpreter.persistent


def one(session: SpikingDevice, seed: int, maker: Any, samples: int, met: dict[str, Any]) -> bool:
    """Map and run one random network; False when one core holds it, or none does."""
    rng = np.random.default_rng([SEED, seed])
    learning = ("none", "stdp", "reward")[int(rng.integers(3))]
    graph = maker(np.random.default_rng([SEED, seed, 1]), max_delay=int(rng.integers(2, 8)), learning=learning).make()
    try:
        program = map_graph(graph, session.config)
    except (DoesNotFitError, UnsupportedError):
        return False
    if program.used < 2:
        return False
    arrays = draw(graph, rng, samples)
    truth = Truth(graph, arrays)
    cycles = run_cluster(program, {name: values[0] for name, values in arrays.items()}).cycles

    def equal(got: dict[str, np.ndarray], how: str) -> None:
        for name, values in truth.outputs.items():
            np.testing.assert_array_equal(got[name], values, err_msg=f"{name} {how}, network {seed} of seed {SEED}")
        for name, place in program.maps["projections"].items():
            if place["state"] in truth.weights:
                np.testing.assert_array_equal(session.weights(name), truth.weights[place["state"]], err_msg=f"{seed}")

    session.load(graph)
    equal(session.run(arrays, raster=False, trace=True), "step by step")
    assert not session.facts["stalls"].any()  # the FIFOs have room for all neurons of a core: the prediction is exact
    np.testing.assert_array_equal(session.facts["step_cycles"][0], cycles, err_msg=f"cycles of network {seed}")
    session.load(graph, check=False)
    equal(session.run(arrays), "freely")
    met["networks"] += 1
    met["spikes"] += int(sum(v.sum() for k, v in truth.outputs.items() if k.endswith(".spikes")))
    met["learnt"] += any(k.endswith(".weights") and (v != v[:, :1]).any() for k, v in truth.outputs.items())
    met["levels"] |= {e.level for e in program.maps["exchanges"]}
    met["exchanges"] += len(program.maps["exchanges"])
    met["decisions"] += bool(program.maps["decision"])
    return True


def many(name: str, simulator: str, count: int, seeds: Iterator[int], samples: int = 2) -> dict[str, Any]:
    config, maker = build(name), _maker()
    met: dict[str, Any] = dict.fromkeys(("networks", "spikes", "learnt", "exchanges", "decisions"), 0)
    met["levels"] = set()
    with RtlEngine(config, simulator, slack=20) as engine, simulated_device(config, engine, timeout=60.0) as device:
        session = SpikingDevice(device)
        while met["networks"] < count:
            one(session, next(seeds), maker, samples, met)
    return met


@pytest.mark.parametrize(("name", "count"), [("2 cores", 25), ("4 cores", 14)])
def test_random_networks_under_verilator(name: str, count: int, require_tool: Callable[..., Any], shown: Any) -> None:
    require_tool("verilator")
    met = many(name, "verilator", count, itertools.count())
    shown(f"{name}, seed {SEED}: {met}")
    assert met["spikes"] and met["learnt"] and met["exchanges"] and met["decisions"]
    assert {0, 1} <= met["levels"]


@pytest.mark.parametrize("name", ["2 cores", "4 small cores"])
def test_random_networks_under_icarus(name: str, require_tool: Callable[..., Any]) -> None:
    require_tool("iverilog")
    assert many(name, "icarus", 1, itertools.count(100), samples=1)["exchanges"]


@pytest.mark.campaign
@pytest.mark.parametrize("name", BUILDS)
def test_campaign(name: str, require_tool: Callable[..., Any], shown: Any) -> None:
    """A thousand networks that several cores hold only together (NEUROLOOM_NETWORKS: another number)."""
    require_tool("verilator")
    count = int(os.environ.get("NEUROLOOM_NETWORKS", "1000"))
    shown(f"{name}: {many(name, 'verilator', count, itertools.count(1000))}")


def test_full_fifos_stop_the_cores_and_lose_nothing(require_tool: Callable[..., Any]) -> None:
    """All of 60 neurons spike in every step, with room for 16 events on each core: steps take what is predicted, or less where a
    core went on while another one stalled (those cycles are counted as stalls).
    """
    require_tool("verilator")
    net = Network("loud")
    a = net.population("a", 60, Neuron(threshold=5, leak="none", bias=9, reset="zero"))
    net.connect(net.input("in", 4), a, weights=np.ones((4, 60), int), delay=0)
    net.connect(a, a, weights=np.eye(60, dtype=int)[::-1], delay=1)
    net.record(a, "spikes")
    graph, config = lower_network(net), replace(build("2 cores"), event_depth=16)
    arrays = {"in": np.zeros((1, 40, 4), np.int64)}
    with RtlEngine(config, "verilator", slack=20) as engine, simulated_device(config, engine, timeout=60.0) as device:
        session = SpikingDevice(device)
        program = session.load(graph)
        assert program.used == 2
        assert session.run(arrays)["a.spikes"].all()
        predicted = run_cluster(program, {"in": arrays["in"][0]}).cycles.sum()
        cycles, stalls = session.facts["cycles"][0], session.facts["stalls"][0]
        assert stalls > 0 and cycles <= predicted <= cycles + stalls


def envelope(core: int, data: bytes) -> bytes:
    return b"C" + struct.pack("<BH", core, len(data)) + data


def test_envelopes(require_tool: Callable[..., Any]) -> None:
    """Opcodes reach the core that they are for; bytes and cores that are none do no harm; answers keep their order."""
    require_tool("iverilog")
    config = build("2 cores")
    record = config.to_bytes()

    def write(value: int) -> bytes:
        return b"W" + struct.pack("<BIH", 1, 8, 4) + struct.pack("<I", value)

    read = b"R" + struct.pack("<BIH", 1, 8, 4)
    with RtlEngine(config, "icarus") as engine:
        assert engine.exchange(b"\0xQy", 32) == record
        sent = (
            envelope(0, write(0x11223344))
            + envelope(1, write(0x55667788))
            + envelope(7, write(0x99))
            + envelope(2, b"")
        )
        answers = b"\x44\x33\x22\x11" + b"\x88\x77\x66\x55"
        assert engine.exchange(sent + envelope(0, read) + b"W" + envelope(1, read + b"Q"), 40) == answers + record
        # Everything at once: both write, core 0 is heard.
        assert engine.exchange(envelope(255, write(0xAABBCCDD) + read), 4) == b"\xdd\xcc\xbb\xaa"
        assert engine.exchange(envelope(1, read), 4) == b"\xdd\xcc\xbb\xaa"
        # Cores that are started together stop together, and count the same cycles.
        empty = b"W" + struct.pack("<BIH", 0, 0, 4) + bytes(4)
        assert engine.exchange(envelope(255, empty + b"Z" + b"G" + struct.pack("<IB", 5, 0) + read), 4) is not None
        status = engine.exchange(envelope(0, b"S") + envelope(1, b"S"), 48)
        assert status is not None and status[:24] == status[24:]
        assert struct.unpack_from("<II", status, 4) == (5, 5 * 4)
