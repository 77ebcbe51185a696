"""Show where two networks differ: in structure, and with samples in what they compute."""

from __future__ import annotations

import argparse
from pathlib import Path

from neuroloom.compiler.errors import InputError
from neuroloom.host.look.compare import Comparison, compare

from neuroloom.model import load

from .common import add_inputs, load_inputs
from .ui import Ui


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's options."""
    parser.add_argument("a", metavar="A.nloom", help="a compiled network")
    parser.add_argument("b", metavar="B.nloom", help="another one")
    add_inputs(parser, required=False)
    parser.add_argument(
        "--most", metavar="N", type=int, default=20, help="structural differences to print (default 20)"
    )


def run(args: argparse.Namespace, ui: Ui) -> int:
    """Print the differences; exit code 1 when there are any."""
    if args.most < 1:
        raise InputError(f"--most must be at least 1, not {args.most}")
    a, b = load(Path(args.a)), load(Path(args.b))
    arrays = load_inputs(args, a) if args.inputs else None
    with ui.status("comparing"):
        found = compare(a, b, arrays)
    _structure(found, args.most, ui)
    if arrays is not None:
        _data(found, ui)
    ui.result({**found.to_json(), "a": a.hash.hex(), "b": b.hash.hex()})
    return 0 if found.equal else 1


def _structure(found: Comparison, most: int, ui: Ui) -> None:
    if not found.structure:
        ui.say("structure: equal")
        return
    ui.table(
        f"structure: {len(found.structure)} differences",
        ("where", "what", ">differ", ">largest", "in A", "in B"),
        [
            (
                d.where,
                d.what,
                "" if d.count is None else f"{d.count:,}",
                "" if d.largest is None else d.largest,
                d.a,
                d.b,
            )
            for d in found.structure[:most]
        ],
    )
    if len(found.structure) > most:
        ui.say(f"... and {len(found.structure) - most} more; --most {len(found.structure)} shows them")


def _data(found: Comparison, ui: Ui) -> None:
    if found.spikes:
        ui.table(
            f"\nspikes on {found.samples:,} samples",
            ("population", ">in A", ">in B", ">differ", "first difference"),
            [(s.population, f"{s.a:,}", f"{s.b:,}", f"{s.differ:,}", s.first) for s in found.spikes],
        )
    ui.table(
        f"\noutputs on {found.samples:,} samples",
        ("output", ">differ", ">of", "first difference"),
        [(o.name, f"{o.differ:,}", f"{o.total:,}", o.place()) for o in found.outputs],
    )
    for names, where in ((found.only_a, "A"), (found.only_b, "B")):
        if names:
            ui.say(f"only in {where}: {', '.join(names)}")
