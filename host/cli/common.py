"""Arguments and steps that several commands share."""

from __future__ import annotations

import argparse
import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from neuroloom.compiler.errors import InputError
from neuroloom.compiler.spiking.input_encoding import encode, given_names
from neuroloom.host.address_events import read_clocked
from neuroloom.host.arrays import read_calibration, read_inputs
from neuroloom.sim.inputs import check

from neuroloom.model import Model, compile, load

from .ui import Ui


def add_model(parser: argparse.ArgumentParser, *, optional: bool = False) -> None:
    """MODEL, and the frontend's options for models that are not compiled yet."""
    about = "a compiled .nloom, or a source file to compile on the fly"
    parser.add_argument("model", metavar="MODEL", nargs="?" if optional else None, help=about)
    add_frontend(parser)


def add_frontend(parser: argparse.ArgumentParser) -> None:
    """Options that say what an ONNX file leaves open."""
    group = parser.add_argument_group("what the source file leaves open")
    group.add_argument("--batch-axis", metavar="[INPUT=]AXIS", action="append", help="axis of the samples, or 'none'")
    group.add_argument(
        "--input-type", metavar="[INPUT=]TYPE", action="append", help="integers behind a float input: u8, s12, bit, ..."
    )
    group.add_argument(
        "--input-scale", metavar="[INPUT=]RATIONAL", action="append", help="real value of one step, e.g. 1/255"
    )
    group.add_argument("--input-offset", metavar="[INPUT=]RATIONAL", action="append", help="real value of 0, e.g. -1/2")
    group.add_argument(
        "--input-bounds", metavar="[INPUT=]LO..HI", action="append", help="integers that really occur, e.g. 0..16"
    )
    group.add_argument(
        "--calibrate", metavar="DATA.npz", help="samples: formats of a float network, grid of a float input"
    )
    group.add_argument("--config", metavar="NET.yaml", help="bits, rounding, overflow of a float network, node by node")
    group.add_argument(
        "--state",
        metavar="IN:OUT",
        action="append",
        help="this input is memory that goes on from that output: one call per step",
    )
    add_nir(parser)


def add_nir(parser: argparse.ArgumentParser) -> None:
    """Options that say what a NIR file leaves open, and the integers of a spiking network."""
    group = parser.add_argument_group("what a .nir file leaves open, and the integers of spiking networks")
    group.add_argument("--dialect", metavar="D", help="whose discrete update: snntorch, norse, nir-euler or lava")
    group.add_argument("--dt", type=float, metavar="SECONDS", help="time step, where nodes have time constants")
    group.add_argument(
        "--reset", metavar="R", help="zero, subtract or none (snntorch needs it); value, subtract elsewhere"
    )
    group.add_argument("--reset-delay", choices=("yes", "no"), help="snnTorch's reset_delay, which no file carries")
    group.add_argument("--refractory", type=int, metavar="STEPS", help="silent steps after a spike")
    group.add_argument("--decay-values", type=int, metavar="N", help="different decays per layer; near ones share one")
    group.add_argument("--weight-bits", type=int, metavar="N", help="bits of a weight, with its sign")
    group.add_argument("--state-bits", type=int, metavar="N", help="bits of membranes and currents")


WIDTHS = ("weight_bits", "state_bits")
NIR_OPTIONS = ("dialect", "dt", "reset", "refractory", "decay_values", *WIDTHS)
"""Options of :func:`add_nir` that go to the frontend under their own names when they are given."""


def _pairs(values: list[str] | None, option: str) -> dict[str, str]:
    """``INPUT=VALUE`` or ``VALUE`` (for every input, under the key '')."""
    out: dict[str, str] = {}
    for text in values or []:
        name, _, value = text.rpartition("=")
        if not value:
            raise InputError(f"{option} must be VALUE or INPUT=VALUE, not {text!r}")
        out[name] = value
    return out


def frontend_options(args: argparse.Namespace) -> dict[str, Any]:
    """Keyword arguments for the frontend, from the command line."""
    options: dict[str, Any] = {}
    axes = _pairs(args.batch_axis, "--batch-axis")
    if axes:
        try:
            read = {k: (v if v == "none" else int(v)) for k, v in axes.items()}
        except ValueError:
            raise InputError(f"--batch-axis must be an axis number or 'none', not {args.batch_axis[0]!r}") from None
        options["batch_axis"] = read[""] if set(read) == {""} else read
    rules = {key: _pairs(getattr(args, f"input_{key}"), f"--input-{key}") for key in RULE_OPTIONS}
    if any(rules.values()):
        options["input_rules"] = _rules(rules)
    if args.calibrate:
        options["calibrate"] = read_calibration(args.calibrate)
    if args.config:
        if Path(args.model).suffix != ".onnx":
            raise InputError(f"--config must go with an .onnx file, not {Path(args.model).name}")
        options["config"] = args.config
    if args.state:
        pairs = [text.split(":") for text in args.state]
        if any(len(p) != 2 or not all(p) for p in pairs):
            raise InputError(f"--state must be INPUT:OUTPUT, not {args.state[0]!r}")
        options["state"] = dict(pairs)
    options |= {key: getattr(args, key) for key in NIR_OPTIONS if getattr(args, key) is not None}
    if args.reset_delay is not None:
        options["reset_delay"] = args.reset_delay == "yes"
    _refuse_spiking(Path(args.model), options)
    return options


