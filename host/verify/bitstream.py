"""The bitstream rung: the packed image is unpacked back to logic, simulated, and asked over its own UART pins."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from neuroloom.boards.board import Board
from neuroloom.boards.emulate import check_readable, emulate_bitstream
from neuroloom.compiler.errors import MismatchError
from neuroloom.compiler.ir import Graph
from neuroloom.host.device import connect
from neuroloom.host.flow import build_model, run_model
from neuroloom.sim import reference

from .result import RungResult, vectors_of

TIMEOUT_S = 120.0
"""Longest silence of the simulated chip: it runs some thousand times slower than the real one."""


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

    Raises MismatchError with the first difference, UnsupportedError (before any build) for boards that cannot be read back.
    """
    start = time.monotonic()
    check_readable(board)
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
