"""The written Verilog of a core in someone else's design: a loop closed through its stream ports is the simulator's loop."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from neuroloom.boards import emit
from neuroloom.compiler.spiking.core import CORES, CoreConfig
from neuroloom.compiler.spiking.executor import run_program
from neuroloom.compiler.spiking.mapper import map_graph
from neuroloom.host.cli.app import main
from neuroloom.host.spiking import protocol as p
from neuroloom.host.spiking.flow import CORE_MODULE, core_component
from neuroloom.host.verify.simulators import SIMULATORS
from neuroloom.rtl.spiking.component import STREAMS
from neuroloom.rtl.spiking.pins import SPIKE_PINS, PinEngine
from neuroloom.sim.spiking import Session

import neuroloom as nl

STEPS, MANY, INPUTS, CELLS = 30, 20, 12, 18
CONFIG = CoreConfig(
    "custom", lanes=2, pool_words=256, neurons=64, inputs=32, slots=2, program_words=128, event_depth=8, decision=False
)
PORTS = ("clk", "rst", "event_enable", "idle") + tuple(
    f"{name}_{part}" for name, (_, parts) in STREAMS.items() for part in ("valid", "ready", *parts)
)

PIN_PORTS = ("clk", "rst", "reset", "i__valid", "i__ready", "i__payload", "o__ready", *SPIKE_PINS)


def network() -> nl.Model:
    rng = np.random.default_rng(5)
    net = nl.Network("loop")
    cells = net.input("in", INPUTS)
    a = net.population("a", CELLS, nl.Neuron(threshold=150, leak="multiplicative", beta=58000), record=["spikes"])
    net.connect(cells, a, weights=rng.integers(-30, 90, (INPUTS, CELLS)))
    net.connect(a, a, weights=rng.integers(-40, 40, (CELLS, CELLS)), delay=1)
    return nl.compile(net)


def job_for(program) -> dict:
    """What a testbench is told: bytes that load the network, spikes from outside, which neuron feeds which input."""
    rng = np.random.default_rng(6)
    load = [
        p.zero(),
        *p.write(p.Space.PROGRAM, 0, program.program.astype("<u4").tobytes(), 4096),
        *p.write(p.Space.POOL, 0, np.ascontiguousarray(program.pool, "<u4").tobytes(), 4096),
    ]
    return {
        "seed": 7,
        "load": b"".join(call.data for call in load).hex(),
        "first": CONFIG.neurons,
        "outside": [np.flatnonzero(rng.random(INPUTS) < 0.3).tolist() for _ in range(STEPS)],
        "back": [int(k) for k in rng.permutation(np.arange(CELLS) % INPUTS)] + [-1] * (CONFIG.neurons - CELLS),
        "rates": [1.0, 0.5, 0.1],
        "many": MANY,
    }


def simulate(simulator, verilog, top, bench, ports, job, folder):
    """Run a testbench of tests/cocotb; returns what it wrote."""
    (folder / "job.json").write_text(json.dumps(job))
    (folder / "core.v").write_text(verilog)
    where = Path(__file__).parents[2] / "cocotb"
    environment = {"LOOP_BENCH": str(folder), "PYTHONPATH": f"{where}:{':'.join(x for x in sys.path if x)}"}
    options = {"standard": "2005"} if simulator == "icarus" else {}
    SIMULATORS[simulator](["core.v"], top, bench, folder, seed=1, env=environment, ports=ports, **options)
    return json.loads((folder / "result.json").read_text())


def check_loop(session, job, result):
    """The loop's spikes are the simulator's, step by step; the session stands behind the last step."""
    fed = []
    for step in range(STEPS):
        sources = sorted({*job["outside"][step], *fed})
        assert result["inputs"][step] == sources, step
        row = np.zeros((1, INPUTS), np.int64)
        row[0, sources] = 1
        fired = np.flatnonzero(session.run(row)["a.spikes"][0])
        assert [k for t, k in result["events"] if t == step] == fired.tolist(), step
        fed = [job["back"][k] for k in fired]
    assert len(result["events"]) > 50 and any(fed)


@pytest.mark.parametrize("simulator", ["verilator", "icarus"])
def test_closed_loop_through_the_ports(simulator, require_tool, tmp_path):
    require_tool("verilator" if simulator == "verilator" else "iverilog")
    model = network()
    program = map_graph(model.graph, CONFIG)
    job, session = job_for(program), Session(model.graph)
    assert program.maps["populations"]["a"]["first"] == 0
    result = simulate(simulator, core_component(CONFIG), CORE_MODULE, "spiking_loop_bench", PORTS, job, tmp_path)
    check_loop(session, job, result)
    assert result["drained"] == "ff" * 8  # the ports have them
    after = session.run(np.zeros((MANY, INPUTS), np.int64))["a.spikes"]
    assert result["later"] == [[STEPS + int(t), int(k)] for t, k in np.argwhere(after)]

    # the timing table of docs/spiking-core.md
    raster = np.zeros((STEPS, INPUTS), np.int64)
    for step, sources in enumerate(result["inputs"]):
        raster[step, sources] = 1
    cycles = run_program(program, {"in": raster}).cycles
    quick = [n for n in range(STEPS) if job["rates"][n % 3] == 1.0 and sum(t == n for t, _ in result["events"]) < 8]
    assert {result["busy"][n] - int(cycles[n]) for n in quick} == {BUSY}
    assert set(result["taken"]) <= {1, 3}


BUSY = 2
"""Cycles beside the step's own in which idle is 0."""


def test_the_command_writes_what_was_tested(tmp_path, capsys):
    path = tmp_path / "core.v"
    assert main(["build", "--core", "infer", "--board", "icebreaker", "--verilog", str(path), "--json"]) == 0
    text = path.read_text()
    config = next(c for c in CORES["icebreaker"] if c.profile == "infer")
    assert text == core_component(config)
    assert json.loads(capsys.readouterr().out)["module"] == CORE_MODULE
    assert text.startswith("// neuroloom spiking core, profile infer: 2 lanes, NEURONS = 1024")
    assert "module neuroloom_pool" in text and "module neuroloom_ram" in text


def test_closed_loop_through_pins(require_tool, tmp_path):
    """A partner with its own sense of time, by handshakes alone."""
    require_tool("verilator")
    model = network()
    program = map_graph(model.graph, CONFIG)
    job, session = job_for(program), Session(model.graph)
    engine = PinEngine(CONFIG)
    verilog = emit.to_verilog(engine) + "".join(engine.extra_files.values())
    result = simulate("verilator", verilog, "top", "spike_pins_bench", PIN_PORTS, job, tmp_path)
    check_loop(session, job, result)
    assert result["marks"] == list(range(1, STEPS + 1))
