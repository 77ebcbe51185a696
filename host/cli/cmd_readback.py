"""Read the weights of a loaded spiking network back from the board, as they are after learning."""

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
    parser.add_argument("-o", "--output", metavar="W.npz", help="write the weights, one array per projection")
    parser.add_argument("--all", action="store_true", help="projections that do not learn, too")


def run(args: argparse.Namespace, ui: Ui) -> int:
    """Read, print ranges, write."""
    model = open_model(args, ui)
    with connect(args.port, **port_options(args)) as device:
        session = SpikingDevice(device)
        program = session.attach(model.graph)
        names = session.projections() if args.all else session.plastic()
        if not names:
            raise InputError(f"{args.model} must have a projection that learns; add --all for the others")
        weights = {name: session.weights(name) for name in names}
    first = session.initial(program)
    rows = []
    for name, values in weights.items():
        changed = int((values != first[name]).sum())
        span = f"{values.min()}..{values.max()}" if values.size else ""
        rows.append((name, f"{values.size:,}", f"{changed:,}", span, f"{np.mean(values) if values.size else 0:.2f}"))
    if args.output:
        write_outputs(args.output, weights)
    ui.table("", ("projection", ">synapses", ">changed", "range", ">mean"), rows)
    ui.result({"file": args.output, "weights": {} if args.output else weights})
    return 0
