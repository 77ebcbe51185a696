"""Compute a network's exact outputs for samples."""

from __future__ import annotations

import argparse
import time

import numpy as np
from neuroloom.compiler.errors import InputError
from neuroloom.host.arrays import write_outputs
from neuroloom.host.trace import write_trace

from neuroloom.model import ENGINES

from .common import add_inputs, add_model, count_samples, load_inputs, open_model
from .ui import Ui


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's options."""
    add_model(parser)
    add_inputs(parser)
    parser.add_argument("-o", "--output", metavar="Y", help=".npz by output name, or .npy for a single output")
    parser.add_argument("--engine", choices=ENGINES, default="auto")
    parser.add_argument("--threads", type=int, default=1, metavar="T")
    parser.add_argument(
        "--probe", metavar="NODE", action="append", default=[], help="also give this value (source names work)"
    )
    parser.add_argument(
        "--trace",
        metavar="T.npz|T.vcd|T.fst",
        help="write the probed values; a time unit of a waveform is a sample, or a step of a clocked network",
    )
    parser.add_argument("--dequantize", action="store_true", help="give the reals that the integers mean")


def run(args: argparse.Namespace, ui: Ui) -> int:
    """Simulate and write or print the outputs."""
    if args.threads < 1:
        raise InputError(f"--threads must be at least 1, not {args.threads}")
    if args.trace and not args.probe:
        raise InputError("--trace must come with at least one --probe NODE")
    model = open_model(args, ui)
    arrays = load_inputs(args, model)
    start = time.perf_counter()
    with ui.progress("simulating") as update:
        outputs = model.outputs(arrays, engine=args.engine, probes=args.probe, threads=args.threads, progress=update)
    seconds = time.perf_counter() - start
    count = count_samples(outputs)
    if args.trace:
        shown = {p: outputs[model.value_name(p)] for p in args.probe}
        write_trace(args.trace, model.graph, {model.value_name(p): v for p, v in shown.items()})
    if args.dequantize:
        given = model.dequantize(outputs)
        outputs = given if isinstance(given, dict) else {next(iter(outputs)): given}
    if args.output:
        write_outputs(args.output, outputs)
    engine = args.engine if args.engine != "auto" else model.engine_for(tuple(model.value_name(p) for p in args.probe))
    ui.note(f"{count:,} samples in {seconds:.3f} s ({count / seconds:,.0f}/s, {engine} engine)")
    if not args.output:
        for name, array in outputs.items():
            ui.say(f"{name} {list(array.shape)}\n{np.array2string(array, threshold=200, edgeitems=4)}")
    ui.result({"samples": count, "seconds": seconds, "engine": engine, "outputs": {} if args.output else outputs})
    return 0
