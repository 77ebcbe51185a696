"""Gated networks on their engines: cycles, use of the multipliers, and what Yosys makes of the engines."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from neuroloom.boards.registry import all_boards, load_board
from neuroloom.compiler.gated.core import GatedConfig
from neuroloom.compiler.gated.executor import Executor
from neuroloom.compiler.gated.program import compile_program
from neuroloom.compiler.ir import Builder, Graph, Type
from neuroloom.compiler.ir.file import graph_hash
from neuroloom.compiler.wire import pack_samples, unpack_answers
from neuroloom.host.gated.flow import engine_verilog
from neuroloom.host.verify.netlist import synthesise
from neuroloom.sim import reference

from bench.benchmark import Benchmark, Say, register
from bench.results import table

LFADS = {"steps": 73, "inputs": 70, "hidden": 64, "factors": 4}
"""Bidirectional GRU, dense layer, GRU, factors, rates: the network of arXiv 2402.04274 in size."""


def _curve(function: Any, frac: int, bits: int = 10, step: int = 5) -> np.ndarray:
    x = np.arange(-(1 << bits - 1), 1 << bits - 1) / (1 << step)
    return np.rint(function(x) * (1 << frac)).astype(np.int64)


def _requantize(b: Builder, x: str, type_: str, factor: str) -> str:
    return b.node("requantize", [x], type=type_, factor=factor, rounding="half_up", overflow="saturate")


def _cell(b: Builder, x: str | None, h: str, rng: np.random.Generator, bits: int = 16) -> str:
    """A GRU step, linear before reset: x u15.11 or none, h s16.14, weights s16.12, or of fewer bits with as much less fraction."""
    frac = bits - 4
    hidden = b[h].shape[0]

    def weights(size: int) -> np.ndarray:
        return np.clip(
            np.rint(rng.normal(0, (1 << frac) / np.sqrt(hidden), (hidden, size))), -(1 << bits - 1), (1 << bits - 1) - 1
        ).astype(np.int64)

    def sums() -> tuple[str | None, str]:
        bias = np.rint(rng.normal(0, 0.1, hidden) * (1 << frac + 14)).astype(np.int64)
        own = b.node("matvec", [h], weights=weights(hidden), bias=bias, weight_frac=frac)
        given = None if x is None else b.node("matvec", [x], weights=weights(b[x].shape[0]), weight_frac=frac + 3)
        return given, own

    def table_of(v: str, entries: np.ndarray, type_: str) -> str:
        return b.node("table", [v], entries=entries, lo=-512, type=type_)

    def gate() -> str:
        given, own = sums()
        total = own if given is None else b.node("add", [given, own])
        return table_of(
            _requantize(b, total, "s10.5", f"1/{1 << frac + 9}"), _curve(lambda v: 1 / (1 + np.exp(-v)), 14), "u15.14"
        )

    r, z = gate(), gate()
    given, own = sums()
    product = b.node("mul", [r, _requantize(b, own, "s16.12", f"1/{1 << frac + 2}")])
    if given is not None and bits < 16:
        given = _requantize(b, given, "s40.26", str(1 << 16 - bits))
    total = product if given is None else b.node("add", [product, given])
    n = table_of(_requantize(b, total, "s10.5", f"1/{1 << 22}"), _curve(np.tanh, 14), "s16.14")
    rest = b.node("sub", [b.const(np.array(1 << 14), Type(15, False, 14)), z])
    both = b.node("add", [b.node("mul", [rest, n]), b.node("mul", [z, h])])
    return _requantize(b, both, "s16.14", f"1/{1 << 14}")


def gru_step(inputs: int = 64, hidden: int = 64, bits: int = 16) -> Graph:
    """One clocked step of a GRU, states of 16 bits."""
    b = Builder("gru64", clocked=True)
    x = b.input("x", Type(15, False, 11), (inputs,))
    h = b.state(np.zeros(hidden, np.int64), Type(16, True, 14), "sample", name="h")
    new = _cell(b, x, h, np.random.default_rng(0), bits)
    b.update(h, new)
    b.output("h", new)
    return b.finish()


def lfads() -> Graph:
    """The whole auto-encoder, a trial in a call."""
    rng = np.random.default_rng(1)
    steps, inputs, hidden, factors = (LFADS[k] for k in ("steps", "inputs", "hidden", "factors"))
    b = Builder("lfads16")
    xs = b.input("counts", Type(15, False, 11), (steps, inputs))
    zero = b.const(np.zeros(hidden, np.int64), Type(16, True, 14))
    ends = []
    for back in (0, 1):

        def encode(carried: list[str], elements: list[str]) -> tuple[list[str], list[str]]:
            return [_cell(b, elements[0], carried[0], rng)], []

        ends += b.scan(steps, [zero], [xs], encode, reverse=(back,))
    both = b.node("concat", ends, axis=0)
    w = np.rint(rng.normal(0, 300, (hidden, 2 * hidden))).astype(np.int64)
    start = _requantize(b, b.node("matvec", [both], weights=w, weight_frac=12), "s16.14", f"1/{1 << 12}")

    def decode(carried: list[str], elements: list[str]) -> tuple[list[str], list[str]]:
        new = _cell(b, None, carried[0], rng)
        return [new], [new]

    _, states = b.scan(steps, [start], [], decode)
    w = np.rint(rng.normal(0, 500, (factors, hidden))).astype(np.int64)
    found = _requantize(b, b.node("matvec", [states], weights=w, weight_frac=12), "s16.12", f"1/{1 << 14}")
    w = np.rint(rng.normal(0, 2000, (inputs, factors))).astype(np.int64)
    rates = b.node("matvec", [found], weights=w, bias=np.zeros(inputs, np.int64), weight_frac=12)
    address = _requantize(b, rates, "s10.5", f"1/{1 << 19}")
    b.output(
        "rates",
        b.node("table", [address], entries=_curve(lambda v: np.exp(np.minimum(v, 1.3)), 13), lo=-512, type="u15.13"),
    )
    return b.finish()


def products(graph: Graph) -> int:
    """Multiply-accumulates of the matrix products of a run."""
    total = 0
    for node in graph.nodes:
        rounds = node.attrs["count"] if node.op == "scan" else 1
        inner = [node, *(n for region in node.regions for n in region.nodes)]
        for each in inner:
            if each.op == "matvec":
                lead = int(np.prod(each.outputs[0].shape[:-1], dtype=np.int64))
                total += rounds * lead * each.attrs["weights"].size
    return total


NETWORKS = {
    "GRU-64 step, 8-bit weights": (lambda: gru_step(bits=8), (("icebreaker", "lanes8"),)),
    "GRU-64 step": (gru_step, (("ulx3s_85f", "lanes16"), ("ulx3s_85f", "lanes128"))),
    "LFADS": (lfads, (("ulx3s_85f", "lanes16"), ("ulx3s_85f", "lanes128"))),
}
"""Networks, and the profiles they are measured on."""


def profile_of(board: str, name: str) -> GatedConfig:
    """A profile of a board."""
    return next(c for c in load_board(board).gated if c.profile == name)


def measure(say: Say, seed: int) -> list[dict[str, Any]]:
    """Cycles of every network on its engines, answers compared with the reference interpreter."""
    out = []
    for name, (make, engines) in NETWORKS.items():
        graph = make()
        rng = np.random.default_rng(seed)
        shape = graph.inputs[0].value.shape
        x = rng.integers(0, 1 << 13, (2, *shape)) if not graph.clocked else rng.integers(0, 1 << 13, (1, 2, *shape))
        arrays = {graph.inputs[0].name: x}
        want = reference.run(graph, arrays)
        for board, profile in engines:
            config = profile_of(board, profile)
            say(f"{name} on {board} {profile}")
            try:
                program = compile_program(graph, config)
            except Exception as error:  # the reason is what the record keeps
                out.append({"network": name, "board": board, "profile": profile, "reason": str(error)})
                continue
            executor = Executor(program)
            flat = x.reshape(2, *shape)
            runs = []
            for number in range(2):
                sample = pack_samples(graph, {graph.inputs[0].name: flat[number : number + 1]})[0].tobytes()
                run = executor.run(sample, fresh=not (graph.clocked and number))
                answer = unpack_answers(graph, np.frombuffer(run.answer, np.uint8)[None])
                for key, value in answer.items():
                    expected = want[key].reshape(2, *value.shape[1:])[number]
                    assert np.array_equal(value[0], expected), (name, key)
                runs.append(run)
            clock = load_board(board).speed("gated", profile).plan.logic_hz
            cycles = runs[-1].cycles
            out.append(
                {
                    "network": name,
                    "board": board,
                    "profile": profile,
                    "graph_sha256": graph_hash(graph).hex(),
                    "engine_sha256": hashlib.sha256(engine_verilog(config).encode()).hexdigest(),
                    "multipliers": config.multipliers,
                    "cycles": cycles,
                    "clock_mhz": clock / 1e6,
                    "us": cycles / clock * 1e6,
                    "macs": products(graph),
                    "macs_per_multiplier_and_clock": round(products(graph) / cycles / config.multipliers, 3),
                    "weight_rows": len(program.weights),
                    "vector_words": program.used,
                }
            )
    return out


def render(found: list[dict[str, Any]]) -> str:
    """One row per network and engine."""
    rows = []
    for r in found:
        if "reason" in r:
            rows.append([r["network"], r["board"], r["profile"], *[""] * 5, r["reason"]])
            continue
        rows.append(
            [
                r["network"],
                r["board"],
                r["profile"],
                r["multipliers"],
                f"{r['macs']:,}",
                f"{r['cycles']:,}",
                f"{r['us']:,.1f}",
                f"{r['clock_mhz']:g}",
                f"{r['macs_per_multiplier_and_clock']:.3f}",
            ]
        )
    head = [
        "network",
        "board",
        "engine",
        "multipliers",
        "MACs",
        "cycles",
        "µs",
        "at MHz",
        "MACs per multiplier and clock",
    ]
    return table(head, rows)


def cells(say: Say, seed: int) -> list[dict[str, Any]]:
    """What Yosys makes of every board's engines."""
    out = []
    for board in all_boards():
        for config in board.gated:
            say(f"{config.profile} for {board.name}")
            text = engine_verilog(config)
            made = synthesise(text.replace("module neuroloom_gated(", "module top(", 1), board)
            out.append(
                {
                    "board": board.name,
                    "profile": config.profile,
                    "multipliers": config.multipliers,
                    "engine_sha256": hashlib.sha256(text.encode()).hexdigest(),
                    "cells": {k: v for k, v in made.counts.items() if v},
                    "seconds": round(made.seconds, 1),
                }
            )
    return out


def render_cells(found: list[dict[str, Any]]) -> str:
    """One row per engine."""
    rows = [
        [
            r["board"],
            r["profile"],
            r["multipliers"],
            ", ".join(f"{v:,} {k}" for k, v in r["cells"].items()),
            r["seconds"],
        ]
        for r in found
    ]
    return table(["board", "engine", "multipliers", "cells, without the link", "synthesis, s"], rows)


register(Benchmark("gated", "Cycles and multipliers of GRU-64 and a network of LFADS' size.", measure, render))
register(Benchmark("gated_cells", "What Yosys makes of the gated engines.", cells, render_cells))
