"""Compare every rung of the ladder with the graph, bit for bit, and the RTL cycle for cycle."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from neuroloom.boards.equivalence import check_equivalence
from neuroloom.compiler.errors import InputError, MismatchError
from neuroloom.compiler.ir.file import write_atomically
from neuroloom.host.verify.ladder import HARDWARE_LIMIT, RUNGS, climb
from neuroloom.host.verify.result import RungResult, random_vectors

from neuroloom.model import Model, compile

from .common import add_inputs, add_model, frontend_options, load_inputs, open_model
from .ports import add_port, port_options
from .ui import Ui


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's options."""
    add_model(parser)
    add_inputs(parser, required=False)
    add_port(parser, required=False)
    parser.add_argument("--to", choices=tuple(RUNGS), default="rtl", help="highest rung (default rtl)")
    parser.add_argument("--board", metavar="B", help="target of netlist and bitstream (default: the one compiled for)")
    parser.add_argument("--image", metavar="X.bin", help="verify this bitstream instead of a fresh build")
    parser.add_argument(
        "--samples", type=int, metavar="N", default=HARDWARE_LIMIT, help="samples per hardware simulation"
    )
    parser.add_argument(
        "--random", type=int, metavar="N", help="random samples when no inputs are given (default 1000; spiking: 10)"
    )
    parser.add_argument("--seed", type=int, default=1, help="random samples, gaps and memory contents (default 1)")
    parser.add_argument("--register-interval", type=int, metavar="R", help="LUT levels between pipeline registers")
    parser.add_argument(
        "--prove",
        metavar="SOURCE.onnx",
        help="also prove by ABC, for all inputs, that optimising this source changed no bit",
    )
    parser.add_argument("--jobs", type=int, metavar="N", help="hardware simulations at once (default: one per core)")
    parser.add_argument("--skip-missing", action="store_true", help="name a rung whose tool is absent and go on")
    parser.add_argument("-o", "--output", metavar="V.json", help="write the results, for 'report --verified'")


def run(args: argparse.Namespace, ui: Ui) -> int:
    """Climb, print each rung as it is done; exit code 1 at the first difference."""
    model = open_model(args, ui)
    if args.random is None:
        args.random = 10 if model.graph.clocked else 1000
    for name in ("samples", "random", "jobs"):
        if getattr(args, name) is not None and getattr(args, name) < 1:
            raise InputError(f"--{name} must be at least 1, not {getattr(args, name)}")
    if args.inputs:
        arrays = load_inputs(args, model)
    else:
        arrays = random_vectors(model.graph, args.random, args.seed)
        ui.note(f"no inputs given: {args.random} random samples, seed {args.seed}")
    results: list[RungResult] = []
    try:
        with ui.status("verifying") as say:
            if args.prove:
                results.append(_prove(args, model, say))
            climb(
                model.graph,
                arrays,
                to=args.to,
                board=args.board,
                register_interval=args.register_interval,
                seed=args.seed,
                limit=args.samples,
                port=args.port,
                image=Path(args.image) if args.image else None,
                port_options=port_options(args, ui),
                skip_missing=args.skip_missing,
                jobs=args.jobs,
                progress=say,
                on_rung=results.append,
            )
    except MismatchError as e:
        results.append(RungResult(_failed(args, results), False, 0, 0, str(e), 0.0))
    for r in results:
        mark = "equal" if r.ok else "skipped" if r.detail.startswith("skipped") else "DIFFERS"
        size = f"{r.samples:,} samples" + (f", {r.cycles:,} cycles" if r.cycles else "")
        ui.say(f"{r.name:10} {mark:8} {size if r.ok else '':32} {r.detail}{f'  ({r.seconds:.1f} s)' if r.ok else ''}")
    data = {"hash": model.hash.hex(), "seed": args.seed, "rungs": [asdict(r) for r in results]}
    if args.output:
        write_atomically(Path(args.output), json.dumps(data, indent=1, default=str).encode())
    ui.result(data)
    return 0 if all(r.ok or r.detail.startswith("skipped") for r in results) else 1


def _prove(args: argparse.Namespace, model: Model, say: Callable[[str], None]) -> RungResult:
    """Equivalence of the source as imported and the model as optimised; raises MismatchError with a counterexample."""
    start = time.monotonic()
    say("proving")
    plain = compile(args.prove, optimise=False, **frontend_options(args))
    found = check_equivalence(plain.graph, model.graph, progress=say)
    if found is not None:
        raise MismatchError(f"{args.prove} and {args.model} differ: {found}")
    detail = f"ABC: equal to {Path(args.prove).name} as imported, for every input"
    return RungResult("proof", True, 0, 0, detail, time.monotonic() - start)


def _failed(args: argparse.Namespace, done: list[RungResult]) -> str:
    """Name of the rung after the ones done."""
    rungs = ["board"] if args.to == "board" else list(RUNGS)
    return (["proof", *rungs] if args.prove else rungs)[len(done)]
