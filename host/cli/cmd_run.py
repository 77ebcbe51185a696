"""Send samples to a board and print or save its answers; the virtual board answers likewise."""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
from neuroloom.compiler.errors import InputError
from neuroloom.host.arrays import read_array, write_outputs
from neuroloom.host.device import connect
from neuroloom.host.flow import run_model
from neuroloom.host.latency import advice
from neuroloom.host.look.answers import reading_of, timing

from .common import add_inputs, add_model, count_samples, load_inputs, open_model
from .core_facts import core_facts
from .ports import add_port, port_options
from .ui import Ui


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's options."""
    add_model(parser)
    add_inputs(parser)
    add_port(parser)
    parser.add_argument("-o", "--output", metavar="Y", help=".npz by output name, or .npy for a single output")
    parser.add_argument("--labels", metavar="Y", help="class numbers to compare with")
    parser.add_argument("--output-name", metavar="NAME", help="output that holds the class, the scores or the spikes")
    parser.add_argument(
        "--check", action="store_true", help="compare every answer with the simulator's; exit code 1 on a difference"
    )
    parser.add_argument("--dequantize", action="store_true", help="give the reals that the integers mean")


def run(args: argparse.Namespace, ui: Ui) -> int:
    """Run and print."""
    model = open_model(args, ui)
    arrays = load_inputs(args, model)
    reading = reading_of(model.graph, args.output_name) if args.labels else None
    if args.output_name and reading is None:
        raise InputError("--output-name must come with --labels")
    labels = read_array(args.labels)[: args.limit] if args.labels else None
    if labels is not None and labels.shape != (count_samples(arrays),):
        raise InputError(
            f"labels must be {count_samples(arrays)} class numbers, one per sample, not an array of {list(labels.shape)}"
        )
    with connect(args.port, **port_options(args, ui)) as device:
        identity = device.identify()
        ui.note(f"{identity.board}: {identity.engine} engine, model {identity.model_hash.hex()[:16]}…")
        if hint := advice(device.adapter_latency_ms):
            ui.note(hint)
        start = time.perf_counter()
        with ui.progress(f"running on {identity.board}") as update:
            measured: dict[str, Any] = {}
            outputs = run_model(model.graph, device, arrays, progress=update, facts=measured)
        seconds = time.perf_counter() - start
        repeats = device.repeats
    count = len(next(iter(outputs.values())))
    ui.note(f"{count:,} samples in {seconds:.2f} s ({count / seconds:,.0f}/s), {repeats} frames repeated")
    code, facts = 0, {"samples": count, "seconds": seconds, "repeats": repeats, "board": identity.board}
    facts |= core_facts(measured, outputs, identity.clock_hz, ui)
    if reading is not None:
        correct = int((reading.classes(outputs) == labels).sum())
        ui.say(f"accuracy {100 * correct / count:.2f} % ({correct}/{count})")
        if model.graph.clocked:
            ui.say(f"class: {reading.text()}")
        when = timing(reading, outputs)
        if when:
            ui.say(when.text())
        facts |= {"correct": correct, "class": reading.text()}
    if args.check:
        code, facts["differences"] = _compare(outputs, model.outputs(arrays), ui)
    shown = outputs
    if args.dequantize:
        given = model.dequantize(outputs)
        shown = given if isinstance(given, dict) else {next(iter(outputs)): given}
    if args.output:
        write_outputs(args.output, shown)
    elif not args.labels and not args.check:
        for name, array in shown.items():
            ui.say(f"{name} {list(array.shape)}\n{np.array2string(array, threshold=200, edgeitems=4)}")
    ui.result({**facts, "outputs": {} if args.output else shown})
    return code


def _compare(board: dict[str, np.ndarray], simulated: dict[str, np.ndarray], ui: Ui) -> tuple[int, int]:
    """Exit code and number of different integers."""
    total = 0
    for name, want in simulated.items():
        differ = np.argwhere(board[name] != want)
        total += len(differ)
        if len(differ):
            first = tuple(int(i) for i in differ[0])
            ui.say(f"output {name} differs first at {list(first)}: board {board[name][first]}, simulator {want[first]}")
    count = sum(w.size for w in simulated.values())
    ui.say(f"{count:,} integers compared with the simulator, {total or 'no'} differences")
    return int(total > 0), total
