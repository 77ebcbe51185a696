"""Measure a network's accuracy on labelled samples: the graph's, the float source's, and a board's."""

from __future__ import annotations

import argparse

import numpy as np
from neuroloom.compiler.errors import InputError
from neuroloom.host.accuracy import Score, class_output, confusion, score, source_classes
from neuroloom.host.arrays import read_array, read_inputs

from .common import add_inputs, add_model, load_inputs, open_model
from .ui import Ui


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's options."""
    add_model(parser)
    add_inputs(parser)
    parser.add_argument(
        "--labels", metavar="Y", help="class numbers: .npy, or .npz with y (default: y of the inputs' .npz)"
    )
    parser.add_argument("--output-name", metavar="NAME", help="output that holds the class or the scores")
    parser.add_argument("--source", metavar="MODEL.onnx", help="also run this source in onnxruntime and compare")
    parser.add_argument("--port", metavar="P", help="also run the board on this port and compare")
    parser.add_argument("--baud", type=int, metavar="B", help="line rate of --port")


def run(args: argparse.Namespace, ui: Ui) -> int:
    """Print accuracies; exit code 1 when two of them should agree and do not."""
    model = open_model(args, ui)
    arrays = load_inputs(args, model)
    labels = read_array(args.labels or args.inputs)[: args.limit]
    count = len(next(iter(arrays.values())))
    if len(labels) != count or labels.ndim != 1:
        raise InputError(f"labels must be {count} class numbers, one per sample, not an array of {list(labels.shape)}")
    name = class_output(model.graph, args.output_name)
    with ui.progress("simulating") as update:
        outputs = model.outputs(arrays, progress=update)
    scores = {"graph": score(outputs[name], labels)}
    source = args.source or (args.model if args.model.endswith(".onnx") else None)
    if source:
        raw = read_inputs(args.inputs, [i.source or i.name for i in model.graph.inputs])
        scores["source"] = source_classes(source, model.graph, raw, labels, name)
    if args.port:
        scores["board"] = _board(args, model, arrays, labels, name, ui)
    rows = [(k, f"{100 * s.accuracy:.2f} %", f"{s.correct:,}/{s.count:,}") for k, s in scores.items()]
    ui.table("", ("rung", ">accuracy", ">correct"), rows)
    matrix = confusion(scores["graph"].classes, labels)
    size = len(matrix)
    if size <= 30:
        header = ("true \\ answer", *(f">{c}" for c in range(size)))
        ui.table("\nconfusion (graph)", header, [(str(t), *map(str, row)) for t, row in enumerate(matrix)])
    code = 0
    for other, s in scores.items():
        differ = np.flatnonzero(s.classes != scores["graph"].classes)
        if len(differ):
            code = 1
            first = ", ".join(f"sample {i}: {s.classes[i]} vs {scores['graph'].classes[i]}" for i in differ[:5])
            ui.say(f"{other} and graph differ on {len(differ)} of {s.count} samples ({other} vs graph): {first}")
        elif other != "graph":
            ui.say(f"{other} and graph agree on all {s.count:,} samples")
    ui.result({"scores": {k: s.to_json() for k, s in scores.items()}, "confusion": matrix})
    return code


def _board(
    args: argparse.Namespace, model: object, arrays: dict[str, np.ndarray], labels: np.ndarray, name: str, ui: Ui
) -> Score:
    from neuroloom.host.device import connect
    from neuroloom.host.flow import run_model

    from neuroloom.model import Model

    assert isinstance(model, Model)
    options = {"baud": args.baud} if args.baud else {}
    with connect(args.port, **options) as device, ui.progress("running on the board") as update:
        outputs = run_model(model.graph, device, arrays, progress=update)
    return score(outputs[name], labels)
