"""Build a board's bitstream, or write the core as Verilog for a design of your own.

For a board that only its vendor's tool can build, the project for that tool is written, with Yosys' resource figures.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from neuroloom.boards.board import Board
from neuroloom.boards.boot_policy import BOOT_POLICIES, check_policy
from neuroloom.boards.build import BuildResult
from neuroloom.boards.registry import load_board
from neuroloom.boards.steps import SeedResult
from neuroloom.compiler.errors import InputError
from neuroloom.compiler.ir import Graph
from neuroloom.compiler.ir.file import write_atomically
from neuroloom.compiler.spiking.mapper import choose_core
from neuroloom.host.engines import engine_of
from neuroloom.host.flow import (
    board_if_known,
    board_of,
    build_core,
    build_model,
    core_verilog,
    schedule_model,
    write_vendor_project,
)
from neuroloom.host.gated.choose import choose_config
from neuroloom.host.gated.flow import MODULE as GATED_MODULE
from neuroloom.host.gated.flow import engine_verilog
from neuroloom.host.golden import build_golden
from neuroloom.host.spiking.flow import CORE_MODULE, core_component, core_of

from .common import add_model, open_model
from .gated_facts import program_facts
from .ui import Ui


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's options."""
    add_model(parser, optional=True)
    parser.add_argument(
        "--core", metavar="PROFILE", help="build the board's spiking core of this profile, instead of a model's"
    )
    parser.add_argument(
        "--spike-pins", action="store_true", help="with a spiking core: spikes also come and go by the board's pins"
    )
    parser.add_argument(
        "--golden", action="store_true", help="build the board's golden image, which flashes and boots all others"
    )
    parser.add_argument(
        "--boot",
        choices=tuple(BOOT_POLICIES),
        default="none",
        help="for a slot beside golden: 'attended' goes back to golden unless a host finds it in 10 s, 'unattended' when it is "
        "asked to, 'standalone' too, and it loads the network that 'flash M.nloom' wrote by itself (default: none, the image is "
        "alone in the flash)",
    )
    parser.add_argument("--board", metavar="B", help="see 'neuroloom boards' (default: the one compiled for)")
    parser.add_argument(
        "-o",
        "--output",
        metavar="DIR",
        help="folder for the bitstream and reports, or for the vendor's project (default: build/BOARD)",
    )
    add_seeds(parser)
    parser.add_argument("--register-interval", type=int, metavar="R", help="LUT levels between pipeline registers")
    parser.add_argument("--no-cache", action="store_true", help="run every tool again")
    parser.add_argument(
        "--verilog", metavar="CORE.v", help="write only the core: one Verilog module with documented stream ports"
    )


def run(args: argparse.Namespace, ui: Ui) -> int:
    """Build and print; exit code 1 when no seed meets the clock."""
    if [args.core, args.model, args.golden or None].count(None) != 2:
        raise InputError("either a model or --core PROFILE or --golden must be given, and one only")
    if args.golden:
        return _golden(args, ui)
    if args.core:
        return _core(args, args.core, ui)
    model = open_model(args, ui, **({"board": args.board} if args.board and args.model.endswith(".onnx") else {}))
    engine = engine_of(model.graph)
    if engine.name == "gated":
        return _gated(args, model.graph, ui)
    per_model = engine.per_model
    if args.spike_pins and per_model:
        raise InputError("--spike-pins must go with a spiking core or network")
    if args.verilog and per_model:
        return _verilog(args, model.graph, ui)
    board = board_of(model.graph, args.board)
    if not per_model and (board.support == "bitstream" or args.verilog):
        return _core(args, choose_core(model.graph, board.name).config.profile, ui, board)
    folder = Path(args.output or f"build/{board.name}")
    if board.support == "vendor-project":
        return _vendor(args, model.graph, board, folder, ui)
    seeds = seeds_of(args)
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
            boot=args.boot,
        )
    latency = schedule_model(model.graph, board=board, register_interval=args.register_interval).latency
    facts = build_facts(result, latency)
    _built(result, ui)
    ui.say(
        f"latency {latency} cycles = {facts['latency_ns']:,.0f} ns; {result.clock_hz / 1e6:g} million inferences/s in the core"
    )
    ui.result(facts)
    return 0 if result.met else 1


