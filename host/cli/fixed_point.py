"""Tables about networks in fixed point, for ``inspect`` and ``eval``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from neuroloom.boards.registry import load_board
from neuroloom.compiler.errors import InputError
from neuroloom.compiler.frontends.onnx import prepare
from neuroloom.compiler.ir import Graph
from neuroloom.compiler.quantise import Config
from neuroloom.host.arrays import read_array
from neuroloom.host.fastest import FastSearch
from neuroloom.host.look.fixed_point import Spread, ValueCost, costs, measure, program_of
from neuroloom.host.precision import Search, share_of

from neuroloom.model import Model

from .common import load_inputs
from .gated_facts import target_of
from .ui import Ui


def source_of(args: argparse.Namespace) -> str | None:
    """The float model to compare with: ``--source``, or the model itself when it was compiled on the fly."""
    given: str | None = getattr(args, "source", None)
    return given or (args.model if Path(args.model).suffix == ".onnx" else None)


def show_values(args: argparse.Namespace, model: Model, ui: Ui) -> dict[str, Any]:
    """Type, proven and observed range of every value; with samples and the source also its error and what was outside."""
    graph, errors = model.graph, None
    if args.inputs:
        found, errors = _measured(args, model)
    else:
        found = costs(graph)
    record = graph.records["fixed_point"]
    columns = ["value", "type", ">proven", ">observed", "source"]
    if errors is not None:
        columns[4:4] = [">worst error", ">rms error", ">outside"]
    ui.table(
        f"\n{graph.name}: calibrated on {record['samples']:,} samples ({record['method']})",
        columns,
        [_row(c, errors) for c in found.values()],
    )
    if errors is not None:
        show_errors(graph, errors, found, ui)
    return {
        "calibration": {k: v for k, v in record.items() if k != "values"},
        "values": [c.to_json() for c in found.values()],
        "outputs": _errors_json(errors or {}),
    }


def _row(cost: ValueCost, errors: dict[str, Spread] | None) -> list[str]:
    row = [cost.name, cost.type, _span(cost.proven), _span(cost.seen), cost.source]
    if errors is not None:
        error = cost.error or Spread()
        outside = f"{cost.outside:,}/{cost.total:,}" if cost.outside else ""
        row[4:4] = [f"{error.worst:.2g}", f"{error.rms:.2g}", outside]
    return row


def _span(bounds: tuple[float, float]) -> str:
    return f"{bounds[0]:.4g}..{bounds[1]:.4g}"


def _measured(args: argparse.Namespace, model: Model) -> tuple[dict[str, ValueCost], dict[str, Spread]]:
    source = source_of(args)
    if source is None:
        raise InputError("-i must come with --source MODEL.onnx, the float network to compare with")
    options = {"batch_axis": _axes(args)}
    return measure(model.graph, program_of(model.graph, source, **options), load_inputs(args, model))


def _axes(args: argparse.Namespace) -> Any:
    from .common import frontend_options

    if not getattr(args, "batch_axis", None):
        return None
    return frontend_options(args).get("batch_axis")


def show_errors(graph: Graph, errors: dict[str, Spread], found: dict[str, ValueCost], ui: Ui) -> None:
    """Errors of the outputs against float, and how many elements left their calibrated formats."""
    rows = [(n, f"{e.worst:.3g}", f"{e.rms:.3g}", f"{e.decibels:.1f} dB") for n, e in errors.items()]
    ui.table("\nerror against float", ("output", ">worst", ">rms", ">signal to noise"), rows)
    outside = [c for c in found.values() if c.outside]
    if outside:
        first = max(outside, key=lambda c: c.outside / max(c.total, 1))
        ui.say(
            f"{sum(c.outside for c in outside):,} elements of {len(outside)} values were outside their calibrated formats, "
            f"most in {first.name} ({first.outside:,} of {first.total:,})"
        )
    else:
        ui.say("no element was outside its calibrated format")


def show_eval(args: argparse.Namespace, model: Model, ui: Ui) -> int:
    """Compare the graph's outputs with the float source on samples without labels."""
    found, errors = _measured(args, model)
    show_errors(model.graph, errors, found, ui)
    ui.result({"outputs": _errors_json(errors), "outside": {c.name: c.outside for c in found.values() if c.outside}})
    return 0


def _errors_json(errors: dict[str, Spread]) -> dict[str, Any]:
    return {n: {"worst": e.worst, "rms": e.rms, "decibels": min(e.decibels, 999.0)} for n, e in errors.items()}


