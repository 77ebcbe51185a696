"""Tensors that meet element by element: one integer scale for all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from . import build, floats
from .registry import Call
from .tensors import Sym

Make = Callable[[str, "int | None"], Sym]


def common(call: Call, operands: Sequence[Sym | np.ndarray]) -> tuple[list[str], Make]:
    """Graph values of all operands (per-sample constants too) with one meaning, and a maker of results with that meaning.

    Anything that only moves, chooses among or compares the operands may then work on the integers. Float operands must
    have the same rounding history or be exact; otherwise the node is refused.
    """
    syms = [o for o in operands if isinstance(o, Sym)]
    for s in syms:
        build.check_order_only(call, s)
    dtype = operands[0].dtype
    if any(o.dtype != dtype for o in operands):
        call.bad(f"inputs must have one element type, not {' and '.join(sorted({str(o.dtype) for o in operands}))}")
    for o in operands:
        if isinstance(o, np.ndarray):
            build.number_constant(call, o)
    if dtype.kind != "f":
        names = [o.name if isinstance(o, Sym) else build.constant_value(call, o) for o in operands]
        return names, lambda name, batch: build.integers(call, name, dtype, batch)
    found = _same_history(call, operands, syms)
    if found is not None:
        steps = syms[0].steps
        return found, lambda name, batch: Sym(name, dtype, call.importer.value(name).shape, batch, steps)
    on_grid = build.grid(call, operands, dtype)
    if on_grid is None:
        call.refuse(
            f"its {dtype} inputs round differently, so no integers stand for all of them exactly",
            "scale after this node, or by powers of two",
        )
    names, unit = on_grid
    return names, lambda name, batch: build.on_grid(call, name, unit, dtype, batch, "its result is not exact")


def _same_history(call: Call, operands: Sequence[Sym | np.ndarray], syms: list[Sym]) -> list[str] | None:
    """Values of operands that all are the same function of their integers; constants are looked up in its values."""
    if not syms or not floats.uniform(syms[0].steps) or not syms[0].steps:
        return None
    steps = syms[0].steps
    if any(not floats.same_steps(s.steps, steps) for s in syms[1:]):
        return None
    ranges = [call.importer.range(s.name) for s in syms]
    bounds = min(r[0] for r in ranges), max(r[1] for r in ranges)
    names = []
    for o in operands:
        if isinstance(o, Sym):
            names.append(o.name)
            continue
        q = np.minimum(floats.first_reaching(steps, floats.direction(steps), o, bounds, False), bounds[1])
        if not (floats.evaluate(steps, q) == o).all():
            return None
        names.append(build.constant_value(call, np.broadcast_to(q, o.shape)))
    return names