def _gated(args: argparse.Namespace, graph: Graph, ui: Ui) -> int:
    """Build the gated engine that holds the network; others of its size are loaded into it without a new build."""
    for option, given in (
        ("--spike-pins", args.spike_pins),
        ("--register-interval", args.register_interval is not None),
    ):
        if given:
            raise InputError(f"{option} must be left out for a gated network, whose engine has none")
    board = board_of(graph, args.board)
    if args.verilog:
        config = choose_config(graph, board)
        text = engine_verilog(config)
        write_atomically(Path(args.verilog), text.encode())
        ui.say(f"{args.verilog}: {text.count(chr(10)):,} lines, module {GATED_MODULE}, engine {config.profile!r}")
        ui.result({"file": args.verilog, "module": GATED_MODULE, "profile": config.profile})
        return 0
    folder = Path(args.output or f"build/{board.name}")
    if board.support == "vendor-project":
        raise InputError(
            f"board must be built by open tools for a gated network, and {board.name} is not; choose another"
        )
    facts = program_facts(graph, board, ui)
    folder.mkdir(parents=True, exist_ok=True)
    with ui.status(f"building for {board.title}") as say:
        result = build_model(
            graph,
            board.name,
            seeds=seeds_of(args),
            out_dir=folder,
            progress=lambda text: say(f"{board.name}: {text}"),
            use_cache=not args.no_cache,
            boot=args.boot,
        )
    _built(result, ui)
    most = facts["cycles"][1]
    ui.say(f"at most {most:,} cycles = {1e6 * most / result.clock_hz:,.1f} us per run at {result.clock_hz / 1e6:g} MHz")
    ui.result({**build_facts(result, most), "gated": facts})
    return 0 if result.met else 1


def add_seeds(parser: argparse.ArgumentParser) -> None:
    """--seeds."""
    parser.add_argument("--seeds", metavar="S,S,..", help="place-and-route seeds, all reported (default 1,2,3)")


def seeds_of(args: argparse.Namespace) -> list[int]:
    """The seeds that were asked for; raises InputError for what is no list of integers."""
    try:
        return [int(s) for s in (args.seeds or "1,2,3").split(",")]
    except ValueError:
        raise InputError(f"--seeds must be integers with commas between, not {args.seeds!r}") from None


def _built(result: BuildResult, ui: Ui) -> None:
    """Print file, resources and seeds."""
    cached = " (cached)" if result.cached else f" in {result.seconds:.0f} s"
    ui.say(f"{result.bitstream}{cached}")
    _resources(result.used, result.available, ui)
    ui.say(f"link shell alone: {result.shell_luts:,} LUTs")
    for seed in result.seeds:
        if seed.unrouted:
            ui.say(f"seed {seed.seed}{_router(seed)}: NOT ROUTED, stayed {seed.unrouted}")
            continue
        mark = "met" if seed.met else "NOT MET"
        ui.say(
            f"seed {seed.seed}{_router(seed)}: Fmax {seed.fmax_hz / 1e6:.1f} MHz, {result.clock_hz / 1e6:g} MHz {mark}"
        )
    if result.met and not result.timing_met:
        ui.say(f"the bitstream is seed {result.chosen_seed}'s, which meets the clock")


def _router(seed: SeedResult) -> str:
    return f" with {seed.router}" if seed.router else ""


def _core(args: argparse.Namespace, profile: str, ui: Ui, board: Board | None = None) -> int:
    """Build the core of a board: any network that fits is loaded into it later, with 'load' or 'run'."""
    if args.register_interval is not None:
        raise InputError("--register-interval must be left out for a spiking core, which is built as it is")
    if board is None and not args.board:
        raise InputError("--core must come with --board")
    board = board or load_board(args.board)
    folder = Path(args.output or f"build/{board.name}-{profile}{'-pins' if args.spike_pins else ''}")
    config = core_of(profile, board)
    if args.verilog and args.spike_pins:
        raise InputError("--spike-pins must be left out with --verilog, whose core has streams instead")
    if args.verilog:
        text = core_component(config)
        write_atomically(Path(args.verilog), text.encode())
        ui.say(
            f"{args.verilog}: {text.count(chr(10)):,} lines, module {CORE_MODULE}, spiking core {profile!r} with streams for "
            "spikes, steps and events; see docs/spiking-core.md"
        )
        ui.result({"file": args.verilog, "module": CORE_MODULE, "profile": profile})
        return 0
    with ui.status(f"building the spiking core {profile!r} for {board.title}") as say:
        result = build_core(
            profile,
            board.name,
            spike_pins=args.spike_pins,
            boot=args.boot,
            seeds=seeds_of(args),
            out_dir=folder,
            progress=lambda text: say(f"{board.name}: {text}"),
            use_cache=not args.no_cache,
        )
    _built(result, ui)
    ui.say(f"spiking core, profile {profile}: networks are loaded by 'load' and 'run', without a new build")
    facts = {k: v for k, v in build_facts(result, 0).items() if not k.startswith("latency")}
    ui.result({"profile": profile, **facts})
    return 0 if result.met else 1


