"""List the boards, or write out one board's facts."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from neuroloom.boards.board import Board
from neuroloom.boards.registry import all_boards, load_board
from neuroloom.compiler.gated.core import GatedConfig
from neuroloom.compiler.spiking.capacity import Capacity, capacity_table

from .ui import Ui


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's options."""
    parser.add_argument("name", metavar="BOARD", nargs="?", help="show this board's pins, clocks and notes")


def _flash(board: Board) -> str:
    """How images get into the board's flash."""
    layout = board.flash.layout
    return "cable only" if layout is None else f"golden and {layout.slots} slot{'s' if layout.slots > 1 else ''}"


def run(args: argparse.Namespace, ui: Ui) -> int:
    """Print the table, or one board."""
    if args.name:
        board = load_board(args.name)
        ui.table(board.title, ("field", "value"), _flat(asdict(board)))
        ui.result(asdict(board))
        return 0
    boards = all_boards()
    rows: list[tuple[str, ...]] = []
    for b in boards:
        speed, r = b.speed("logic"), b.resources
        rows.append(
            (
                b.name,
                b.title,
                b.support,
                f"{r.luts:,} x LUT{r.lut_inputs}",
                f"{(r.bram_bits + r.spram_bits) / 1024:,.0f}",
                f"{r.dsps}",
                f"{speed.plan.logic_hz / 1e6:g}",
                f"{speed.baud / 1e6:g}",
                _flash(b),
            )
        )
    ui.table("", ("board", "title", "support", ">logic", ">memory kbit", ">DSP", ">MHz", ">Mbaud", "flash"), rows)
    cores = capacity_table()
    ui.table("\nspiking cores", CORE_COLUMNS, [_core(c) for c in cores])
    engines = [(b, c) for b in boards for c in b.gated]
    ui.table("\ngated engines", GATED_COLUMNS, [_engine(b, c) for b, c in engines])
    ui.result([{**asdict(b), "cores": [asdict(c) for c in cores if c.board == b.name]} for b in boards])
    return 0


CORE_COLUMNS = (
    *(
        "board",
        "profile",
        ">cores",
        ">neurons",
        ">inputs",
        ">delay",
        ">weight bits",
        ">dense synapses",
        ">learning",
        ">compressed",
    ),
    ">with eligibility",
)
"""Synapses are those when all neurons are used and every synapse is of that kind."""


GATED_COLUMNS = (
    *(
        "board",
        "profile",
        ">lanes",
        ">multipliers",
        ">weights",
        ">weight bits",
        ">word bits",
        ">vector words",
        ">table words",
    ),
    ">MHz",
)


def _engine(board: Board, c: GatedConfig) -> tuple[str, ...]:
    sizes = (c.lanes, c.multipliers, c.weight_rows * c.lanes, c.weight, c.word, c.vector_words, c.table_words)
    clock = board.speed("gated", c.profile).plan.logic_hz
    return (board.name, c.profile, *(f"{size:,}" for size in sizes), f"{clock / 1e6:g}")


def _core(c: Capacity) -> tuple[str, ...]:
    counts = [c.dense, c.plastic, c.compressed, c.eligible]
    kinds = ["" if n is None else f"{n:,}" for n in counts]
    return (
        c.board,
        c.profile,
        f"{c.cores}",
        f"{c.neurons:,}",
        f"{c.inputs:,}",
        f"{c.delay}",
        f"{c.weight_bits}",
        *kinds,
    )


def _flat(data: dict, prefix: str = "") -> list[tuple[str, str]]:
    rows = []
    for key, value in data.items():
        if isinstance(value, dict):
            rows += _flat(value, f"{prefix}{key}.")
        elif isinstance(value, (list, tuple)):
            rows.append((prefix + key, "; ".join(map(str, value))))
        else:
            rows.append((prefix + key, str(value)))
    return rows
