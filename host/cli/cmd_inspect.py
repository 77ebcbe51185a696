"""Show what a network is made of: layers, types, ranges, cycles; of spiking ones on data also spikes and energy."""

from __future__ import annotations

import argparse

from neuroloom.compiler.errors import InputError, UnsupportedError
from neuroloom.compiler.ir import Graph, ranges
from neuroloom.compiler.ir.text import format_graph
from neuroloom.host.engines import engine_of
from neuroloom.host.flow import board_if_known
from neuroloom.host.gated.choose import choose_config
from neuroloom.host.look.network import network_of
from neuroloom.host.verify.gated import predicted_cycles

from neuroloom.model import Model

from .common import add_inputs, add_model, load_inputs, open_model
from .fixed_point import BUDGET, show_blame, show_budget, show_values
from .gated_facts import distribution, program_facts
from .inspect_spiking import show
from .summary import graph_facts, layer_gains, value_rows
from .ui import Ui


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's options."""
    add_model(parser)
    add_inputs(parser, required=False)
    parser.add_argument(
        "--source", metavar="MODEL.onnx", help="with -i: compare every value of a calibrated network with it"
    )
    parser.add_argument("--blame", action="store_true", help="with -i and --source: say which widths lose the accuracy")
    parser.add_argument("--text", action="store_true", help="print the whole graph in its text form")
    parser.add_argument("--register-interval", type=int, metavar="R", help="LUT levels between pipeline registers")


def run(args: argparse.Namespace, ui: Ui) -> int:
    """Print the tables."""
    model = open_model(args, ui)
    graph = model.graph
    if args.text:
        ui.out.print(format_graph(graph), end="", markup=False)
        return 0
    net = network_of(graph)
    if net is not None:
        ui.result(show(args, model, net, ui))
        return 0
    calibrated = "fixed_point" in graph.records
    if args.inputs and not calibrated and engine_of(graph).name != "gated":
        raise InputError(
            "-i must come with a spiking network, whose spikes are counted, or a calibrated one, whose errors are measured"
        )
    facts = graph_facts(graph)
    rows = [
        (
            f"%{row.value}",
            row.operation,
            row.type,
            f"{row.lo}..{row.hi}",
            f"{row.luts:,}" if row.luts else "",
            f"{row.bits:,}" if row.bits else "",
            row.source,
        )
        for row in value_rows(graph)
    ]
    kind = "clocked" if graph.clocked else "framed"
    ui.table(f"{graph.name} ({kind})", ("value", "operation", "type", "proven range", ">LUTs", ">bits", "source"), rows)
    for out in graph.outputs:
        rule = out.affine
        meaning = "" if rule.is_identity else f"   real = {rule.scale[0]} * q + {rule.offset[0]}"
        ui.say(f"output {out.name} = %{out.value} : {facts['outputs'][out.name]}{meaning}")
    ui.say(
        f"\n{facts['luts']:,} LUTs in {facts['levels']} levels, {facts['comparisons']:,} comparisons, "
        f"{facts['summed_bits']:,} summed bits, {facts['constant_bits']:,} constant bits"
    )
    gains = layer_gains(graph)
    if gains:
        ui.table(
            "\ngates, per optimisation",
            ("pass", "layer", ">before", ">after"),
            [(g["pass"], layer, f"{b:,}", f"{a:,}") for g in gains for layer, (b, a) in g["layers"].items()],
        )
    cycles = _gated(args, model, ui) if engine_of(graph).name == "gated" else cycle_facts(graph, args.register_interval)
    if "gated" in cycles:
        pass  # said already
    elif "latency_cycles" in cycles:
        ui.say(
            f"\npipeline: latency {cycles['latency_cycles']} cycles at register interval {cycles['register_interval']}, "
            "one inference per clock"
        )
    else:
        ui.say(f"\npipeline: {cycles['reason']}")
    ui.say(f"simulation engine: {model.engine_for()}")
    if "gated" in cycles and not args.source and not args.blame:
        args.inputs = None  # the samples were for the cycles
    if BUDGET in graph.records:
        show_budget(graph.records[BUDGET], ui)
    values = show_values(args, model, ui) if calibrated else {}
    if args.blame:
        if not calibrated:
            raise InputError("--blame must come with a calibrated network")
        values["blame"] = show_blame(args, model, ui)
    ui.result(
        {
            **({"fixed_point": values} if values else {}),
            **facts,
            **cycles,
            "gains": gains,
            "ranges": {k: list(v) for k, v in ranges(graph).items()},
            "records": {k: v for k, v in graph.records.items() if k != "passes"},
        }
    )
    return 0


def _gated(args: argparse.Namespace, model: Model, ui: Ui) -> dict[str, object]:
    """The network on its gated engine, and the cycles of every run on the samples given."""
    if args.register_interval is not None:
        raise InputError("--register-interval must be left out for a gated network: its engine is built as it is")
    ui.say("")
    board = board_if_known(model.graph)
    facts = program_facts(model.graph, board, ui)
    if args.inputs and "reason" not in facts:
        cycles = predicted_cycles(model.graph, choose_config(model.graph, board), load_inputs(args, model))
        ui.say(f"  on the samples: {distribution(cycles)}")
        facts["cycles_of_samples"] = cycles.tolist()
    return {"gated": facts}


def cycle_facts(graph: Graph, interval: int | None) -> dict[str, object]:
    """Predicted cycles of the spatial pipeline, on the board the graph was compiled for, or why there are none."""
    from neuroloom.host.flow import schedule_model

    try:
        schedule = schedule_model(graph, board=board_if_known(graph), register_interval=interval)
    except UnsupportedError as e:
        return {"reason": str(e)}
    return {"latency_cycles": schedule.latency, "register_interval": schedule.schedule.interval, "cycles_per_sample": 1}
