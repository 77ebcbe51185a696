"""``inspect`` for spiking networks: populations, projections, cores, and what they do on data."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import Any

from neuroloom.compiler.spiking.capacity import Fit
from neuroloom.compiler.spiking.recognise import Network
from neuroloom.host.look.activity import Activity, cycles_of_sample, measure, program_for, spikes_of
from neuroloom.host.look.energy import CONSTANTS, REFERENCE, Energy, estimate
from neuroloom.host.look.network import CoreRow, core_rows, network_facts, population_rows, projection_rows, span

from neuroloom.model import Model

from .common import load_inputs
from .ui import Ui


def show(args: argparse.Namespace, model: Model, net: Network, ui: Ui) -> dict[str, Any]:
    """Print the tables; returns everything JSON-able."""
    graph, facts = model.graph, network_facts(net)
    populations, projections, cores = population_rows(net), projection_rows(net), core_rows(graph)
    ui.table(
        f"{graph.name}: {facts['neurons']:,} neurons, {facts['spike_inputs']:,} spike inputs, {facts['synapses']:,} synapses",
        ("population", ">neurons", "model", ">threshold", "details", ">state bits", "current inputs"),
        [
            (
                p.name,
                f"{p.neurons:,}",
                p.model,
                p.threshold,
                p.details,
                f"{p.state_bits}" if p.state_bits else "",
                p.drives,
            )
            for p in populations
        ],
    )
    ui.table(
        "",
        (
            "\nprojection",
            "\nfrom",
            "\nto",
            ">\nsynapses",
            ">\ndensity",
            ">\nweight bits",
            ">\nweights",
            ">\ndelays",
            "\nlearning",
        ),
        [
            (
                p.name,
                p.source,
                p.target,
                f"{p.synapses:,}",
                f"{100 * p.density:.3g} %",
                p.weight_bits,
                span(p.weights),
                span(p.delays),
                p.learning,
            )
            for p in projections
        ],
    )
    if net.decision:
        ui.say(f"\nearly decision on {net.decision.population}: {_decision(net)}")
    _show_outputs(model, net, ui)
    _show_cores(cores, ui)
    data: dict[str, Any] = {
        **facts,
        "name": graph.name,
        "clocked": True,
        "populations": [asdict(p) for p in populations],
        "projections": [asdict(p) for p in projections],
        "cores": [asdict(c) for c in cores],
        "records": {k: v for k, v in graph.records.items() if k != "passes"},
    }
    if args.inputs:
        data["activity"] = _show_activity(args, model, net, cores, ui)
    ui.say(f"simulation engine: {model.engine_for()}")
    return data


def _decision(net: Network) -> str:
    assert net.decision
    a = net.decision.node.attrs
    if a["mode"] == "margin":
        return f"the leader's spikes exceed the runner-up's by {a['margin']}"
    return f"softmax of the counts: table sum at most {a['limit']}"


def _show_outputs(model: Model, net: Network, ui: Ui) -> None:
    kinds = model.graph.values()
    ui.say("")
    for out in model.graph.outputs:
        rule = out.affine
        meaning = "" if rule.is_identity else f"   real = {float(rule.scale[0]):.6g} * q + {float(rule.offset[0]):g}"
        kind, of = net.outputs[out.name]
        what = f"{of} of the early decision" if kind == "decision" else f"{kind} of {of}"
        ui.say(f"output {out.name} : {kinds[out.value].type}{list(kinds[out.value].shape)}, {what}{meaning}")


def _show_cores(cores: list[CoreRow], ui: Ui) -> None:
    rows = []
    for c in cores:
        if c.fits:
            rows.append(
                (
                    c.board,
                    c.profile,
                    f"{c.pool_used:,} of {c.pool_words:,}",
                    f"{c.program_used:,} of {c.program_words:,}",
                    f"{c.idle_cycles:,}",
                    f"{c.worst_cycles:,}",
                    f"{c.worst_steps_per_s:,.0f} at {c.clock_hz / 1e6:g} MHz",
                )
            )
    title = "\ncores that hold it (cycles per step; worst: everything spikes)"
    columns = ("board", "profile", ">pool words", ">program words", ">idle", ">worst", ">worst steps/s")
    if rows:
        ui.table(title, columns, rows)
    for c in cores:
        show_partition(c, ui)
    refused: dict[str, str] = {}
    for c in cores:
        if not c.fits:
            refused.setdefault(c.refusal, f"{c.board} {c.profile}")
    for sentence, where in refused.items():
        ui.say(f"not on {where}: {sentence}")


def show_partition(fit: CoreRow | Fit, ui: Ui) -> None:
    """Print what each of several cores has of the network; nothing where one has all of it."""
    for share in fit.partition if len(fit.partition) > 1 else ():
        held = ", ".join(f"{count:,} of {name}" for name, count in share.neurons.items())
        ui.say(
            f"{fit.board} {fit.profile}, core {share.core} of {fit.cores}: {held}; receives the spikes of {share.remote:,} other "
            f"neurons; {share.pool_used:,} pool words, {share.program_used:,} program words"
        )


def _show_activity(
    args: argparse.Namespace, model: Model, net: Network, cores: list[CoreRow], ui: Ui
) -> dict[str, Any]:
    arrays = load_inputs(args, model)
    with ui.progress("simulating") as update:
        activity = measure(model, net, arrays, progress=update)
    energy = estimate(net, activity)
    rows = []
    for name, counts in activity.spikes.items():
        per_sample = counts.sum() / activity.samples
        rate = per_sample / (activity.steps * counts.shape[1])
        silent = int((counts.sum(axis=0) == 0).sum())
        rows.append((name, f"{int(counts.sum()):,}", f"{per_sample:,.1f}", f"{100 * rate:.2f} %", f"{silent:,}"))
    ui.table(
        f"\non {activity.samples:,} samples of {activity.steps:,} steps",
        ("spikes of", ">all", ">per sample", ">per neuron and step", ">silent neurons"),
        rows,
    )
    ui.table(
        "",
        (
            "\nprojection",
            ">synaptic\noperations",
            ">per sample",
            ">per step",
            ">Bit\nBudget",
            ">bit operations\nper sample",
        ),
        [
            (
                name,
                f"{int(o.sum()):,}",
                f"{o.sum() / activity.samples:,.1f}",
                f"{o.mean():,.1f}",
                f"{energy.bit_budget[name]:,}",
                f"{energy.bit_operations[name] / activity.samples:,.0f}",
            )
            for name, o in activity.operations.items()
        ],
    )
    ui.say(
        f"\nsynaptic operations: {activity.operations_per_step:,.1f} per step, {activity.operations_per_sample:,.1f} per "
        f"sample, at most {activity.most_in_a_step:,} in one step"
    )
    ui.say("Bit Budget: weight bits x 1 activation bit x steps per synapse (an 8-bit network without time has 64)")
    _show_energy(energy, activity, ui)
    cycles = _show_cycles(model, net, arrays, cores, ui)
    return {
        "samples": activity.samples,
        "steps": activity.steps,
        "spikes": {k: int(v.sum()) for k, v in activity.spikes.items()},
        "synaptic_operations": {k: int(v.sum()) for k, v in activity.operations.items()},
        "synaptic_operations_per_step": activity.operations_per_step,
        "synaptic_operations_per_sample": activity.operations_per_sample,
        "most_synaptic_operations_in_a_step": activity.most_in_a_step,
        "energy": energy.to_json(),
        "cycles_of_first_sample": cycles,
    }


def _show_energy(energy: Energy, activity: Activity, ui: Ui) -> None:
    per_op = energy.total_pj / activity.operations_per_sample if activity.total_operations else 0.0
    ui.say(
        f"\nenergy estimate: {energy.total_pj / 1e3:,.2f} nJ per sample (synapses {energy.synapses_pj / 1e3:,.2f}, their weights "
        f"{energy.weights_pj / 1e3:,.2f}, neurons {energy.neurons_pj / 1e3:,.2f}, their states {energy.states_pj / 1e3:,.2f}), "
        f"{per_op:,.2f} pJ per synaptic operation; arithmetic and memory alone, learning not counted, from:"
    )
    for c in CONSTANTS.values():
        ui.say(f"  {c.name} {c.value:.3g} {c.unit} ({c.source})")
    ui.say(f"  {REFERENCE}")


def _show_cycles(
    model: Model, net: Network, arrays: dict[str, Any], cores: list[CoreRow], ui: Ui
) -> dict[str, dict[str, float]]:
    """Exact cycles of the first sample on the smallest core of every board that holds the network."""
    first = {name: a[:1] for name, a in arrays.items()}
    spikes = spikes_of(model, net, first)
    seen: dict[str, dict[str, float]] = {}
    for core in cores:
        if not core.fits or core.board in seen:
            continue
        cycles = cycles_of_sample(program_for(net, core.board, core.profile), net, spikes, first)
        if cycles is None:
            continue
        seen[core.board] = {"mean": float(cycles.mean()), "most": int(cycles.max())}
        ui.say(
            f"{core.board} {core.profile}: {cycles.mean():,.0f} cycles per step of the first sample, at most {cycles.max():,} "
            f"({core.clock_hz / cycles.mean():,.0f} steps/s with spikes on chip)"
        )
    return seen
