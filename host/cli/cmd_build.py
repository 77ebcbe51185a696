"""Build a board's bitstream, or write the core as Verilog for a design of your own."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

from neuroloom.boards.build import BuildResult
from neuroloom.compiler.errors import InputError
from neuroloom.compiler.ir.file import write_atomically
from neuroloom.host.flow import board_of, build_model, core_verilog, schedule_model

from .common import add_model, open_model
from .ui import Ui


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's options."""
    add_model(parser)
    parser.add_argument("--board", metavar="B", help="see 'neuroloom boards' (default: the one compiled for)")
    parser.add_argument(
        "-o", "--output", metavar="DIR", help="folder for the bitstream and reports (default: build/BOARD)"
    )
    parser.add_argument(
        "--seeds", metavar="S,S,..", default="1,2,3", help="place-and-route seeds, all reported (default 1,2,3)"
    )
    parser.add_argument("--register-interval", type=int, metavar="R", help="LUT levels between pipeline registers")
    parser.add_argument("--no-cache", action="store_true", help="run every tool again")
    parser.add_argument(
        "--verilog", metavar="CORE.v", help="write only the core: one Verilog module with documented stream ports"
    )


def run(args: argparse.Namespace, ui: Ui) -> int:
    """Build and print; exit code 1 when timing is not met."""
    model = open_model(args, ui, **({"board": args.board} if args.board and args.model.endswith(".onnx") else {}))
    if args.verilog:
        return _verilog(args, model.graph, ui)
    board = board_of(model.graph, args.board)
    try:
        seeds = [int(s) for s in args.seeds.split(",")]
    except ValueError:
        raise InputError(f"--seeds must be integers with commas between, not {args.seeds!r}") from None
    folder = Path(args.output or f"build/{board.name}")
    folder.mkdir(parents=True, exist_ok=True)
    with ui.status(f"building for {board.title}") as say:
        result = build_model(
            model.graph,
            board.name,
            register_interval=args.register_interval,
            seeds=seeds,
            out_dir=folder,
            progress=lambda text: say(f"{board.name}: {text}"),
            use_cache=not args.no_cache,
        )
    latency = schedule_model(model.graph, board=board, register_interval=args.register_interval).latency
    facts = build_facts(result, latency)
    cached = " (cached)" if result.cached else f" in {result.seconds:.0f} s"
    ui.say(f"{result.bitstream}{cached}")
    rows = [
        (k, f"{v:,}", f"{result.available[k]:,}", f"{100 * v / result.available[k]:.0f} %")
        for k, v in result.used.items()
        if result.available.get(k)
    ]
    ui.table("", ("resource", ">used", ">available", ">share"), rows)
    ui.say(f"link shell alone: {result.shell_luts:,} LUTs")
    for seed in result.seeds:
        if seed.unrouted:
            ui.say(f"seed {seed.seed}: NOT ROUTED, stayed {seed.unrouted}")
            continue
        mark = "met" if seed.met else "NOT MET"
        ui.say(f"seed {seed.seed}: Fmax {seed.fmax_hz / 1e6:.1f} MHz, {result.clock_hz / 1e6:g} MHz {mark}")
    ui.say(
        f"latency {latency} cycles = {facts['latency_ns']:,.0f} ns; {result.clock_hz / 1e6:g} million inferences/s in the core"
    )
    ui.result(facts)
    return 0 if result.timing_met else 1


def _verilog(args: argparse.Namespace, graph: Any, ui: Ui) -> int:
    board = board_of(graph, args.board) if args.board or graph.records.get("board") else None
    text = core_verilog(graph, board=board, register_interval=args.register_interval)
    write_atomically(Path(args.verilog), text.encode())
    ready = schedule_model(graph, board=board, register_interval=args.register_interval)
    ui.say(f"{args.verilog}: {text.count(chr(10)):,} lines, latency {ready.latency} cycles, one inference per clock")
    ui.result({"file": args.verilog, "latency_cycles": ready.latency})
    return 0


def build_facts(result: BuildResult, latency: int) -> dict[str, Any]:
    """A build as JSON-able facts."""
    return {
        "board": result.board,
        "bitstream": str(result.bitstream),
        "cached": result.cached,
        "clock_hz": result.clock_hz,
        "used": dict(result.used),
        "available": dict(result.available),
        "shell_luts": result.shell_luts,
        "seeds": [asdict(seed) for seed in result.seeds],
        "timing_met": result.timing_met,
        "latency_cycles": latency,
        "latency_ns": 1e9 * latency / result.clock_hz,
        "tools": dict(result.tools),
        "design_sha256": result.design_sha256,
    }
