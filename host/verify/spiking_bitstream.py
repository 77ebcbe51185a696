"""The rung "bitstream" of spiking networks: the core's packed image, unpacked, loaded and run over its own UART pins."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from neuroloom.boards.board import Board
from neuroloom.boards.emulate import check_readable, emulate_bitstream
from neuroloom.compiler.ir import Graph
from neuroloom.host.device import connect
from neuroloom.host.flow import build_core
from neuroloom.host.spiking.session import SpikingDevice

from .bitstream import TIMEOUT_S
from .result import RungResult, vectors_of
from .spiking import drive, program_for

SAMPLES, STEPS = 1, 40
"""Samples, and steps of each, at most: the simulated chip makes a few tens of thousands of clock cycles a second."""
PLACE_SEED = 1
"""Place and route with one seed is enough for a check of the logic."""


def check(
    graph: Graph,
    vectors: Mapping[str, np.ndarray] | np.ndarray,
    *,
    board: Board,
    seed: int = 1,
    limit: int | None = None,
    image: Path | None = None,
    progress: Callable[[str], None] | None = None,
) -> RungResult:
    """Build the smallest core that holds the network (or take ``image``), unpack, simulate, load and run it by the host.

    What is compared is what the rung "rtl" compares. Raises MismatchError with the first difference, UnsupportedError (before any
    build) for boards that cannot be read back, DoesNotFitError, and what a build raises.
    """
    start = time.monotonic()
    check_readable(board)
    arrays = {name: a[:SAMPLES, :STEPS] for name, a in vectors_of(graph, vectors, limit).items()}
    if image is None:
        profile = program_for(graph, board).config.profile
        image = build_core(profile, board.name, seeds=(PLACE_SEED,), progress=progress).bitstream
    with emulate_bitstream(image, board, seed=seed, progress=progress) as chip:
        assert chip.port is not None
        with connect(chip.port, timeout=TIMEOUT_S) as device:
            session = SpikingDevice(device)
            profile = session.config.profile
            drive(graph, session.map(graph), arrays, session, f"core {profile!r} of bitstream {image.name}")
        facts = chip.statistics()
    count, steps = next(iter(arrays.values())).shape[:2]
    detail = (
        f"{image.name} unpacked and run at {facts.cycles_per_second / 1e3:,.0f} k cycles/s: core {profile!r} loaded, run and read "
        f"back over its UART pins, {steps} steps"
    )
    return RungResult("bitstream", True, count, facts.cycles, detail, time.monotonic() - start)
