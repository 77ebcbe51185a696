"""Lowering of delta layers: values are handed on where they changed by the threshold."""

from __future__ import annotations

import numpy as np
from neuroloom.compiler.ir import Node

from .forms import Const, Emitted, Form, Lin, Prod, Term
from .lower import Lowering, handles
from .ops_arith import BIT


@handles("delta")
def delta(low: Lowering, node: Node) -> None:
    """sent + changed * (x - sent); ``changed`` is the sum of two bits: x - sent >= threshold, and sent - x >= threshold."""
    (out,), threshold = node.outputs, node.attrs["threshold"]
    bounds = low.bounds[out.name]
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
    low.set(node, Form(tuple(terms), out.shape, bounds, node.where()))
