"""What commands tell of a network on a gated engine, and the options that choose the engine."""

from __future__ import annotations

import argparse
import re
from typing import Any

import numpy as np
from neuroloom.boards.board import Board
from neuroloom.compiler.errors import DoesNotFitError, InputError, UnsupportedError
from neuroloom.compiler.gated.program import compile_program
from neuroloom.compiler.ir import Graph
from neuroloom.host.gated.choose import choose_config

from .ui import Ui

_UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}


def add_target(parser: argparse.ArgumentParser) -> None:
    """--engine and what a gated engine is folded for."""
    group = parser.add_argument_group("the gated engine")
    group.add_argument(
        "--engine", choices=("auto", "gated"), default="auto", help="gated: folded lanes, whatever the network"
    )
    group.add_argument("--lanes", type=int, metavar="N", help="multiply-accumulate lanes of the gated engine")
    group.add_argument("--max-dsp", type=int, metavar="N", help="multipliers at most")
    group.add_argument(
        "--max-lut",
        type=int,
        metavar="N",
        help="lookup tables of the engine at most, link apart, by synthesis (minutes)",
    )
    group.add_argument(
        "--latency", metavar="TIME", help="longest time of a run, such as 500us; the fewest lanes that reach it"
    )


def target_of(args: argparse.Namespace) -> dict[str, Any] | None:
    """The target on the command line, as the graph's record; None when nothing asks for the gated engine."""
    target: dict[str, Any] = {}
    for key in ("lanes", "max_dsp", "max_lut"):
        value = getattr(args, key)
        if value is not None:
            if value < 1:
                raise InputError(f"--{key.replace('_', '-')} must be at least 1, not {value}")
            target[key] = value
    if args.latency is not None:
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|ms|us|ns)", args.latency)
        if not match or float(match[1]) <= 0:
            raise InputError(f"--latency must be a time such as 500us, not {args.latency!r}")
        target["latency_s"] = float(match[1]) * _UNITS[match[2]]
    return target if target or args.engine == "gated" else None


def program_facts(graph: Graph, board: Board | None, ui: Ui) -> dict[str, Any]:
    """Say which engine holds the network, what it fills, and its cycles; returns them JSON-able, or why there are none."""
    try:
        config = choose_config(graph, board)
    except (UnsupportedError, DoesNotFitError) as error:
        ui.say(f"gated engine: {error}")
        return {"reason": str(error)}
    program = compile_program(graph, config)
    least, most = program.cycles
    span = f"{least:,}" if least == most else f"{least:,} to {most:,}"
    ui.say(
        f"gated engine {config.profile!r}: {config.lanes} lanes, {config.multipliers} multipliers; {span} cycles per run"
    )
    ui.say(
        f"  weights {len(program.weights):,} of {config.weight_rows:,} rows, vector memory {program.used:,} of "
        f"{config.vector_words:,} words, tables {len(program.tables):,} of {config.table_words:,}, program {len(program.words):,} "
        f"of {config.program_words:,} words"
    )
    for remark in program.remarks:
        ui.say(f"  {remark}")
    return {
        "engine": config.profile,
        "lanes": config.lanes,
        "multipliers": config.multipliers,
        "cycles": [least, most],
        "weight_rows": len(program.weights),
        "vector_words": program.used,
        "table_words": len(program.tables),
        "program_words": len(program.words),
        "remarks": list(program.remarks),
    }


def distribution(cycles: np.ndarray) -> str:
    """The cycles of many runs in one line."""
    flat = np.sort(cycles.ravel())
    if flat[0] == flat[-1]:
        return f"{flat[0]:,} cycles in every run"
    places = ", ".join(f"{q} % {int(np.percentile(flat, q)):,}" for q in (10, 50, 90))
    return f"{flat.mean():,.1f} cycles on average, {flat[0]:,} to {flat[-1]:,} ({places})"
