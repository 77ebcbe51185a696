"""The byte adapter in a simulator: packing, order, latency, back-pressure, reset, and that unread bits cost nothing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from neuroloom.boards import emit
from neuroloom.compiler import wire
from neuroloom.compiler.ir import Builder, Type
from neuroloom.host.verify.result import random_vectors
from neuroloom.host.verify.simulators import SIMULATORS
from neuroloom.rtl.logic.adapter import LogicAdapter
from neuroloom.rtl.logic.engine import LogicEngine, plan
from neuroloom.sim import reference

PORTS = ("clk", "rst", "reset", "i__valid", "i__ready", "i__payload", "o__valid", "o__ready", "o__payload")


def tiny():
    """Less than a byte in and out."""
    b = Builder("tiny")
    x = b.input("x", Type(3), ())
    b.output("y", b.node("compare", [x], indices=np.array([0], np.int32), thresholds=np.array([3])))
    return b.finish()


def sparse():
    """Reads two bits of every third byte, so that shift registers move with some bytes only; answers of several bytes."""
    b = Builder("sparse")
    x = b.input("x", Type(8), (60,))
    high = b.node("gather", [x], indices=np.arange(0, 60, 3), axis=0)
    v = b.node(
        "compare", [high], indices=np.repeat(np.arange(20), 2).astype(np.int32), thresholds=np.tile([64, 192], 20)
    )
    b.output("bits", v)
    b.output("sums", b.node("group_sum", [v], offsets=np.array([0, 20, 40]), indices=np.arange(40, dtype=np.int32)))
    return b.finish()


@pytest.mark.parametrize("name", ["tiny", "sparse", "network"])
def test_bytes_in_and_out(name, network, tmp_path: Path, require_tool):
    require_tool("iverilog")
    graph = {"tiny": tiny, "sparse": sparse, "network": lambda: network(5, inputs=9, hi=16)}[name]()
    arrays = random_vectors(graph, 12, 3)
    adapter = LogicAdapter(LogicEngine(plan(graph, 2)))
    samples = wire.pack_samples(graph, arrays)
    answers = wire.pack(wire.answer_fields(graph), reference.run(graph, arrays))
    assert (samples.shape[1], answers.shape[1]) == (adapter.bytes_in, adapter.bytes_out)
    if name == "sparse":
        assert adapter.stored_bits == 40

    job = {"samples": samples.tolist(), "answers": answers.tolist(), "seed": 11}
    (tmp_path / "job.json").write_text(json.dumps(job))
    files = {"top.v": emit.to_verilog(adapter), **adapter.extra_files}
    for file, text in files.items():
        (tmp_path / file).write_text(text)
    here = Path(__file__).parents[2] / "cocotb"
    environment = {"BYTE_BENCH": str(tmp_path), "PYTHONPATH": str(here)}
    SIMULATORS["icarus"](list(files), "top", "byte_stream_bench", tmp_path, seed=1, env=environment, ports=PORTS)
    result = json.loads((tmp_path / "result.json").read_text())
    assert result.pop("latency") == adapter.engine.latency + 2
    assert result == dict.fromkeys(result, True) and len(result) == 5


def test_bits_that_nothing_reads_are_not_stored():
    b = Builder("pixels")
    x = b.input("x", Type(8), (784,))
    b.output("y", b.node("compare", [x], indices=np.arange(784, dtype=np.int32), thresholds=np.full(784, 128)))
    adapter = LogicAdapter(LogicEngine(plan(b.finish(), 1)))
    emit.to_rtlil(adapter)
    assert (adapter.bytes_in, adapter.bytes_out, adapter.stored_bits) == (784, 98, 784)


def test_mnist_size_elaborates(network):
    adapter = LogicAdapter(LogicEngine(plan(network(1, inputs=784, hi=255, compares=2000, layers=(500,)), 3)))
    assert adapter.bytes_in == 784 and adapter.stored_bits <= 6272
    assert "module" in emit.to_rtlil(adapter)
