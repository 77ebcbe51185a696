"""Read a loaded spiking network back from the board: weights as they are after learning, states and adapted thresholds."""

from __future__ import annotations

import argparse

import numpy as np
from neuroloom.compiler.errors import InputError
from neuroloom.host.arrays import write_outputs
from neuroloom.host.device import connect
from neuroloom.host.spiking.session import SpikingDevice

from .common import add_model, open_model
from .ports import add_port, port_options
from .ui import Ui


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's options."""
    add_model(parser)
    add_port(parser)
    parser.add_argument(
        "-o", "--output", metavar="W.npz", help="write the weights, one array per projection, and the states by name"
    )
    parser.add_argument("--all", action="store_true", help="projections that do not learn, too")
    parser.add_argument(
        "--states",
        action="store_true",
        help="also the neurons' states (POPULATION.v, .a, ...) and thresholds with what adaptation added (POPULATION.threshold)",
    )


def run(args: argparse.Namespace, ui: Ui) -> int:
    """Read, print ranges, write."""
    model = open_model(args, ui)
    with connect(args.port, **port_options(args, ui)) as device:
        session = SpikingDevice(device)
        program = session.attach(model.graph)
        names = session.projections() if args.all else session.plastic()
        if not names and not args.states:
            raise InputError(
                f"{args.model} must have a projection that learns; add --all for the others, --states for neurons"
            )
        weights = {name: session.weights(name) for name in names}
        states = _states(session) if args.states else {}
    first = session.initial(program)
    rows = []
    for name, values in weights.items():
        changed = int((values != first[name]).sum())
        span = f"{values.min()}..{values.max()}" if values.size else ""
        rows.append((name, f"{values.size:,}", f"{changed:,}", span, f"{np.mean(values) if values.size else 0:.2f}"))
    if args.output:
        write_outputs(args.output, weights | states)
    if rows:
        ui.table("", ("projection", ">synapses", ">changed", "range", ">mean"), rows)
    if states:
        shown = [(k, f"{v.size:,}", f"{v.min()}..{v.max()}", f"{np.mean(v):.2f}") for k, v in states.items()]
        ui.table("", ("state", ">neurons", "range", ">mean"), shown)
    kept = {} if args.output else {"weights": weights, "states": states}
    ui.result({"file": args.output, "weights": {}, "states": {}, **kept})
    return 0


def _states(session: SpikingDevice) -> dict[str, np.ndarray]:
    """Every state of neurons, and the thresholds of populations that adapt theirs."""
    states = {name: session.state(name) for name in session.states()}
    adapted = [name.removesuffix(".a") for name in states if name.endswith(".a")]
    return states | {f"{name}.threshold": session.thresholds(name) for name in adapted}
