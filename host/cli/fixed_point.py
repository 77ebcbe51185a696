"""Tables about networks in fixed point, for ``inspect`` and ``eval``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from neuroloom.compiler.errors import InputError
from neuroloom.compiler.ir import Graph
from neuroloom.host.look.fixed_point import Spread, ValueCost, costs, measure, program_of

from neuroloom.model import Model

from .common import load_inputs
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
