"""Delta networks: a matrix product sees only those changes of its input that reach a threshold.

Each element keeps the value that was handed on last (``sent``, 0 at first), and hands on a new one where it is at least theta away
from that: x̂(t) = x(t) where |x(t) - x̂(t-1)| >= theta, else x̂(t-1) (Neil et al., Delta Networks, 2017; Gao et al., EdgeDRNN, 2020).
Their accumulator M(t) = M(t-1) + W (x̂(t) - x̂(t-1)) is W x̂(t) in exact integers, so the graph says W x̂(t), and an engine may keep M.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
from neuroloom.compiler.errors import UnsupportedError
from neuroloom.compiler.ir import Type
from neuroloom.compiler.real.program import RealNode

from .lower import Lowering, Sent


def handed_on(low: Lowering, node: RealNode, x: str, step: Fraction) -> str:
    """The input ``x`` of a matrix product as the network's rules hand it on; ``x`` itself where there is no ``delta``.

    ``step`` is what an integer of ``x`` stands for. Raises UnsupportedError where a layer that was named runs only once, or not in
    every step.
    """
    rules = low.rules(node.name)
    if rules.delta is None or low.is_const(node.inputs[0]):
        return x
    named = low.config.named((node.source, node.name), "delta")
    inside = low.sending[-1] if low.sending else None
    if low.sending and inside is None:
        if not named:
            return x
        raise UnsupportedError(
            f"{node.where()}: delta must be of a layer that runs in every step, and this one stands in a branch; "
            "leave its delta out"
        )
    if inside is None and not low.program.clocked:
        if not named:
            return x
        raise UnsupportedError(
            f"{node.where()}: delta must be of a layer that runs step by step, and this one runs once per sample; "
            "put it into a loop, or compile one step with --state"
        )
    threshold = math.ceil(Fraction(rules.delta) / step)

    def make() -> str:
        value = low.builder[x]
        if inside is None:
            sent = low.builder.state(np.zeros(value.shape, np.int64), value.type, "sample", name=f"{x}.sent")
        else:
            attrs: dict[str, Any] = {
                "index": inside.first + len(inside.values),
                "type": str(value.type),
                "shape": value.shape,
            }
            sent = low.builder.node("carried", name=f"{x}.sent", source=low.source, **attrs)
        new = low.emit("delta", [x, sent], f"{x}.delta", threshold=threshold)
        if inside is None:
            low.builder.update(sent, new, source=low.source)
        else:
            inside.values.append(new)
        return new

    return low.shared(("delta", x, threshold), make)


def initial(low: Lowering, sent: Sent) -> list[str]:
    """Zeros for what a loop's layers have handed on before its first step."""
    out = []
    for name in sent.values:
        value = low.builder[name]
        zeros = np.zeros(value.shape, np.int64)
        out.append(low.builder.const(zeros, Type.parse(str(value.type)), name=f"{name}.nothing", source=low.source))
    return out
