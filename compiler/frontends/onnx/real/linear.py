"""Matrix products and contractions of float models."""

from __future__ import annotations

import string
from fractions import Fraction
from typing import Any

import numpy as np
from neuroloom.compiler.frontends.onnx import build
from neuroloom.compiler.frontends.onnx.registry import Call
from neuroloom.compiler.frontends.onnx.tensors import Const, Sym

from .importer import binary, constant, emit, operator, real_data, reshaped, result
from .quantised import GridConst, weight_grid


def _need_float(call: Call, *tensors: Const | Sym) -> None:
    if any(t.dtype.kind != "f" for t in tensors):
        call.refuse(f"{call.op} of integers is not supported in a float model", "use floats")


Weights = tuple[np.ndarray, tuple[Fraction, ...]]
"""Quantised weights: integers with the outputs on the first axis, and one scale or one per output."""


def linear(
    call: Call,
    x: Sym,
    weights: np.ndarray,
    bias: np.ndarray | list[Fraction] | None = None,
    part: str = "",
    grid: Weights | None = None,
) -> Sym:
    """x @ weights.T + bias along the last axis, ``weights`` [O, I]; with ``grid`` they are exactly those integers times scales."""
    if x.batch is not None and x.batch == x.rank - 1:
        call.refuse("the product would sum over the batch axis", "give another --batch-axis")
    if x.shape[-1] != weights.shape[1]:
        call.bad(f"the last axis of its input must be {weights.shape[1]}, as its weights are, not {x.shape[-1]}")
    attrs = weighted(weights, bias, grid)
    return result(call, emit(call, "linear", [x.name], part, **attrs), x.dtype, x.batch)


def weighted(weights: np.ndarray, bias: np.ndarray | list[Fraction] | None, grid: Weights | None) -> dict[str, Any]:
    """Attributes of a linear or conv node."""
    attrs: dict[str, Any] = {"weights": np.ascontiguousarray(weights)}
    if bias is not None:
        exact = bias if isinstance(bias, list) else [Fraction(float(b)) for b in np.broadcast_to(bias, len(weights))]
        attrs["bias"] = np.array([float(b) for b in exact])
        if grid is not None:
            attrs["exact_bias"] = tuple(exact)
    if grid is not None:
        attrs["grid"] = grid
    return attrs


def exact_bias(bias: Const) -> np.ndarray | list[Fraction]:
    """A constant bias, as exact rationals where it is quantised."""
    if isinstance(bias, GridConst) and bias.ints.ndim == 1:
        scales = bias.scales * len(bias.ints) if len(bias.scales) == 1 else bias.scales
        return [int(q) * s for q, s in zip(bias.ints, scales, strict=True)]
    return bias.array


def product(call: Call, a: Const | Sym, b: Const | Sym, part: str = "") -> Sym:
    """numpy.matmul: weights on the right, or two computed tensors."""
    if isinstance(a, Sym) and isinstance(b, Const) and b.array.ndim == 2:
        grid = weight_grid(b, 1)
        weights = real_data(call, b.array, "the weights").T
        return linear(call, a, weights, None, part, None if grid is None else (grid[0].T, grid[1]))
    if isinstance(a, Sym) and isinstance(b, Const) and b.array.ndim == 1:
        out = linear(call, a, real_data(call, b.array, "the weights")[None], part="product")
        return result(call, reshaped(call, out.name, out.shape[:-1], ""), a.dtype, out.batch)
    return _contracted(call, a, b)


@operator("MatMul")
def matmul(call: Call) -> Sym:
    """numpy.matmul."""
    a, b = call.tensor(0), call.tensor(1)
    _need_float(call, a, b)
    return product(call, a, b)


def _contracted(call: Call, a: Const | Sym, b: Const | Sym) -> Sym:
    """Both operands as values of the program, by letters: batch-like axes are shared, a length of one is dropped."""
    if a.rank == 0 or b.rank == 0:
        call.bad("MatMul must not have a scalar operand")
    ranks = [max(t.rank, 2) for t in (a, b)]
    rank = max(ranks)
    letters = string.ascii_lowercase
    lead = letters[: rank - 2]
    row, inner, column = "X", "Y", "Z"
    texts = []
    for number, t in enumerate((a, b)):
        text = lead[len(lead) - (ranks[number] - 2) :] + (row + inner if number == 0 else inner + column)
        if t.rank == 1:
            text = inner
        texts.append(text)
    out = lead + ("" if a.rank == 1 else row) + ("" if b.rank == 1 else column)
    return contraction(call, [a, b], texts, out, broadcast=True)


