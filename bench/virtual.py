"""Clock cycles per second of the virtual board: link shell, a trained network and a whole spiking core, at each fidelity."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from neuroloom.boards.board import Board
from neuroloom.boards.build import BuildResult, build
from neuroloom.boards.emulate import emulate, emulate_bitstream, emulate_netlist
from neuroloom.boards.images import FIDELITIES
from neuroloom.boards.registry import load_board
from neuroloom.boards.virtual import VirtualBoard
from neuroloom.compiler.errors import DoesNotFitError, NeuroloomError
from neuroloom.host.device import connect
from neuroloom.host.engines import Design, engine_of
from neuroloom.host.spiking.flow import core_design, core_of
from neuroloom.rtl.link.protocol import Identity

from bench import place
from bench.benchmark import Benchmark, Say, register
from bench.link import Blocks
from bench.results import table

BOARD = "icebreaker"
SECONDS = 3.0
SEEDS = 3
"""Of place and route at most: the first that is routed is measured."""
TARGETS = {"link shell": {"rtl": 1e6, "bitstream": 200e3}, "core infer": {"rtl": 300e3, "bitstream": 50e3}}
"""Cycles per second asked of the smallest design and of one that fills the UP5K."""


def designs(board: Board) -> dict[str, Callable[[], Design]]:
    """What is measured, by name."""
    identity = Identity("loopback", board.name, bytes(32), 16, 4, board.speed("logic").plan.logic_hz)

    def digits() -> Design:
        graph, _ = place.design("digits", board.name)
        return engine_of(graph).design(graph, board, None)

    return {
        "link shell": lambda: (lambda: Blocks(16, 4), identity),
        "digits": digits,
        "core infer": lambda: core_design(core_of("infer", board), board),
    }


def run(say: Say, seed: int) -> list[dict[str, Any]]:
    """Every design at every fidelity; one that cannot run says why."""
    board, found = load_board(BOARD), []
    for name, make in designs(board).items():
        design = make()
        built = _routed(design, board, seed, lambda text, n=name: say(f"{n}: {text}"))
        for fidelity in FIDELITIES:
            asked = TARGETS.get(name, {}).get(fidelity)
            entry = {"design": name, "fidelity": fidelity, "cells": built.used.get("luts"), "target": asked}
            try:
                entry |= _measure(_virtual(design, board, built.bitstream, fidelity))
                say(f"{name}, {fidelity}: {entry['per_cpu_second']:,.0f} cycles per second of processor time")
            except NeuroloomError as error:
                entry["missing"] = str(error)
                say(f"{name}, {fidelity}: {error}")
            found.append(entry)
    return found


def _routed(design: Design, board: Board, seed: int, progress: Callable[[str], None]) -> BuildResult:
    for number in range(1, SEEDS):
        try:
            return build(*design, board, seeds=(seed + number,), progress=progress)
        except DoesNotFitError as error:
            progress(str(error))
    return build(*design, board, seeds=(seed + SEEDS,), progress=progress)


def _virtual(design: Design, board: Board, image: Path, fidelity: str) -> VirtualBoard:
    if fidelity == "bitstream":
        return emulate_bitstream(image, board)
    return (emulate if fidelity == "rtl" else emulate_netlist)(*design, board)


def _measure(virtual: VirtualBoard) -> dict[str, float]:
    """Cycles while the line is busy both ways, per second of the wall and of the simulation's processor time."""
    with virtual:
        assert virtual.port is not None and virtual._process is not None
        stat = Path(f"/proc/{virtual._process.pid}/stat")

        def cpu() -> float:
            fields = stat.read_text().rpartition(")")[2].split()
            return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

        with connect(virtual.port, timeout=60) as device:
            payload = (bytes(range(256)) * 2)[: device.identity.max_payload]
            device.ping(payload)
            before, used, started = virtual.statistics().cycles, cpu(), time.monotonic()
            while time.monotonic() - started < SECONDS:
                device.ping(payload)
            cycles, wall = virtual.statistics().cycles - before, time.monotonic() - started
            return {"per_second": round(cycles / wall), "per_cpu_second": round(cycles / (cpu() - used))}


def render(found: list[dict[str, Any]]) -> str:
    """One row per design and fidelity."""
    rows = [
        [
            f["design"],
            f["cells"],
            f["fidelity"],
            f"{f['per_second']:,}" if "per_second" in f else f["missing"],
            f"{f['per_cpu_second']:,}" if "per_cpu_second" in f else "-",
            f"{f['target']:,.0f}" if f["target"] else "-",
        ]
        for f in found
    ]
    head = ["design", "logic cells on the UP5K", "fidelity", "cycles/s", "cycles per second of processor time", "asked"]
    return table(head, rows)


register(Benchmark("virtual", "Clock cycles per second of the virtual iCEBreaker, its link busy.", run, render))