def add_budget(parser: argparse.ArgumentParser) -> None:
    """Options that find the widths of a float network."""
    group = parser.add_argument_group("widths found for a budget, on the calibration samples (at most 256 of them)")
    group.add_argument(
        "--max-error", metavar="E", type=float, help="root mean square error of every output against float"
    )
    group.add_argument(
        "--max-accuracy-drop",
        metavar="P",
        help="accuracy below the float network's, 0.5%%; class numbers: y of the .npz",
    )
    group.add_argument(
        "--least",
        choices=("memory", "latency"),
        default="memory",
        help="what the budget is spent on: bits of weights and tables (default), or the cycles of a run on the gated engine of "
        "--board, as --lanes, --max-dsp or --latency fold it",
    )


BUDGET = "budget"
"""Key of the graph's records with the budget that its widths were found for, and what was found."""


def refined(args: argparse.Namespace, options: dict[str, Any], ui: Ui) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Frontend options with the widths that the budget asks for, and what was found; as they are without one."""
    if args.max_error is None and args.max_accuracy_drop is None:
        if args.least != "memory":
            raise InputError(f"--least {args.least} must come with a budget, --max-error or --max-accuracy-drop")
        return options, None
    if args.max_error is not None and args.max_accuracy_drop is not None:
        raise InputError("a budget must be --max-error or --max-accuracy-drop, not both")
    if "calibrate" not in options:
        raise InputError("a budget must come with samples to measure on (--calibrate DATA.npz)")
    search = _search(args, options, labels=args.max_accuracy_drop is not None)
    with ui.status("finding widths") as say:
        if args.max_error is not None:
            if not args.max_error > 0:
                raise InputError(f"--max-error must be above 0, not {args.max_error:g}")
            found = search.within_error(args.max_error, say)
        else:
            found = search.within_drop(share_of(args.max_accuracy_drop), say)
    for name, rules in found.config["nodes"].items():
        ui.say(f"  {name}: " + ", ".join(f"{k} {v}" for k, v in rules.items()))
    budget = {"max_error": args.max_error, "max_accuracy_drop": args.max_accuracy_drop}
    record = {"least": args.least, **{k: v for k, v in budget.items() if v is not None}, **found.to_json()}
    show_budget(record, ui)
    return {**options, "config": found.config}, record


def show_budget(record: dict[str, Any], ui: Ui) -> None:
    """What widths were found for, and what they came to."""
    limit = (
        f"an error of {record['max_error']:g}" if "max_error" in record else f"a drop of {record['max_accuracy_drop']}"
    )
    text = f"widths for the least {record['least']} within {limit}: {record['memory']:,} bits of weights and tables "
    text += f"({record['memory_widest']:,} at the widest)"
    if "cycles" in record:
        widest = f"{record['cycles_widest']:,} at the widest" if "cycles_widest" in record else "the widest do not fit"
        text += f", {record['cycles']:,} cycles ({widest})"
    text += f", error {record['error']:.3g} rms"
    if "accuracy" in record:
        text += f", accuracy {record['accuracy']:.2%}, float {record['accuracy_float']:.2%}"
    ui.say(f"{text}; {record['trials']} trials")


def _search(args: argparse.Namespace, options: dict[str, Any], *, labels: bool) -> Search:
    keys = ("calibrate", "batch_axis", "input_rules", "state")
    ready = prepare(args.model, **{k: options[k] for k in keys if k in options})
    base = Config.read(options.get("config")).to_json()
    classes = read_array(args.calibrate) if labels else None
    if args.least == "memory":
        return Search(ready, base, classes)
    board = load_board(args.board) if args.board else None
    return FastSearch(ready, base, classes, board=board, target=target_of(args) or {})


def show_blame(args: argparse.Namespace, model: Model, ui: Ui) -> list[dict[str, Any]]:
    """Which widths lose the accuracy: the error of the outputs when each alone is made wide."""
    source = source_of(args)
    if source is None or not args.inputs:
        raise InputError("--blame must come with -i SAMPLES and --source MODEL.onnx, the float network to compare with")
    record = model.graph.records
    axes = record.get("batch_axes", {})
    names = [i.source or i.name for i in model.graph.inputs] + list(record["fixed_point"].get("state", {}))
    batch = "none" if record.get("batch") == "none" else {n: axes.get(n, 0) for n in names}
    ready = prepare(
        source,
        calibrate=load_inputs(args, model),
        batch_axis=_axes(args) or batch,
        state=record["fixed_point"].get("state"),
    )
    rows = Search(ready, record["fixed_point"]["rules"]).blame()
    ui.table(
        "\nwhich width loses the accuracy (rms error of the outputs with this one alone at its widest)",
        ("node", "rule", ">bits now", ">error now", ">error if wide"),
        [(k.node, k.rule, str(w), f"{now:.3g}", f"{wide:.3g}") for k, w, now, wide in rows],
    )
    return [
        {"node": k.node, "rule": k.rule, "bits": w, "error": now, "error_if_wide": wide} for k, w, now, wide in rows
    ]
