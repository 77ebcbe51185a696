"""Lowering of arithmetic: everything that is a sum of products, and how it is rounded."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
from neuroloom.compiler.errors import UnsupportedError
from neuroloom.compiler.ir import Node, Type
from neuroloom.compiler.ir.ops.arith import round_fraction
from neuroloom.compiler.ir.ops.contract import Equation
from neuroloom.compiler.ir.types import Range

from .forms import Clipped, Const, Emitted, Form, Lin, Mat, Prod, Spec, Term
from .isa import Rounding
from .locate import Loc, signed_width
from .lower import Lowering, handles, table_key
from .requant import scaling

BIT = Spec(0, Rounding.FLOOR, False, 1, False)
"""Saturate to 0..1: what makes bits of differences."""


def _spread(form: Form, shape: tuple[int, ...]) -> Form:
    """A sum broadcast to a shape."""
    if form.shape == shape:
        return form
    terms: list[Term] = []
    for term in form.terms:
        if isinstance(term, Const):
            terms.append(replace(term, data=np.broadcast_to(term.data, shape)))
        elif isinstance(term, Lin) and not term.reduced:
            terms.append(replace(term, a=_over(term.a, shape)))
        elif isinstance(term, Prod) and not term.reduced:
            terms.append(replace(term, a=_over(term.a, shape), b=_over(term.b, shape)))
        else:
            raise _Stored
    return replace(form, terms=tuple(terms), shape=shape)


class _Stored(Exception):
    """The sum cannot be broadcast before it is stored."""


def _over(loc: Loc, shape: tuple[int, ...]) -> Loc:
    return loc.map(lambda x: np.broadcast_to(x, shape))


def operand(low: Lowering, name: str, shape: tuple[int, ...]) -> Form:
    """A value as a sum of the shape."""
    form = low.form(name)
    try:
        return _spread(form, shape)
    except _Stored:
        loc = low.broadcast(name, shape)
        return Form((Lin(loc),), shape, loc.bounds)


@handles("const")
def const(low: Lowering, node: Node) -> None:
    """Kept as it is until somebody needs it stored."""
    low.set(node, low.constant(node.attrs["data"].astype(np.int64)))


@handles("add", "sub")
def add(low: Lowering, node: Node) -> None:
    """Terms of both."""
    out = node.outputs[0]
    a, b = (operand(low, name, out.shape) for name in node.inputs)
    terms = a.terms + (b.scaled(-1) if node.op == "sub" else b.terms)
    low.set(node, Form(terms, out.shape, low.bounds[out.name], node.where()))


@handles("mul")
def mul(low: Lowering, node: Node) -> None:
    """A product of two stored values, or a multiple."""
    out = node.outputs[0]
    bounds = low.bounds[out.name]
    for this, other in (node.inputs, node.inputs[::-1]):
        held = low.env[this]
        if isinstance(held, Form) and len(held.terms) == 1 and isinstance(held.terms[0], Const):
            data = held.terms[0].values()
            if data.size and (data == data.flat[0]).all():
                scaled = operand(low, other, out.shape).scaled(int(data.flat[0]))
                low.set(node, Form(scaled, out.shape, bounds, node.where()))
                return
    for this, other in (node.inputs, node.inputs[::-1]):
        held = low.env[this]
        if isinstance(held, Form) and this != other and _light(held):
            # each term times the other operand: nothing has to be stored in between
            spread, b = _spread(held, out.shape), low.broadcast(other, out.shape)
            low.set(node, Form(tuple(_times(term, b) for term in spread.terms), out.shape, bounds, node.where()))
            return
    a, b = (low.broadcast(name, out.shape) for name in node.inputs)
    low.set(node, Form((Prod(a, b),), out.shape, bounds, node.where()))


def _light(form: Form) -> bool:
    """Whether multiplying term by term is no more work: one stored value, and numbers."""
    lins = [t for t in form.terms if isinstance(t, Lin) and not t.reduced and t.a.parts == 1 and abs(t.coef) == 1]
    consts = [t for t in form.terms if isinstance(t, Const) and t.data.size and (t.data == t.data.flat[0]).all()]
    return len(lins) == 1 and len(consts) == 1 and len(form.terms) == 2


def _times(term: Term, b: Loc) -> Term:
    if isinstance(term, Lin):
        return Prod(term.a, b, term.coef)
    assert isinstance(term, Const)
    return Lin(b, int(term.values().flat[0]))


@handles("shift")
def shift(low: Lowering, node: Node) -> None:
    """A multiple by a power of two."""
    out = node.outputs[0]
    form = low.form(node.inputs[0])
    low.set(node, Form(form.scaled(1 << node.attrs["amount"]), out.shape, low.bounds[out.name], node.where()))


@handles("sum")
def sum_(low: Lowering, node: Node) -> None:
    """Terms summed over axes."""
    out, loc = node.outputs[0], low.loc(node.inputs[0])
    kept = [a for a in range(loc.addr.ndim) if a not in node.attrs["axes"]]
    order = (*kept, *node.attrs["axes"])
    moved = loc.map(lambda x: x.transpose(order).reshape(*out.shape, -1))
    low.set(node, Form((Lin(moved, 1, reduced=True),), out.shape, low.bounds[out.name], node.where()))


@handles("contract")
def contract(low: Lowering, node: Node) -> None:
    """Products summed over the letters that the result lacks."""
    out = node.outputs[0]
    equation = Equation.parse(node.attrs["equation"])
    a, b = (low.loc(name) for name in node.inputs)
    sizes = equation.sizes(a.addr.shape, b.addr.shape)
    summed = equation.summed
    full = (*out.shape, *(sizes[c] for c in summed))
    letters = equation.out + summed

    def spread(loc: Loc, own: str) -> Loc:
        present = [c for c in letters if c in own]
        order = [own.index(c) for c in present]
        shape = [sizes[c] if c in own else 1 for c in letters]
        return loc.map(lambda x: np.broadcast_to(x.transpose(order).reshape(shape), full).reshape(*out.shape, -1))

    a, b = spread(a, equation.a), spread(b, equation.b)
    if summed:
        low.set(node, Form((Prod(a, b, 1, reduced=True),), out.shape, low.bounds[out.name], node.where()))
    else:
        a, b = (x.map(lambda y: y[..., 0]) for x in (a, b))
        low.set(node, Form((Prod(a, b),), out.shape, low.bounds[out.name], node.where()))


@handles("matvec")
def matvec(low: Lowering, node: Node) -> None:
    """A matrix product for the lanes."""
    out = node.outputs[0]
    weights = node.attrs["weights"].astype(np.int64)
    bias = node.attrs.get("bias")
    bias = np.zeros(len(weights), np.int64) if bias is None else bias.astype(np.int64)
    low.set(
        node,
        Form((Mat(low.loc(node.inputs[0]), weights, bias),), out.shape, low.bounds[out.name], node.where()),
    )


@handles("conv")
def conv(low: Lowering, node: Node) -> None:
    """For every output position a matrix product of its window; stored with the channels innermost."""
    machine = low.machine
    out, x = node.outputs[0], low.loc(node.inputs[0])
    weights = node.attrs["weights"].astype(np.int64)
    groups, strides, pads = node.attrs["groups"], node.attrs["strides"], node.attrs["pads"]
    n = len(strides)
    if any(pads):
        padded = tuple(s + pads[a] + pads[n + a] for a, s in enumerate(x.addr.shape[1:]))
        axes = (*range(1, n + 1), 0)
        wide = machine.space.new((x.addr.shape[0], *padded), x.bounds, "a padded input", axes)
        for part in range(wide.parts):
            machine.space.image.update((int(a) + part * wide.part_stride, 0) for a in wide.addr.ravel())
        inner = (slice(None), *(slice(pads[a], pads[a] + s) for a, s in enumerate(x.addr.shape[1:])))
        low.copy(x, wide.map(lambda y: y[inner]))
        x = wide
    windows = [
        np.lib.stride_tricks.sliding_window_view(y, weights.shape[2:], axis=tuple(range(1, n + 1)))
        for y in (x.addr, x.reg)
    ]
    steps = (slice(None), *(slice(None, None, s) for s in strides))
    per_in, per_out = weights.shape[1], len(weights) // groups
    bias = node.attrs.get("bias")
    bias = np.zeros(len(weights), np.int64) if bias is None else bias.astype(np.int64)
    forms = []
    for group in range(groups):
        cut = slice(group * per_in, (group + 1) * per_in)
        axes = (*range(1, n + 1), 0, *range(n + 1, 2 * n + 1))
        addr, reg = (w[steps][cut].transpose(axes).reshape(*out.shape[1:], -1) for w in windows)
        chosen = slice(group * per_out, (group + 1) * per_out)
        forms.append(
            Form(
                (Mat(replace(x, addr=addr, reg=reg), weights[chosen].reshape(per_out, -1), bias[chosen]),),
                (*out.shape[1:], per_out),
                low.bounds[out.name],
                node.where(),
            )
        )
    low.set(node, _Channels(forms, low, n).held())


class _Channels:
    """Puts channels in front again: the sums have them last."""

    def __init__(self, forms: list[Form], low: Lowering, n: int) -> None:
        self._forms, self._low, self._n = forms, low, n

    def held(self) -> Form | Loc:
        """One group without matrix of its own stays a sum where nothing has to be turned; else it is stored."""
        locs = [self._low.machine.store(form, name="a convolution") for form in self._forms]
        turned = [loc.map(lambda a: np.moveaxis(a, -1, 0)) for loc in locs]
        if len(turned) == 1:
            return turned[0]
        strides = {loc.part_stride for loc in turned}
        if len(strides) > 1 and turned[0].parts > 1:
            raise UnsupportedError(f"{self._low.machine.source}: groups must be stored alike; requantize to fewer bits")
        return replace(
            turned[0],
            addr=np.concatenate([loc.addr for loc in turned]),
            reg=np.concatenate([loc.reg for loc in turned]),
        )


@handles("requantize")
def requantize(low: Lowering, node: Node) -> None:
    """How a sum leaves."""
    out, type_ = node.outputs[0], Type.parse(node.attrs["type"])
    held, source, bounds = low.env[node.inputs[0]], low.bounds[node.inputs[0]], low.bounds[out.name]
    factor = Fraction(node.attrs["factor"])
    ends = sorted(round_fraction(q * factor, node.attrs["rounding"]) for q in source)
    fits = type_.holds((ends[0], ends[1]))
    if isinstance(held, Clipped) and (fits or node.attrs["overflow"] == "saturate"):
        # rounding keeps the order, so the clip at 0 may come behind it: an unsigned type does it
        emitted = scaled(low, node, held.form, held.form.bounds, type_, bounds, clips=True)
        low.set(node, emitted)
        return
    form = low.form(node.inputs[0])
    if factor.denominator == 1 and fits:  # nothing is lost
        low.set(node, Form(form.scaled(factor.numerator), form.shape, bounds, node.where()))
        return
    if fits and signed_width(bounds) > low.machine.config.word and node.attrs["rounding"] in ("floor", "half_up"):
        low.set(node, _wide(low, node, form, source, bounds))
        return
    low.set(node, scaled(low, node, form, source, type_, bounds))


def _wide(low: Lowering, node: Node, form: Form, source: Range, bounds: Range) -> Loc:
    """A rounded sum of more bits than a word, stored digit by digit."""
    found = scaling(Fraction(node.attrs["factor"]), node.attrs["rounding"], source, node.where())
    half = 1 << found.shift - 1 if found.rounding == Rounding.HALF_UP and found.shift else 0
    terms = (*form.scaled(found.multiplier), Const(np.array(found.constant + half)))
    ends = [q * found.multiplier + found.constant + half for q in source]
    return low.machine.store(
        replace(form, terms=terms, bounds=(min(ends), max(ends))), name=node.where(), shift=found.shift, result=bounds
    )


def scaled(
    low: Lowering, node: Node, form: Form, source: Range, type_: Type, bounds: Range, *, clips: bool = False
) -> Emitted:
    """A sum times the node's factor, rounded and fitted into ``type_`` by the node's rules."""
    found = scaling(Fraction(node.attrs["factor"]), node.attrs["rounding"], source, node.where())
    terms = form.scaled(found.multiplier)
    if found.constant:
        terms = (*terms, Const(np.array(found.constant)))
    ends = [q * found.multiplier + found.constant for q in source]
    wide = replace(form, terms=terms, bounds=(min(ends), max(ends)), source=node.where())
    word = low.machine.config.word
    wraps = node.attrs["overflow"] == "wrap"
    width, signed = type_.width, type_.signed
    if signed_width(bounds) > word:
        raise UnsupportedError(
            f"{node.where()}: requantize must give at most {word} bits in two's complement, the word of profile "
            f"{low.machine.config.profile!r}, not {bounds[0]}..{bounds[1]}; choose a narrower type, or a board with wider words"
        )
    if width > word:  # the proven range is narrower than the type, so nothing is ever cut
        width, signed, wraps = word, True, True
    if clips:
        width, signed, wraps = width - signed, False, False
    return Emitted(wide, Spec(found.shift, found.rounding, wraps, width, signed), bounds)


@handles("table")
def table(low: Lowering, node: Node) -> None:
    """A look-up behind the port of the value that is looked up."""
    out, machine = node.outputs[0], low.machine
    lo, hi = low.bounds[node.inputs[0]]
    first, end = low.tables[table_key(node)]
    entries = node.attrs["entries"].astype(np.int64)[first - node.attrs["lo"] : end - node.attrs["lo"] + 1]
    bounds, word = low.bounds[out.name], machine.config.word
    if signed_width((lo, hi)) > word or signed_width(bounds) > word:
        raise UnsupportedError(
            f"{node.where()}: a table must map words to words of {word} bits (profile {machine.config.profile!r}), "
            f"not {lo}..{hi} to {bounds[0]}..{bounds[1]}"
        )
    held = low.env[node.inputs[0]]
    base = machine.table(entries) - first
    if isinstance(held, Emitted) and low.uses[node.inputs[0]] == 1 and not held.spec.table:
        spec = replace(held.spec, table=True, tbase=base)
        low.set(node, Emitted(held.form, spec, bounds))
        return
    form = low.form(node.inputs[0])
    low.set(node, Emitted(form, Spec(0, Rounding.FLOOR, True, word, True, True, base), bounds))


def clamp(low: Lowering, form: Form, width: int, signed: bool) -> Loc:
    """A sum saturated to a type and stored."""
    top = (1 << width - signed) - 1
    bounds = (-top - 1 if signed else 0, top)
    spec = Spec(0, Rounding.FLOOR, False, width, signed)
    return low.machine.store(Emitted(form, spec, bounds), name="a saturated difference")


@handles("max", "min")
def extremum(low: Lowering, node: Node) -> None:
    """max(a, b) = b + relu(a - b), min(a, b) = a - relu(a - b)."""
    out = node.outputs[0]
    for this, other in (node.inputs, node.inputs[::-1]):
        held = low.env[this]
        if node.op == "max" and isinstance(held, Form) and len(held.terms) == 1 and isinstance(held.terms[0], Const):
            if not held.terms[0].values().any() and low.shape(other) == out.shape:
                low.set(node, Clipped(low.form(other), low.bounds[out.name]))
                return
    a, b = (Form((Lin(x),), out.shape, x.bounds) for x in (low.broadcast(n, out.shape) for n in node.inputs))
    gap = a.bounds[0] - b.bounds[1], a.bounds[1] - b.bounds[0]
    width = max(signed_width((0, max(gap[1], 0))) - 1, 1)
    word = low.machine.config.word
    difference = Form(a.terms + b.scaled(-1), out.shape, gap, node.where())
    if width >= word:
        over = low.machine.store(low.computable(Clipped(difference, (0, max(gap[1], 0)))), name="a difference")
    else:
        over = clamp(low, difference, width, False)
    lin = (Lin(over, 1 if node.op == "max" else -1),)
    first = b if node.op == "max" else a
    low.set(node, Form(first.terms + lin, out.shape, low.bounds[out.name], node.where()))


@handles("relation")
def relation(low: Lowering, node: Node) -> None:
    """a > b saturates a - b to a bit, a >= b one more; a == b is 1 - (a - b)**2 with the difference in -2..1."""
    out = node.outputs[0]
    a, b = (operand(low, name, out.shape) for name in node.inputs)
    gap = a.bounds[0] - b.bounds[1], a.bounds[1] - b.bounds[0]
    difference = Form(a.terms + b.scaled(-1), out.shape, gap, node.where())
    one = Const(np.array(1))
    if node.attrs["kind"] == "eq":
        near = clamp(low, difference, 2, True)
        square = Form((one, Prod(near, near, -1)), out.shape, (-3, 1), node.where())
        low.set(node, Emitted(square, BIT, low.bounds[out.name]))
        return
    if node.attrs["kind"] == "ge":
        difference = replace(difference, terms=(*difference.terms, one), bounds=(gap[0] + 1, gap[1] + 1))
    low.set(node, Emitted(difference, BIT, low.bounds[out.name]))


@handles("select")
def select(low: Lowering, node: Node) -> None:
    """b + cond * a - cond * b."""
    out = node.outputs[0]
    cond, a, b = (low.broadcast(name, out.shape) for name in node.inputs)
    terms = (Lin(b), Prod(cond, a), Prod(cond, b, -1))
    low.set(node, Form(terms, out.shape, low.bounds[out.name], node.where()))


@handles("bitwise")
def bitwise(low: Lowering, node: Node) -> None:
    """Of bits: products and sums."""
    out, kind = node.outputs[0], node.attrs["kind"]
    if not out.type.is_bit:
        raise UnsupportedError(f"{node.where()}: bitwise must be of bits on the gated engine, not of {out.type}")
    one = Const(np.array(1))
    bounds = low.bounds[out.name]
    if kind == "not":
        form = operand(low, node.inputs[0], out.shape)
        low.set(node, Form((one, *form.scaled(-1)), out.shape, bounds, node.where()))
        return
    a, b = (low.broadcast(name, out.shape) for name in node.inputs)
    both = {"and": (), "or": (Lin(a), Lin(b)), "xor": (Lin(a), Lin(b))}[kind]
    product = Prod(a, b, {"and": 1, "or": -1, "xor": -2}[kind])
    low.set(node, Form((*both, product), out.shape, bounds, node.where()))


@handles("compare")
def compare(low: Lowering, node: Node) -> None:
    """x >= threshold: the difference plus one, saturated to a bit."""
    out, x = node.outputs[0], low.loc(node.inputs[0])
    indices, thresholds = node.attrs["indices"], node.attrs["thresholds"].astype(np.int64)
    picked = x.map(lambda a: a.reshape(-1)[indices].reshape(out.shape))
    rest = (1 - thresholds).reshape(out.shape)
    bounds = x.bounds[0] + int(rest.min(initial=0)), x.bounds[1] + int(rest.max(initial=0))
    low.set(node, Emitted(Form((Lin(picked), Const(rest)), out.shape, bounds, node.where()), BIT, low.bounds[out.name]))
