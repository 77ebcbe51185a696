"""Compile a network file to a .nloom file: exact integers, optimised, verified after every pass."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from neuroloom.compiler.errors import InputError, UnsupportedError
from neuroloom.compiler.ir import Graph
from neuroloom.compiler.ir.text import format_graph
from neuroloom.compiler.passes.manager import Pass, all_passes
from neuroloom.compiler.spiking.capacity import Fit, capacity_report
from neuroloom.host.engines import engine_of
from neuroloom.host.flow import board_if_known

from neuroloom.model import compile

from .common import add_frontend, frontend_options
from .fixed_point import BUDGET, add_budget, refined
from .gated_facts import add_target, program_facts, target_of
from .inspect_spiking import show_partition
from .summary import graph_facts, layer_gains
from .ui import Ui


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's options."""
    parser.add_argument("model", metavar="MODEL", help=".onnx, .nir, .yaml or .json")
    parser.add_argument("-o", "--output", metavar="M.nloom", help="default: the model's name with .nloom")
    parser.add_argument("--board", metavar="B", help="optimise for this board's lookup tables")
    parser.add_argument("--lut-size", type=int, metavar="K", help="inputs of the target's lookup tables (default 4)")
    parser.add_argument("-O", dest="level", type=int, choices=(0, 1), default=1, help="0 keeps every source node")
    parser.add_argument(
        "--keep", metavar="NODE", action="append", default=[], help="keep this value through every pass"
    )
    parser.add_argument(
        "--dump-after", metavar="PASS", action="append", default=[], help="print the graph behind a pass"
    )
    add_frontend(parser)
    add_target(parser)
    add_budget(parser)


NIR_FACTS = ("dialect", "dt", "reset", "reset_delay", "refractory")
"""What was applied to a NIR file that it does not carry itself, in the order in which it is printed."""


def run(args: argparse.Namespace, ui: Ui) -> int:
    """Compile, save, and print what came of it."""
    known = {p.name for p in all_passes()}
    for name in args.dump_after:
        if name not in known:
            raise InputError(f"--dump-after must be one of {', '.join(sorted(known))}, not {name!r}")
    start = time.perf_counter()
    options, budget = refined(args, frontend_options(args), ui)
    with ui.status(f"compiling {Path(args.model).name}") as say:
        model = compile(
            args.model,
            board=args.board,
            optimise=args.level > 0,
            keep=args.keep,
            lut_size=args.lut_size,
            after=_after(args.dump_after, ui, say),
            gated=target_of(args),
            **options,
        )
    if budget is not None:
        model.graph.records[BUDGET] = budget
    target = Path(args.output or Path(args.model).with_suffix(".nloom").name)
    if target.suffix != ".nloom":
        raise InputError(f"output file must end in .nloom, not {target.name!r}")
    model.save(target)
    seconds = time.perf_counter() - start
    facts = graph_facts(model.graph)
    ui.say(f"{target}: {facts['nodes']} nodes, {facts['luts']:,} LUTs in {facts['levels']} levels, {seconds:.1f} s")
    for row in layer_gains(model.graph):
        ui.say(f"  {row['pass']}: {row['before']:,} -> {row['after']:,}")
    used = model.graph.records.get("network", {}).get("nir")
    if used:
        ui.say("  " + ", ".join(f"{key} {used[key]}" for key in NIR_FACTS if key in used))
    ui.say(f"  hash {model.hash.hex()}")
    for warning in model.graph.records.get("warnings", []):
        ui.note(f"warning: {warning}")
    result = {"file": str(target), "hash": model.hash, "seconds": seconds, **facts, "gains": layer_gains(model.graph)}
    if engine_of(model.graph).name == "spiking":
        result["cores"] = [asdict(fit) for fit in _cores(model.graph, args.board, ui)]
    if engine_of(model.graph).name == "gated":
        result["gated"] = program_facts(model.graph, board_if_known(model.graph, args.board), ui)
    ui.result(result)
    return 0


def _cores(graph: Graph, board: str | None, ui: Ui) -> list[Fit]:
    """Say which cores hold a spiking network, or why none does."""
    try:
        fits = capacity_report(graph, board)
    except UnsupportedError as error:
        ui.note(f"no spiking core carries it: {error}")
        return []
    for fit in fits:
        if fit.fits:
            ui.say(
                f"  fits {fit.board} {fit.profile}: {fit.pool_used:,} of {fit.pool_words:,} pool words, {fit.program_used:,} of "
                f"{fit.program_words:,} program words"
            )
            show_partition(fit, ui)
    if fits and not any(fit.fits for fit in fits):
        ui.note(f"no core holds it: {fits[-1].refusal}")
    return fits


def _after(dump: list[str], ui: Ui, say: Callable[[str], None]) -> Callable[[Pass, Graph, bool], None]:
    def after(item: Pass, graph: Graph, changed: bool) -> None:
        say(f"pass {item.name}")
        if item.name in dump:
            ui.say(f"# after {item.name}{'' if changed else ' (unchanged)'}")
            ui.say(format_graph(graph).rstrip())

    return after
