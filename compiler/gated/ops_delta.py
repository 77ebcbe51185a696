"""Lowering of delta layers: values are handed on where they changed by the threshold, and changes are listed for the lanes."""

from __future__ import annotations

import numpy as np
from neuroloom.compiler.ir import Node

from .changes import list_changes
from .forms import Const, Emitted, Form, Lin, Prod, Term
from .lower import Lowering, handles
from .ops_arith import BIT


@handles("delta")
def delta(low: Lowering, node: Node) -> None:
    """Where the engine lists changes, the new value stands in the old one's place; else sent + changed * (x - sent).

    ``changed`` is the sum of two bits, x - sent >= threshold and sent - x >= threshold.
    """
    (out,), threshold = node.outputs, node.attrs["threshold"]
    why = _listed(low, node)
    if why is None:
        return
    low.remarks.append(f"{node.where()}: every product with %{out.name} is computed, changed or not: {why}")
    if threshold <= 1:
        low.set(node, low.form(node.inputs[0]))
        return
    x, sent = (low.loc(name) for name in node.inputs)
    gaps = x.bounds[0] - sent.bounds[1], x.bounds[1] - sent.bounds[0]
    terms: list[Term] = [Lin(sent)]
    for sign, (least, most) in ((1, gaps), (-1, (-gaps[1], -gaps[0]))):
        apart = (Lin(x, sign), Lin(sent, -sign), Const(np.array(1 - threshold)))
        reached = Form(apart, out.shape, (least + 1 - threshold, most + 1 - threshold), node.where())
        bit = low.machine.store(Emitted(reached, BIT, (0, 1)), name="a change")
        terms += [Prod(bit, x), Prod(bit, sent, -1)]
    low.set(node, Form(tuple(terms), out.shape, low.bounds[out.name], node.where()))


def _listed(low: Lowering, node: Node) -> str | None:
    """List the changes; or say why not, in half a sentence."""
    (out,), (x, sent) = node.outputs, node.inputs
    dest, old = low.hints.get(out.name, (None, ""))
    if dest is None or old != sent or sent not in low.starts or low.uses[sent] != 1:
        return f"%{sent} must be a state that begins with numbers known beforehand, and that only this layer reads and writes"
    if low.leaves:
        return "an early exit may leave out the products of a step"
    why = list_changes(low.machine, low.loc(x), dest, low.starts[sent], node.attrs["threshold"])
    if why is None:
        low.set(node, dest)
    return why
