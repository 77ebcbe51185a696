"""The verification ladder: every rung is compared with the graph on the same samples."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from neuroloom.boards import process
from neuroloom.boards.board import Board
from neuroloom.compiler.errors import InputError, MissingToolError, UnsupportedError
from neuroloom.compiler.ir import Graph, verify
from neuroloom.host.engines import engine_of
from neuroloom.host.flow import board_of, interval_for
from neuroloom.sim import reference
from neuroloom.sim.engines import fast_engine

from . import bitstream, rtl
from .bitstream import compare
from .result import RungResult, vectors_of


@dataclass(frozen=True)
class Context:
    """What rungs share: the graph, the samples as the graph's integers, the target and how to report progress."""

    graph: Graph
    arrays: dict[str, np.ndarray]
    board: Board | None
    register_interval: int
    seed: int
    limit: int | None
    port: str | None
    image: Path | None
    port_options: Mapping[str, Any]
    progress: Callable[[str], None] | None

    def need_board(self, rung: str) -> Board:
        """The board, which this rung cannot do without."""
        if self.board is None:
            raise InputError(f"the {rung} rung must be given a board with --board")
        return self.board


def _graph(c: Context) -> RungResult:
    """The interpreter runs the verified graph; chunked execution must not change a bit."""
    start = time.monotonic()
    verify(c.graph)
    count = len(next(iter(c.arrays.values())))
    sample = {k: v[: min(count, 256)] for k, v in c.arrays.items()}
    compare(reference.run(c.graph, sample), reference.run(c.graph, sample, chunk=7), "the chunked interpreter")
    return RungResult(
        "graph", True, count, 0, "verified; the reference interpreter is the definition", time.monotonic() - start
    )


def _fast(c: Context) -> RungResult:
    start = time.monotonic()
    count = len(next(iter(c.arrays.values())))
    try:
        engine = fast_engine(c.graph)
    except UnsupportedError as e:
        return RungResult("fast", True, 0, 0, f"not used for this graph: {e}", time.monotonic() - start)
    compare(reference.run(c.graph, c.arrays), engine.run(c.arrays), "the fast engine")
    return RungResult("fast", True, count, 0, engine.describe(), time.monotonic() - start)


def _rtl(c: Context) -> RungResult:
    lut_size = c.board.resources.lut_inputs if c.board else 4
    return rtl.check(
        c.graph, c.arrays, register_interval=c.register_interval, lut_size=lut_size, seed=c.seed, limit=c.limit
    )


def _netlist(c: Context) -> RungResult:
    from . import netlist

    return netlist.check(
        c.graph,
        c.arrays,
        board=c.need_board("netlist"),
        register_interval=c.register_interval,
        seed=c.seed,
        limit=c.limit,
    )


def _bitstream(c: Context) -> RungResult:
    return bitstream.check(
        c.graph,
        c.arrays,
        board=c.need_board("bitstream"),
        seed=c.seed,
        limit=c.limit,
        register_interval=c.register_interval,
        image=c.image,
        progress=c.progress,
    )


def _board(c: Context) -> RungResult:
    from neuroloom.host.device import connect
    from neuroloom.host.flow import run_model

    if not c.port:
        raise InputError("the board rung must be given its serial port with --port")
    start = time.monotonic()
    arrays = vectors_of(c.graph, c.arrays, c.limit)
    with connect(c.port, **c.port_options) as device:
        name = device.identify().board
        got = run_model(c.graph, device, arrays)
    compare(reference.run(c.graph, arrays), got, f"board {name}")
    count = len(next(iter(arrays.values())))
    return RungResult("board", True, count, 0, f"{name} on {c.port}", time.monotonic() - start)


RUNGS: dict[str, Callable[[Context], RungResult]] = {
    "graph": _graph,
    "fast": _fast,
    "rtl": _rtl,
    "netlist": _netlist,
    "bitstream": _bitstream,
    "board": _board,
}
"""Rungs from the bottom up."""


def _core_rtl(c: Context) -> RungResult:
    from . import spiking

    return spiking.check(c.graph, c.arrays, board=c.board, limit=c.limit)


def _core_netlist(c: Context) -> RungResult:
    from . import spiking_netlist

    return spiking_netlist.check(c.graph, c.arrays, board=c.need_board("netlist"), limit=c.limit)


def _core_bitstream(c: Context) -> RungResult:
    from . import spiking_bitstream

    return spiking_bitstream.check(
        c.graph,
        c.arrays,
        board=c.need_board("bitstream"),
        seed=c.seed,
        limit=c.limit,
        image=c.image,
        progress=c.progress,
    )