def contraction(call: Call, tensors: list[Const | Sym], texts: list[str], out: str, *, broadcast: bool = False) -> Sym:
    """An einsum of two tensors with the batch axis taken out; its letter must be kept and be the same in both operands."""
    batch_letters = {
        text[t.batch] for t, text in zip(tensors, texts, strict=True) if isinstance(t, Sym) and t.batch is not None
    }
    if len(batch_letters) > 1:
        call.refuse("the batch axes of its inputs are different axes of the product", "transpose them alike")
    letter = batch_letters.pop() if batch_letters else ""
    if letter and letter not in out:
        call.refuse("the product would sum over the batch axis", "give another --batch-axis")
    names, kept = [], []
    sizes: dict[str, int] = {}
    for t, text in zip(tensors, texts, strict=True):
        if isinstance(t, Const):
            data = t.array
            if letter and letter in text:
                at = text.index(letter)
                if data.shape[at] != 1:
                    call.refuse("weights that differ from sample to sample depend on the place in the batch")
                data = data.take(0, axis=at)
            shape, name = data.shape, constant(call, data, "weights")
            text = text.replace(letter, "") if letter else text
        else:
            shape, name = t.shape, t.name
            if t.batch is not None:
                text = text[: t.batch] + text[t.batch + 1 :]
            elif letter and letter in text:
                at = text.index(letter)
                if shape[at] != 1:
                    call.bad("its inputs must have the same number of samples")
                shape, text = shape[:at] + shape[at + 1 :], text.replace(letter, "")
                name = reshaped(call, name, shape, "sample")
        if broadcast:
            ones = [i for i, (c, d) in enumerate(zip(text, shape, strict=True)) if d == 1 and c.islower()]
            shape = tuple(d for i, d in enumerate(shape) if i not in ones)
            text = "".join(c for i, c in enumerate(text) if i not in ones)
            name = reshaped(call, name, shape, "squeezed")
        for c, d in zip(text, shape, strict=True):
            if sizes.setdefault(c, d) != d:
                call.bad(f"an axis must have one length in both inputs, not {sizes[c]} and {d}")
        names.append(name)
        kept.append(text)
    inside = out.replace(letter, "") if letter else out
    present = "".join(c for c in inside if c in sizes)
    name = emit(
        call, "contract", names, "product" if present != inside else "", equation=f"{kept[0]},{kept[1]}->{present}"
    )
    if present != inside:
        name = reshaped(call, name, tuple(sizes.get(c, 1) for c in inside), "")
    dtype = next(t.dtype for t in tensors if isinstance(t, Sym))
    return result(call, name, dtype, out.index(letter) if letter else None)


@operator("Gemm")
def gemm(call: Call) -> Sym:
    """alpha * A' B' + beta * C."""
    a, b = call.tensor(0), call.tensor(1)
    _need_float(call, a, b)
    alpha, beta = float(call.real("alpha", 1.0)), float(call.real("beta", 1.0))
    turn_a, turn_b = call.integer("transA", 0), call.integer("transB", 0)
    c = call.tensor(2) if call.has(2) and beta else None
    if a.rank != 2 or b.rank != 2:
        call.bad(f"A and B must be matrices, not of {a.rank} and {b.rank} axes")
    if isinstance(a, Sym) and isinstance(b, Const) and a.batch in (0, None) and not turn_a:
        weights = real_data(call, b.array, "the weights")
        grid = weight_grid(b, 0 if turn_b else 1) if alpha == 1 and beta == 1 else None
        if grid is not None and not turn_b:
            grid = grid[0].T, grid[1]
        weights = (weights if turn_b else weights.T) * alpha
        bias: np.ndarray | list[Fraction] | None = None
        if (
            isinstance(c, Const)
            and build.sample_constant(call, c.array, 2, a.batch).size in (1, len(weights))
            and a.batch == 0
        ):
            bias = real_data(call, build.sample_constant(call, c.array, 2, 0), "the bias").reshape(-1) * beta
            bias = exact_bias(c) if grid is not None and isinstance(c, GridConst) else bias
            c = None
        out = linear(call, a, weights, bias, "product" if c is not None else "", grid)
    else:
        texts = ["KM" if turn_a else "MK", "NK" if turn_b else "KN"]
        out = contraction(call, [a, b], texts, "MN")
        if alpha != 1:
            out = binary(call, "mul", out, Const(np.array(alpha)), "scaled")
    if c is None:
        return out
    if beta != 1:
        c = Const(c.array * beta) if isinstance(c, Const) else binary(call, "mul", c, Const(np.array(beta)), "bias")
    return binary(call, "add", out, c)


@operator("Einsum")
def einsum(call: Call) -> Sym:
    """A contraction of two tensors, or a sum or transposition of one, by the equation."""
    equation = call.text("equation", "").replace(" ", "")
    tensors: list[Const | Sym] = [call.tensor(i) for i in range(len(call.inputs))]
    _need_float(call, *tensors)
    left, arrow, out = equation.partition("->")
    texts = left.split(",")
    if "." in equation:
        texts, out = _ellipsis(call, texts, out if arrow else None, [t.rank for t in tensors])
    elif not arrow:
        joined = "".join(texts)
        out = "".join(sorted(c for c in set(joined) if joined.count(c) == 1))
    if len(texts) != len(tensors) or any(len(t) != x.rank for t, x in zip(texts, tensors, strict=False)):
        call.bad(f"equation {equation!r} must have a letter for every axis of its inputs")
    if any(len(set(t)) != len(t) for t in [*texts, out]):
        call.refuse(f"equation {equation!r} takes a diagonal", "write it with GatherElements")
    if len(tensors) == 1:
        tensors.append(Const(np.ones((), np.float32)))
        texts.append("")
    if len(tensors) > 2:
        call.refuse("an Einsum of more than two inputs is not supported", "contract two at a time")
    return contraction(call, tensors, texts, out)


def _ellipsis(call: Call, texts: list[str], out: str | None, ranks: list[int]) -> tuple[list[str], str]:
    """Letters in place of ``...``, the same for the last axes of all operands."""
    used = set("".join(texts))
    free = [c for c in string.ascii_letters if c not in used]
    widths = [r - len(t.replace("...", "")) for t, r in zip(texts, ranks, strict=True)]
    most = max(w for w, t in zip(widths, texts, strict=True) if "..." in t)
    names = "".join(free[:most])
    if any(w != most for w, t in zip(widths, texts, strict=True) if "..." in t):
        call.refuse("the axes under ... must be as many in both inputs", "reshape them to the same rank")
    filled = [t.replace("...", names) for t in texts]
    if out is None:
        joined = "".join(texts).replace(".", "")
        out = "..." + "".join(sorted(c for c in set(joined) if joined.count(c) == 1))
    return filled, out.replace("...", names)
