"""Load a spiking or gated network into the engine on a board; everything that was learnt there before is gone."""

from __future__ import annotations

import argparse
import time

from neuroloom.compiler.ir import Graph
from neuroloom.host.device import connect
from neuroloom.host.engines import engine_of
from neuroloom.host.gated.flow import config_on
from neuroloom.host.gated.session import GatedDevice
from neuroloom.host.spiking.session import SpikingDevice

from .common import add_model, open_model
from .ports import add_port, port_options
from .ui import Ui


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's options."""
    add_model(parser)
    add_port(parser)
    parser.add_argument("--no-check", action="store_true", help="do not read back what was written")


def run(args: argparse.Namespace, ui: Ui) -> int:
    """Load, read back, print what is used."""
    model = open_model(args, ui)
    if engine_of(model.graph).name == "gated":
        return _gated(args, model.graph, ui)
    with connect(args.port, **port_options(args, ui)) as device:
        session = SpikingDevice(device)
        start = time.perf_counter()
        with ui.status(f"loading {model.graph.name}"):
            program = session.load(model.graph, check=not args.no_check)
        seconds = time.perf_counter() - start
    config, words = program.config, len(program.pool)
    ui.say(
        f"{model.graph.name}: {words:,} of {config.pool_words:,} pool words, {len(program.program)} of {config.program_words} "
        f"program words of profile {config.profile}, {seconds:.2f} s{'' if args.no_check else ', read back'}"
    )
    ui.result(
        {
            "profile": config.profile,
            "pool_words": words,
            "program_words": len(program.program),
            "checked": not args.no_check,
            "seconds": seconds,
        }
    )
    return 0


def _gated(args: argparse.Namespace, graph: Graph, ui: Ui) -> int:
    """Load program, weights and tables into a gated engine."""
    with connect(args.port, **port_options(args, ui)) as device:
        session = GatedDevice(device, config_on(device, graph))
        start = time.perf_counter()
        with ui.status(f"loading {graph.name}"):
            program = session.load(graph, check=not args.no_check)
        seconds = time.perf_counter() - start
    size = len(program.load_bytes())
    ui.say(f"{graph.name}: {size:,} bytes into engine {program.config.profile!r}, {seconds:.2f} s")
    ui.result({"profile": program.config.profile, "bytes": size, "checked": not args.no_check, "seconds": seconds})
    return 0
