"""The entry: observe, check the configuration, lower, and record what was decided."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from neuroloom.compiler.errors import InputError
from neuroloom.compiler.ir import Graph
from neuroloom.compiler.real import Program

from . import rules_arith, rules_control, rules_grid, rules_move
from .config import Config
from .formats import Grid
from .lower import Lowering
from .observe import Observed, observe

__all__ = ["quantise", "rules_arith", "rules_control", "rules_grid", "rules_move"]


def quantise(
    program: Program,
    data: Mapping[str, np.ndarray] | None,
    config: Config | None = None,
    grids: Mapping[str, Grid] | None = None,
    observed: Mapping[str, Observed] | None = None,
) -> Graph:
    """A graph that computes ``program`` in fixed point, in formats calibrated on ``data`` (by input value name, samples first).

    Inputs named in ``grids`` are taken as integers by the rule given there. ``data`` may be None for a model that says all its
    integers itself; ``observed`` is what was seen of it before, so that it need not run again.

    ``records["fixed_point"]`` says for every value what was seen and which format came of it. Raises InputError for a
    configuration or samples that do not fit, UnsupportedError for what cannot be carried.
    """
    config = config or Config()
    values = program.values()
    sources = {node.source for node in program.walk() if node.source}
    config.check([*values, *sources])
    needs = {config.rules.calibration, *(str(r.get("calibration", "")) for r in config.nodes.values())}
    if observed is None:
        observed = observe(program, data, histograms=bool(needs & {"percentile", "mse"})) if data is not None else {}
    lowering = Lowering(program, observed, config, grids or {})
    graph = lowering.run()
    count = len(next(iter(data.values()))) if data is not None else 0
    graph.records = {**program.records, "fixed_point": record(lowering, observed, config, count)}
    return graph


def record(lowering: Lowering, observed: Mapping[str, Observed], config: Config, count: int) -> dict[str, Any]:
    """What calibration saw and decided, JSON-able; observed ends to six digits, so that summation order does not show."""
    rows = {}
    for name, seen in observed.items():
        row: dict[str, Any] = {"lo": f"{seen.lo:.6g}", "hi": f"{seen.hi:.6g}"}
        if name in lowering.grids:
            grid = lowering.grids[name]
            row |= {"type": str(grid.type), "scale": str(grid.scale), "offset": str(grid.offset)}
        elif name in lowering.formats:
            row["type"] = str(lowering.formats[name])
        raw = lowering.raws.get(name)
        if raw is not None:
            row["value"] = raw.name
            if raw.factor != 1:
                row["factor"] = str(raw.factor)
        if not seen.taken:
            row["taken"] = False
        rows[name] = row
    states = {"state": lowering.program.states} if lowering.program.states else {}
    return {**states, "samples": count, "rules": config.to_json(), "method": config.rules.calibration, "values": rows}


def check_samples(program: Program, data: Mapping[str, np.ndarray]) -> None:
    """Raise InputError where calibration samples do not fit the program's inputs."""
    lead = ["samples", "steps"] if program.clocked else ["samples"]
    for value in program.signals:
        array = data.get(value.name)
        if array is None:
            raise InputError(
                f"calibration data must hold the input {value.name!r}, not only {', '.join(data) or 'nothing'}"
            )
        if array.ndim < len(lead) or array.shape[len(lead) :] != value.shape:
            wanted = ", ".join([*lead, *map(str, value.shape)])
            raise InputError(f"calibration data of {value.name!r} must have the shape ({wanted}), not {array.shape}")
        if 0 in array.shape[: len(lead)]:
            raise InputError(
                f"calibration data of {value.name!r} must hold at least one sample{' and step' if program.clocked else ''}"
            )
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise InputError(f"calibration data of {value.name!r} must be finite, not NaN or infinite")
    counts = {name: list(array.shape[: len(lead)]) for name, array in data.items()}
    if len({tuple(c) for c in counts.values()}) > 1:
        raise InputError(f"calibration data must have as many {' and '.join(lead)} for every input, not {counts}")