def _gated_rtl(c: Context) -> RungResult:
    from . import gated

    return gated.check(c.graph, c.arrays, board=c.board, limit=c.limit)


def _gated_netlist(c: Context) -> RungResult:
    from . import gated_netlist

    return gated_netlist.check(c.graph, c.arrays, board=c.need_board("netlist"), limit=c.limit)


def _gated_bitstream(c: Context) -> RungResult:
    return bitstream.check(
        *(c.graph, c.arrays),
        board=c.need_board("bitstream"),
        seed=c.seed,
        limit=c.limit,
        image=c.image,
        progress=c.progress,
    )


RUNGS_OF: dict[str, dict[str, Callable[[Context], RungResult]]] = {
    "logic": RUNGS,
    "spiking": {**RUNGS, "rtl": _core_rtl, "netlist": _core_netlist, "bitstream": _core_bitstream},
    "gated": {**RUNGS, "rtl": _gated_rtl, "netlist": _gated_netlist, "bitstream": _gated_bitstream},
}
"""Rungs by the name of the graph's engine (``host/engines.py``)."""

HARDWARE_LIMIT = 2000
"""Samples that rungs with a hardware simulator take unless told otherwise."""


def climb(
    graph: Graph,
    inputs: Mapping[str, np.ndarray] | np.ndarray,
    *,
    to: str = "rtl",
    board: str | None = None,
    register_interval: int | None = None,
    seed: int = 1,
    limit: int | None = HARDWARE_LIMIT,
    port: str | None = None,
    image: Path | None = None,
    port_options: Mapping[str, Any] | None = None,
    skip_missing: bool = False,
    jobs: int | None = None,
    progress: Callable[[str], None] | None = None,
    on_rung: Callable[[RungResult], None] | None = None,
) -> list[RungResult]:
    """Climb from ``graph`` to the rung ``to``; raises MismatchError with the first difference.

    ``limit`` bounds the samples of the rungs that simulate hardware (graph and fast take all; the slow rungs of spiking cores
    take the first samples). The bitstream rung is refused for boards without an unpacker, and the board rung is run only as the
    goal. ``jobs`` of the rungs that simulate hardware run at once (default: one per core); what they find is reported from the
    bottom up. With ``skip_missing`` a rung whose tool is absent is reported (``ok`` False, the install command in ``detail``)
    instead of raising MissingToolError.
    """
    if to not in RUNGS:
        raise InputError(f"--to must be one of {', '.join(RUNGS)}, not {to!r}")
    target = board_of(graph, board) if board or graph.records.get("board") else None
    if register_interval is None:
        register_interval = interval_for(target)
    arrays = vectors_of(graph, inputs)
    context = Context(graph, arrays, target, register_interval, seed, limit, port, image, port_options or {}, progress)
    names = [to] if to == "board" else list(RUNGS)[: list(RUNGS).index(to) + 1]
    rungs = RUNGS_OF[engine_of(graph).name]
    results = []
    with _started(names, rungs, context, jobs) as outcome:
        for name in names:
            try:
                result = outcome[name]()
            except MissingToolError as e:
                if not skip_missing:
                    raise
                result = RungResult(name, False, 0, 0, f"skipped: {e}", 0.0)
            results.append(result)
            if on_rung:
                on_rung(result)
    return results


SLOW = ("bitstream", "rtl", "netlist")
"""Rungs that simulate hardware, in the order in which they are begun: the one that takes longest first."""


@contextmanager
def _started(
    names: Sequence[str], rungs: Mapping[str, Callable[[Context], RungResult]], context: Context, jobs: int | None
) -> Iterator[dict[str, Callable[[], RungResult]]]:
    """How to get each rung's result: slow ones run in the background from the moment the quick ones are done.

    When the caller leaves early, with a difference or an interrupt, tools that still run are killed.
    """

    def climb_one(name: str) -> RungResult:
        if context.progress:
            context.progress(f"verifying: {name}")
        return rungs[name](context)

    slow = [name for name in SLOW if name in names]
    tools = process.Scope()
    pool = ThreadPoolExecutor(max_workers=max(1, jobs or os.cpu_count() or 1))
    futures: dict[str, Any] = {}

    def later(name: str) -> RungResult:
        if not futures:  # the quick rungs have passed
            futures.update({each: pool.submit(tools.within(climb_one, each)) for each in slow})
        return futures[name].result()  # type: ignore[no-any-return]

    try:
        yield {name: partial(later if name in slow else climb_one, name) for name in names}
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        tools.end()
        raise
    finally:
        pool.shutdown()
