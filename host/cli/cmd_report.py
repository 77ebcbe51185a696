"""Write one self-contained HTML page: the network drawn, layers or populations, accuracy, resources, timing, verification."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from neuroloom.compiler.errors import InputError, UnsupportedError
from neuroloom.compiler.ir.file import write_atomically
from neuroloom.compiler.spiking.recognise import Network
from neuroloom.host.accuracy import class_output, score, source_classes
from neuroloom.host.arrays import read_array, read_inputs
from neuroloom.host.engines import engine_of
from neuroloom.host.flow import board_if_known, board_of, build_model, schedule_model
from neuroloom.host.gated.choose import choose_config
from neuroloom.host.look.network import network_of
from neuroloom.host.report import Facts, collect, render, render_spiking
from neuroloom.host.verify.gated import predicted_cycles

from neuroloom.model import Model

from .cmd_build import add_seeds, build_facts, seeds_of
from .common import add_inputs, add_model, load_inputs, open_model
from .gated_facts import distribution, program_facts
from .ui import Ui


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's options."""
    add_model(parser)
    add_inputs(parser, required=False)
    parser.add_argument("--labels", metavar="Y", help="class numbers (default: y of the inputs' .npz)")
    parser.add_argument("--source", metavar="MODEL.onnx", help="also show the source's accuracy, by onnxruntime")
    parser.add_argument("--board", metavar="B", help="build for this board (or take the cached build) and show it")
    add_seeds(parser)
    parser.add_argument("--register-interval", type=int, metavar="R", help="LUT levels between pipeline registers")
    parser.add_argument("--verified", metavar="V.json", help="results of 'neuroloom verify -o V.json'")
    parser.add_argument("-o", "--output", metavar="R.html", help="default: the model's name with .html")


def run(args: argparse.Namespace, ui: Ui) -> int:
    """Collect, render, write."""
    model = open_model(args, ui)
    net = network_of(model.graph)
    if net is not None:
        return _spiking(args, model, net, ui)
    facts = Facts(model.graph)
    if args.inputs:
        _samples(args, model, facts)
    elif args.labels:
        raise InputError("--labels must come with the samples, -i X")
    if engine_of(model.graph).name == "gated":
        _gated(args, model, facts, ui)
        return _finish(args, model, facts, ui)
    try:
        board = board_of(model.graph, args.board) if args.board or model.graph.records.get("board") else None
        plan = schedule_model(model.graph, board=board, register_interval=args.register_interval)
        facts.schedule = {"latency_cycles": plan.latency}
    except UnsupportedError as e:
        ui.note(f"no pipeline: {e}")
    if args.seeds and not args.board:
        raise InputError("--seeds must come with --board")
    if args.board:
        target = board_of(model.graph, args.board)
        with ui.status(f"building for {target.title}") as say:
            result = build_model(
                model.graph,
                target.name,
                register_interval=args.register_interval,
                seeds=seeds_of(args),
                progress=say,
            )
        facts.build = build_facts(
            result, schedule_model(model.graph, board=target, register_interval=args.register_interval).latency
        )
        facts.board_title = target.title
    return _finish(args, model, facts, ui)


def _finish(args: argparse.Namespace, model: Model, facts: Facts, ui: Ui) -> int:
    """Render and write."""
    if args.verified:
        facts.rungs = _verified(args.verified, model)
    target_path = Path(args.output or Path(args.model).with_suffix(".html").name)
    write_atomically(target_path, render(facts).encode())
    ui.say(f"{target_path}")
    ui.result({"file": str(target_path), "accuracy": {k: s.to_json() for k, s in facts.scores.items()}})
    return 0


def _gated(args: argparse.Namespace, model: Model, facts: Facts, ui: Ui) -> None:
    """What the network's gated engine is filled with, its cycles on the samples, and its build where a board is named."""
    if args.register_interval is not None:
        raise InputError("--register-interval must be left out for a gated network: its engine is built as it is")
    board = board_if_known(model.graph, args.board)
    facts.gated = program_facts(model.graph, board, ui)
    if "reason" in facts.gated:
        return
    if facts.inputs is not None:
        cycles = predicted_cycles(model.graph, choose_config(model.graph, board), facts.inputs)
        facts.gated["cycles_of_samples"] = cycles.tolist()
        ui.say(f"  on the samples: {distribution(cycles)}")
    if args.board:
        target = board_of(model.graph, args.board)
        with ui.status(f"building for {target.title}") as say:
            result = build_model(model.graph, target.name, seeds=seeds_of(args), progress=say)
        facts.build = build_facts(result, facts.gated["cycles"][1])
        facts.board_title = target.title


def _spiking(args: argparse.Namespace, model: Model, net: Network, ui: Ui) -> int:
    for option in ("source", "board", "verified", "register_interval", "seeds"):
        if getattr(args, option) is not None:
            raise InputError(f"--{option.replace('_', '-')} must be left out of a spiking network's report")
    arrays = labels = None
    if args.inputs:
        arrays = load_inputs(args, model)
        labels = _labels(args)
    elif args.labels:
        raise InputError("--labels must come with the samples, -i X")
    with ui.progress("simulating") as update:
        facts = collect(model, net, arrays, labels, progress=update)
    target = Path(args.output or Path(args.model).with_suffix(".html").name)
    write_atomically(target, render_spiking(facts).encode())
    ui.say(f"{target}")
    ui.result({"file": str(target), "accuracy": {k: s.to_json() for k, s in facts.scores.items()}})
    return 0


def _labels(args: argparse.Namespace) -> np.ndarray | None:
    """Class numbers: of --labels, or of the samples' .npz when it has them."""
    if args.labels:
        return read_array(args.labels)[: args.limit]
    if Path(args.inputs).suffix == ".npz":
        with np.load(args.inputs, allow_pickle=False) as data:
            return data["y"][: args.limit] if "y" in data.files else None
    return None


def _samples(args: argparse.Namespace, model: Model, facts: Facts) -> None:
    arrays = load_inputs(args, model)
    facts.inputs, facts.outputs = arrays, model.outputs(arrays)
    count = len(next(iter(arrays.values())))
    if not args.labels and not args.inputs.endswith(".npz"):
        return
    facts.labels = read_array(args.labels or args.inputs)[:count]
    name = class_output(model.graph)
    facts.scores["graph"] = score(facts.outputs[name], facts.labels)
    if args.source:
        raw = read_inputs(args.inputs, [i.source or i.name for i in model.graph.inputs])
        facts.scores["source (onnxruntime)"] = source_classes(args.source, model.graph, raw, facts.labels, name)


def _verified(path: str, model: Model) -> list[dict[str, Any]]:
    try:
        data = json.loads(Path(path).read_text())
        rungs, seen = data["rungs"], data["hash"]
    except (OSError, ValueError, KeyError, TypeError) as e:
        raise InputError(f"{path} must be a file written by 'neuroloom verify -o': {e}") from e
    if seen != model.hash.hex():
        raise InputError(
            f"{path} must be about this model ({model.hash.hex()[:12]}), not {seen[:12]}; run verify again"
        )
    return rungs
