"""Where values come from besides inputs: constants and state."""

from __future__ import annotations

from neuroloom.compiler.errors import GraphError
from neuroloom.compiler.ir.types import Type

from .registry import Operands, Result, op

LIFETIMES = ("sample", "persistent")
"""State is reset to its initial value before every sample, or lives on across samples (plastic weights)."""


@op("const", arity=0, attrs={"data": "tensor", "type": "str"})
def const(o: Operands) -> list[Result]:
    """The tensor ``data``, of type ``type``, the same for every sample."""
    data, type_ = o.attr("data"), Type.parse(o.attr("type"))
    bounds = (int(data.min()), int(data.max())) if data.size else (0, 0)
    if not type_.holds(bounds):
        raise GraphError(f"data must be in {type_.lo}..{type_.hi} for type {type_}, not {bounds[0]}..{bounds[1]}")
    return [Result(tuple(data.shape), bounds, type_.frac, type_)]


@op("state", arity=0, attrs={"init": "tensor", "type": "str", "lifetime": "str"})
def state(o: Operands) -> list[Result]:
    """The state's integers at the start of the step: ``init`` at first, then what its ``update`` wrote last.

    ``lifetime`` is ``sample`` (reset to ``init`` before every sample) or ``persistent`` (lives on across samples). The
    declared type is the range: a loop through state must end in a requantize to it.
    """
    init, type_ = o.attr("init"), Type.parse(o.attr("type"))
    bounds = (int(init.min()), int(init.max())) if init.size else (0, 0)
    if not type_.holds(bounds):
        raise GraphError(
            f"initial state must be in {type_.lo}..{type_.hi} for type {type_}, not {bounds[0]}..{bounds[1]}"
        )
    if o.attr("lifetime") not in LIFETIMES:
        raise GraphError(f"lifetime must be {' or '.join(LIFETIMES)}, not {o.attr('lifetime')!r}")
    return [Result(tuple(init.shape), type_.range, type_.frac, type_)]


@op("update", arity=2)
def update(o: Operands) -> list[Result]:
    """Write the second input into the state that is the first; visible from the next step on. No output.

    Every state has exactly one update, so a step's order of evaluation cannot change its result.
    """
    target, value = o.values
    if target.type != value.type or target.shape != value.shape:
        raise GraphError(
            f"update must write {target.type}{list(target.shape)} into state %{target.name}, "
            f"not {value.type}{list(value.shape)}; end the loop in a requantize to the state's type"
        )
    return []
