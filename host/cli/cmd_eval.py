"""Measure a network's accuracy on labelled samples, or its error against float without labels: graph, source, board."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from neuroloom.compiler.errors import InputError, UnsupportedError
from neuroloom.host.accuracy import Score, confusion
from neuroloom.host.arrays import read_array, read_inputs
from neuroloom.host.look.answers import Reading, early_decisions, reading_of, timing
from neuroloom.host.look.compare import divergence
from neuroloom.host.look.sources import REAL, RUNNERS, source_outputs

from neuroloom.model import Model

from .common import add_inputs, add_model, load_inputs, open_model
from .fixed_point import show_eval
from .ui import Ui


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's options."""
    add_model(parser)
    add_inputs(parser)
    parser.add_argument(
        "--labels", metavar="Y", help="class numbers: .npy, or .npz with y (default: y of the inputs' .npz)"
    )
    parser.add_argument("--output-name", metavar="NAME", help="output that holds the class, the scores or the spikes")
    parser.add_argument(
        "--source", metavar="FILE", help="also run this source: .onnx in onnxruntime, a described network in float64"
    )
    parser.add_argument("--port", metavar="P", help="also run the board on this port and compare")
    parser.add_argument("--baud", type=int, metavar="B", help="line rate of --port")


def run(args: argparse.Namespace, ui: Ui) -> int:
    """Print accuracies; exit code 1 when two of them should agree and do not."""
    model = open_model(args, ui)
    if "fixed_point" in model.graph.records and not args.labels and not _has_labels(args.inputs):
        return show_eval(args, model, ui)
    arrays = load_inputs(args, model)
    labels = read_array(args.labels or args.inputs)[: args.limit]
    count = len(next(iter(arrays.values())))
    if len(labels) != count or labels.ndim != 1:
        raise InputError(f"labels must be {count} class numbers, one per sample, not an array of {list(labels.shape)}")
    reading = reading_of(model.graph, args.output_name)
    rungs: dict[str, Mapping[str, np.ndarray]] = {}
    with ui.progress("simulating") as update:
        rungs["graph"] = model.outputs(arrays, progress=update)
    source = args.source or (args.model if Path(args.model).suffix in RUNNERS else None)
    if source:
        try:
            rungs["source"] = _source(args, source, model, arrays, reading)
        except UnsupportedError as e:
            if args.source:
                raise
            ui.note(f"source not run: {e}")
    if args.port:
        rungs["board"] = _board(args, model, arrays, ui)
    scores = {name: _score(reading.classes(outputs), labels) for name, outputs in rungs.items()}
    if model.graph.clocked:
        ui.say(f"class: {reading.text()}")
    rows = [(k, f"{100 * s.accuracy:.2f} %", f"{s.correct:,}/{s.count:,}") for k, s in scores.items()]
    ui.table("", ("rung", ">accuracy", ">correct"), rows)
    matrix = confusion(scores["graph"].classes, labels)
    size = len(matrix)
    if size <= 30:
        header = ("true \\ answer", *(f">{c}" for c in range(size)))
        ui.table("\nconfusion (graph)", header, [(str(t), *map(str, row)) for t, row in enumerate(matrix)])
    spiking = _spiking(reading, rungs["graph"], labels, ui) if model.graph.clocked else {}
    code, places = _divergences(reading, rungs, scores, exact=not (source and Path(source).suffix in REAL), ui=ui)
    ui.result(
        {
            "scores": {k: s.to_json() for k, s in scores.items()},
            "confusion": matrix,
            "class": reading.text(),
            **spiking,
            "divergences": places,
        }
    )
    return code


def _has_labels(path: str) -> bool:
    """Whether an .npz of samples also holds class numbers."""
    if Path(path).suffix != ".npz":
        return False
    try:
        read_inputs(path, ["y", "y"])
    except InputError:
        return False
    return True


def _score(classes: np.ndarray, labels: np.ndarray) -> Score:
    return Score(classes, int((classes == labels).sum()))


def _spiking(reading: Reading, outputs: Mapping[str, np.ndarray], labels: np.ndarray, ui: Ui) -> dict[str, Any]:
    """Steps to the decision; without one, what an early decision would give."""
    data: dict[str, Any] = {}
    when = timing(reading, outputs)
    if when:
        ui.say(f"\n{when.text()}")
        data["steps"] = {"mean": float(when.steps.mean()), "most": int(when.steps.max()), "of": when.of}
        if when.decided is not None:
            data["steps"]["decided"] = float(when.decided.mean())
    counted = reading.spikes(outputs)
    if counted is not None and counted.shape[2] > 1:
        rows = early_decisions(counted, labels)
        ui.table(
            "\nearly decision by this margin of spikes would give",
            (">margin", ">accuracy", ">mean steps"),
            [(r.margin or "none", f"{100 * r.accuracy:.2f} %", f"{r.steps:.2f}") for r in rows],
        )
        data["early"] = [asdict(r) for r in rows]
    return data


def _divergences(
    reading: Reading, rungs: Mapping[str, Mapping[str, np.ndarray]], scores: Mapping[str, Score], *, exact: bool, ui: Ui
) -> tuple[int, dict[str, str]]:
    """Say where rungs part from the graph; the exit code is 1 unless only a source in real numbers does."""
    code, places = 0, {}
    for other, s in scores.items():
        if other == "graph":
            continue
        differ = np.flatnonzero(s.classes != scores["graph"].classes)
        if len(differ):
            code = 1 if exact or other == "board" else code
            first = ", ".join(f"sample {i}: {s.classes[i]} vs {scores['graph'].classes[i]}" for i in differ[:5])
            ui.say(f"{other} and graph differ on {len(differ)} of {s.count} samples ({other} vs graph): {first}")
        else:
            ui.say(f"{other} and graph agree on all {s.count:,} samples")
        mine, its = (reading.spikes(rungs[k]) for k in ("graph", other))
        if mine is not None and its is not None and mine.shape == its.shape:
            name = reading.spikes_name
            found = divergence(name, mine, np.asarray(its).astype(np.int64), clocked=True)
            places[other] = found.place()
            text = f"{found.differ:,} of {found.total:,} ({100 * found.differ / found.total:.2f} %) of {name} differ from {other}"
            ui.say(f"{text}; first at {found.place()}" if found.differ else f"{name} equals {other} in every step")
    return code, places


def _source(
    args: argparse.Namespace, source: str, model: Model, arrays: dict[str, np.ndarray], reading: Reading
) -> dict[str, np.ndarray]:
    raw = (
        read_inputs(args.inputs, [i.source or i.name for i in model.graph.inputs]) if not model.graph.clocked else None
    )
    outputs = source_outputs(source, model.graph, arrays, raw)
    if reading.output in outputs:
        return outputs
    counted = reading.spikes(outputs)
    if counted is not None:  # a source that has no early decision answers by all its steps
        return {**outputs, reading.output: counted.cumsum(axis=1).argmax(axis=2)}
    if model.graph.clocked and len(outputs) != 1:
        raise InputError(f"{source} must have the output {reading.output!r}, not {', '.join(outputs)}")
    return {reading.output: next(iter(outputs.values()))}


def _board(args: argparse.Namespace, model: Model, arrays: dict[str, np.ndarray], ui: Ui) -> dict[str, np.ndarray]:
    from neuroloom.host.device import connect
    from neuroloom.host.flow import run_model

    options = {"baud": args.baud} if args.baud else {}
    with connect(args.port, **options) as device, ui.progress("running on the board") as update:
        return run_model(model.graph, device, arrays, progress=update)