def _golden(args: argparse.Namespace, ui: Ui) -> int:
    """Build golden, and the file that the cable writes."""
    for option, given in (
        ("--boot", args.boot != "none"),
        ("--register-interval", args.register_interval is not None),
        ("--verilog", args.verilog),
        ("--spike-pins", args.spike_pins),
    ):
        if given:
            raise InputError(f"{option} must be left out for golden, which is built as it is")
    if not args.board:
        raise InputError("--golden must come with --board")
    board = load_board(args.board)
    folder = Path(args.output or f"build/{board.name}-golden")
    with ui.status(f"building golden for {board.title}") as say:
        result = build_golden(
            board,
            seeds=seeds_of(args),
            out_dir=folder,
            progress=lambda text: say(f"{board.name}: {text}"),
            use_cache=not args.no_cache,
        )
    _built(result.build, ui)
    ui.say(f"once by cable: neuroloom flash {result.image} --board {board.name}")
    ui.say("then everything over the port: neuroloom flash X.bin --port P --boot")
    facts = {k: v for k, v in build_facts(result.build, 0).items() if not k.startswith("latency")}
    ui.result({"golden": str(result.image), **facts})
    return 0 if result.build.met else 1


def _vendor(args: argparse.Namespace, graph: Graph, board: Board, folder: Path, ui: Ui) -> int:
    """Write the vendor's project and print Yosys' figures; whether timing is met only the vendor's tool can say."""
    for option, given in (("--seeds", args.seeds), ("--no-cache", args.no_cache)):
        if given:
            raise InputError(f"{option} must be left out for {board.name}: its place and route is the vendor's tool's")
    check_policy(board, args.boot)
    with ui.status(f"writing the project for {board.title}") as say:
        project = write_vendor_project(
            graph,
            board.name,
            folder,
            register_interval=args.register_interval,
            progress=lambda text: say(f"{board.name}: {text}"),
        )
    latency = schedule_model(graph, board=board, register_interval=args.register_interval).latency
    clock_hz, used = board.speed("logic").plan.logic_hz, dict(project.figures.used)
    available = {name: getattr(board.resources, name) for name in used}
    ui.say(
        f"{folder}: {', '.join(path.name for path in project.files)}; run `vivado -mode batch -source build.tcl` there"
    )
    _resources(used, available, ui)
    ui.say(
        f"resources as Yosys {project.figures.yosys} maps them, with the link; place and route is the vendor's tool's"
    )
    ui.say(f"latency {latency} cycles = {1e9 * latency / clock_hz:,.0f} ns at the planned {clock_hz / 1e6:g} MHz")
    ui.result(
        {
            "board": board.name,
            "files": [str(path) for path in project.files],
            "clock_hz": clock_hz,
            "used": used,
            "available": available,
            "cells": dict(project.figures.cells),
            "latency_cycles": latency,
            "latency_ns": 1e9 * latency / clock_hz,
            "tools": {"yosys": project.figures.yosys},
        }
    )
    return 0


def _resources(used: Mapping[str, int], available: Mapping[str, int], ui: Ui) -> None:
    rows = [
        (name, f"{count:,}", f"{available[name]:,}", f"{100 * count / available[name]:.0f} %")
        for name, count in used.items()
        if available.get(name)
    ]
    ui.table("", ("resource", ">used", ">available", ">share"), rows)


def _verilog(args: argparse.Namespace, graph: Graph, ui: Ui) -> int:
    board = board_if_known(graph, args.board)
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
        "met": result.met,
        "chosen_seed": result.chosen_seed,
        "timing_met": result.timing_met,
        "latency_cycles": latency,
        "latency_ns": 1e9 * latency / result.clock_hz,
        "tools": dict(result.tools),
        "design_sha256": result.design_sha256,
    }