def _refuse_spiking(path: Path, options: dict[str, Any]) -> None:
    """Options of spiking networks must go with a file that has use for them."""
    taken = {".nir": (*NIR_OPTIONS, "reset_delay")} | dict.fromkeys((".yaml", ".yml", ".json"), WIDTHS)
    for key in (*NIR_OPTIONS, "reset_delay"):
        if key in options and key not in taken.get(path.suffix, ()):
            kinds = " or ".join(suffix for suffix, keys in taken.items() if key in keys)
            raise InputError(f"--{key.replace('_', '-')} must go with a file that ends in {kinds}, not {path.name}")


RULE_OPTIONS = ("type", "scale", "offset", "bounds")
"""The --input-... options that make up an input rule."""


def _rules(parts: dict[str, dict[str, str]]) -> dict[str, Any]:
    """Input rules by input name; the name '' stands for the one input of the model."""
    from neuroloom.compiler.frontends.onnx import InputRule

    rules = {}
    for name in {name for values in parts.values() for name in values}:
        given = {key: values.get(name, values.get("")) for key, values in parts.items()}
        try:
            scale, offset = (Fraction(given[key] or default) for key, default in (("scale", 1), ("offset", 0)))
        except (ValueError, ZeroDivisionError):
            raise InputError(
                f"--input-scale and --input-offset must be rationals like 1/255, not {given['scale']!r} and {given['offset']!r}"
            ) from None
        rules[name] = InputRule(given["type"], scale, offset, _bounds(given["bounds"]))
    return rules


def _bounds(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    match = re.fullmatch(r"(-?\d+)\.\.(-?\d+)", text)
    if not match:
        raise InputError(f"--input-bounds must be LO..HI, not {text!r}")
    return int(match[1]), int(match[2])


def open_model(args: argparse.Namespace, ui: Ui, **compile_options: Any) -> Model:
    """Load a .nloom, or compile an .onnx in memory."""
    path = Path(args.model)
    if path.suffix == ".nloom":
        return load(path)
    if not path.exists():
        raise InputError(f"{path} does not exist; give a compiled .nloom or an .onnx file")
    with ui.status(f"compiling {path.name}"):
        return compile(path, **compile_options, **frontend_options(args))


def add_inputs(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """-i, the samples."""
    parser.add_argument(
        "-i",
        "--inputs",
        metavar="X",
        required=required,
        help=".npy, .npz (arrays by input name, or x), image folder; of spiking networks also event lists, .csv too",
    )
    parser.add_argument("-n", "--limit", metavar="N", type=int, help="use only the first N samples")
    parser.add_argument(
        "--steps", metavar="T", type=int, help="length of a run from an event list, or of a sample of analog values"
    )


def load_inputs(args: argparse.Namespace, model: Model) -> dict[str, np.ndarray]:
    """The samples by input name, cut to ``--limit``; raises InputError when they do not fit the model."""
    names = given_names(model.graph)
    if args.steps is not None and args.steps < 1:
        raise InputError(f"--steps must be at least 1, not {args.steps}")
    if model.graph.clocked and not Path(args.inputs).is_dir():
        data = read_clocked(args.inputs, model.graph, steps=args.steps)
    else:
        data = read_inputs(args.inputs, names)
    arrays = dict(data) if isinstance(data, dict) else {names[0]: data}
    if len(names) > 1 and len(arrays) == 1:
        raise InputError(f"{args.inputs} must be an .npz with the arrays {', '.join(names)}")
    if args.limit is not None:
        if args.limit < 1:
            raise InputError(f"--limit must be at least 1, not {args.limit}")
        arrays = {k: v[: args.limit] for k, v in arrays.items()}
    arrays = dict(encode(model.graph, arrays, steps=args.steps))  # type: ignore[arg-type]
    check(model.graph, arrays)
    return arrays


def count_samples(arrays: dict[str, np.ndarray]) -> int:
    """Number of samples in prepared arrays."""
    return len(next(iter(arrays.values())))
