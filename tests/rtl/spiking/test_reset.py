"""RESET of the link while the core runs, or between two bytes of an opcode: program stays, and the next run is a whole one."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from neuroloom.compiler.spiking.core import CoreConfig, CoreProgram
from neuroloom.compiler.spiking.executor import run_program
from neuroloom.compiler.spiking.image import write_raster
from neuroloom.compiler.spiking.lower import lower_network
from neuroloom.compiler.spiking.mapper import map_graph
from neuroloom.compiler.spiking.models import Neuron
from neuroloom.compiler.spiking.network import Network
from neuroloom.compiler.spiking.plasticity import Learning

STEPS = 4
CONFIG = CoreConfig("custom", slots=4, pool_words=1024, neurons=64, inputs=32, learning="stdp", program_words=256)


def program() -> CoreProgram:
    """Dense and compressed rows, both learning."""
    rng = np.random.default_rng(5)
    net = Network("reset")
    cells = net.input("in", 20)
    a = net.population("a", 24, Neuron(threshold=40, leak="multiplicative", beta=60000))
    rule = Learning(pre_decay=60000, post_decay=55000, pre_step=20000, post_step=15000, w_min=-60, w_max=60, f=12)
    net.connect(cells, a, weights=rng.integers(-10, 40, (20, 24)), delay=0, plasticity=rule)
    pre, post = rng.integers(0, 24, 30), rng.integers(0, 24, 30)
    pre, post = np.unique(np.stack([pre, post]), axis=1)
    net.connect(a, a, pre=pre, post=post, weights=rng.integers(-10, 40, len(pre)), delay=2, plasticity=rule)
    net.record(a, "spikes")
    return map_graph(lower_network(net), CONFIG)


@pytest.mark.parametrize(
    ("tail", "wait"),
    [(b"", 3), (b"", 40), (b"", 333), (b"", 1501), (b"W\x01\0\0", 20), (b"R\x01\0\0\0\0\x40", 20)],
)
def test_reset_in_the_middle(
    tail: bytes, wait: int, session: Any, simulate: Callable[..., None], require_tool: Callable[..., Any]
) -> None:
    require_tool("iverilog")
    mapped = program()
    inputs = {"in": (np.random.default_rng(1).random((STEPS, 20)) < 0.4).astype(np.int64)}
    base, words = write_raster(mapped, inputs)
    pool = np.zeros((base + len(words), CONFIG.lanes), np.uint32)
    pool[: len(mapped.pool)], pool[base:] = mapped.pool, words
    control = struct.pack("<iII", 0, int(mapped.maps["seed"] or 1), 0)

    s = session(CONFIG)
    s.zero()
    s.load_program([int(w) for w in mapped.program])
    s.load_pool(0, pool.tolist())
    s.write(3, 0, control)
    if not tail:
        s.sent += b"G" + struct.pack("<IB", 100000, 1)  # would take longer than the simulation's limit
    s.sent += tail
    after = len(s.sent)
    s.zero()
    s.load_pool(0, pool.tolist())
    s.write(3, 0, control)
    s.read_program()
    result = run_program(mapped, inputs, raster=True)
    core = result.core
    s.sent += b"G" + struct.pack("<IB", STEPS, 1)
    s.wait()
    s.sent += b"S"
    head = struct.pack("<BBHIII", 0, core.saturated, len(core.events), STEPS, core.cycles, 0)
    s.expect(head + bytes(8), "status")
    s.sent += b"D" + struct.pack("<H", len(core.events))
    s.expect(b"".join(struct.pack("<HH", *event) for event in core.events), "events")
    s.model.pool = core.pool.tolist()
    s.read_pool(0, base)
    simulate(s, limit=400_000, reset=(after, wait))
