"""The bitstream rung: the packed image is unpacked back to logic, simulated, and asked over its own UART pins."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path

import numpy as np
from neuroloom.boards.board import Board
from neuroloom.boards.flows import FLOWS
from neuroloom.boards.ice40 import Unpacked, read_pcf, unpack
from neuroloom.boards.virtual import VirtualBoard
from neuroloom.compiler.errors import InputError, MismatchError
from neuroloom.compiler.ir import Graph
from neuroloom.host.device import connect
from neuroloom.host.flow import build_model, run_model
from neuroloom.sim import reference

from .result import RungResult, vectors_of

TIMEOUT_S = 120.0
"""Longest silence of the simulated chip: it runs some thousand times slower than the real one."""


def unpack_for(board: Board, image: bytes | Path) -> Unpacked:
    """The image as logic with the board's port names; checks that its PLL makes the board's clock.

    Raises InputError when it does not, or the board's family has no unpacker.
    """
    if board.family != "ice40":
        raise InputError(
            f"only iCE40 bitstreams can be unpacked and run, {board.name} is {board.family}; verify to netlist"
        )
    pins = read_pcf(FLOWS[board.family].constraints(board, "logic"))
    chip = unpack(image, package=board.package, pcf=pins)
    plan = board.speed("logic").plan
    ratio = Fraction(plan.logic_hz, plan.input_hz)
    found = [r for pll in chip.plls for r in pll.ratio.values()] or [Fraction(1)]
    if ratio not in found:
        text = ", ".join(f"{float(r * plan.input_hz) / 1e6:g}" for r in found)
        raise InputError(f"the bitstream's clock must be {plan.logic_hz / 1e6:g} MHz for {board.name}, not {text} MHz")
    return chip


def _wrapper(chip: Unpacked, board: Board) -> str:
    """A module ``top`` with the virtual board's ports around the unpacked chip; unused pins stay as the board has them."""
    leds = len(board.leds.pins)
    connections = []
    for port in chip.ports.values():
        known = port.name in ("clk", "rx", "tx") or port.name.startswith("leds[")
        if port.input:
            connections.append(f".{port.input}({port.name if port.name in ('clk', 'rx') else _PULLED_UP})")
        if port.output:
            connections.append(f".{port.output}({port.name if known else ''})")
        if port.enable:
            connections.append(f".{port.enable}()")
    body = ",\n    ".join(connections)
    header = f"module top (input clk, input rx, output tx, output [{leds - 1}:0] leds);"
    return f"{header}\n  {chip.module} chip (\n    {body}\n  );\nendmodule\n"


_PULLED_UP = "1'b1"
"""What an input pin reads that nothing drives."""


def emulate_bitstream(
    image: bytes | Path,
    board: Board,
    *,
    seed: int = 1,
    pace: bool = False,
    progress: Callable[[str], None] | None = None,
) -> VirtualBoard:
    """A virtual board that runs the logic of a packed image; not started yet."""
    if isinstance(image, Path) and not image.is_file():
        raise InputError(f"{image} does not exist; build it with: neuroloom build M.nloom --board {board.name}")
    if progress:
        progress("unpacking the bitstream")
    chip = unpack_for(board, image)
    speed = board.speed("logic")
    files = {"chip.v": chip.verilog, "top.v": _wrapper(chip, board)}
    return VirtualBoard(files, "top", speed.plan.logic_hz, speed.baud, seed=seed, pace=pace, progress=progress)


def check(
    graph: Graph,
    vectors: Mapping[str, np.ndarray] | np.ndarray,
    *,
    board: Board,
    seed: int = 1,
    limit: int | None = None,
    register_interval: int | None = None,
    image: Path | None = None,
    progress: Callable[[str], None] | None = None,
) -> RungResult:
    """Build (or take ``image``), unpack, simulate, and compare answers over the UART with the reference interpreter.

    Raises MismatchError with the first difference.
    """
    start = time.monotonic()
    arrays = vectors_of(graph, vectors, limit)
    if image is None:
        image = build_model(graph, board.name, register_interval=register_interval, progress=progress).bitstream
    want = reference.run(graph, arrays)
    with emulate_bitstream(image, board, seed=seed, progress=progress) as chip:
        assert chip.port is not None
        with connect(chip.port, timeout=TIMEOUT_S) as device:
            got = run_model(graph, device, arrays)
        facts = chip.statistics()
    compare(want, got, f"bitstream {image.name}", seed)
    count = len(next(iter(arrays.values())))
    detail = f"{image.name} unpacked and run at {facts.cycles_per_second / 1e3:,.0f} k cycles/s, over its UART pins"
    return RungResult("bitstream", True, count, facts.cycles, detail, time.monotonic() - start)


def compare(want: Mapping[str, np.ndarray], got: Mapping[str, np.ndarray], what: str, seed: int | None = None) -> None:
    """Raise MismatchError naming the first different output, index and both values."""
    for name, expected in want.items():
        differ = np.argwhere(expected != got[name])
        if len(differ):
            at = tuple(int(i) for i in differ[0])
            replay = f"; replay it with seed {seed} and samples up to number {at[0]}" if seed is not None else ""
            raise MismatchError(
                f"{what} disagrees with the graph in {len(differ)} integers, first at output {name!r}{list(at)}: "
                f"{int(got[name][at])}, the graph says {int(expected[at])}{replay}"
            )
