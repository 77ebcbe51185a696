"""Let a loaded spiking network learn from samples on the board, from where it stands; 'readback' shows what it has learnt."""

from __future__ import annotations

import argparse
import time

import numpy as np
from neuroloom.compiler.errors import InputError
from neuroloom.compiler.ir import Graph
from neuroloom.host.arrays import read_array, read_inputs, write_outputs
from neuroloom.host.device import connect
from neuroloom.host.spiking.session import SpikingDevice

from .common import add_inputs, add_model, open_model
from .core_facts import core_facts
from .ports import add_port, port_options
from .ui import Ui

REWARD = "reward"
"""The graph's input with the reward."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's options."""
    add_model(parser)
    add_inputs(parser)
    add_port(parser)
    parser.add_argument("--reward", metavar="R", help="rewards -128..127 of every step: .npy of (samples, steps)")
    parser.add_argument("-o", "--output", metavar="Y", help="also write the outputs: .npz by name, or .npy for one")


def run(args: argparse.Namespace, ui: Ui) -> int:
    """Run the samples on what is loaded."""
    model = open_model(args, ui)
    arrays = _arrays(args, model.graph)
    with connect(args.port, **port_options(args, ui)) as device:
        session = SpikingDevice(device)
        session.attach(model.graph)
        plastic = session.plastic()
        if not plastic:
            raise InputError(
                f"{args.model} must have a projection that learns; use 'run' for a network without learning"
            )
        before = {name: session.weights(name) for name in plastic}
        start = time.perf_counter()
        with ui.progress("learning") as update:
            outputs = session.run(arrays, progress=update)
        seconds = time.perf_counter() - start
        changed = {name: int((session.weights(name) != before[name]).sum()) for name in plastic}
        clock_hz = device.identity.clock_hz
    if args.output:
        write_outputs(args.output, outputs)
    count = len(next(iter(outputs.values())))
    ui.note(f"{count:,} samples in {seconds:.2f} s")
    facts = core_facts(session.facts, outputs, clock_hz, ui)
    for name, number in changed.items():
        ui.say(f"{name}: {number:,} of {len(before[name]):,} weights changed")
    ui.result({"samples": count, "seconds": seconds, "changed": changed, **facts})
    return 0


def _arrays(args: argparse.Namespace, graph: Graph) -> dict[str, np.ndarray]:
    """The inputs by name, the reward from its own file where one is given."""
    names = [i.name for i in graph.inputs]
    if args.reward and REWARD not in names:
        raise InputError(f"--reward must go with a network that learns by reward, not {graph.name!r}")
    wanted = [n for n in names if not (args.reward and n == REWARD)]
    data = read_inputs(args.inputs, wanted)
    if not isinstance(data, dict) and len(wanted) > 1:
        raise InputError(f"{args.inputs} must be an .npz with the arrays {', '.join(wanted)}")
    arrays = dict(data) if isinstance(data, dict) else {wanted[0]: data}
    if args.reward:
        arrays[REWARD] = read_array(args.reward, REWARD)
    if args.limit is not None:
        if args.limit < 1:
            raise InputError(f"--limit must be at least 1, not {args.limit}")
        arrays = {k: v[: args.limit] for k, v in arrays.items()}
    return arrays
