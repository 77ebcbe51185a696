"""Elementwise arithmetic and activations of float models."""

from __future__ import annotations

from functools import partial

import numpy as np
from neuroloom.compiler.frontends.onnx import build
from neuroloom.compiler.frontends.onnx.registry import Call
from neuroloom.compiler.frontends.onnx.tensors import Const, Sym, Tensor

from .importer import binary, constant, emit, function, importer_of, operator, real_data, result, value_of
from .masked import Masked, masked_choice, masked_softmax, masked_sum


def _binary(call: Call, op: str) -> Sym:
    return binary(call, op, call.tensor(0), call.tensor(1))


@operator("Add")
def add(call: Call) -> Tensor:
    """a + b; with a constant that has minus infinities, a mask."""
    return masked_sum(call) or _binary(call, "add")


operator("Sub")(partial(_binary, op="sub"))
operator("Mul")(partial(_binary, op="mul"))


@operator("Div")
def div(call: Call) -> Sym:
    """a / b: a product with the reciprocal, of a constant exactly, of a computed tensor through a table."""
    a, b = call.tensor(0), call.tensor(1)
    if a.dtype.kind != "f":
        call.refuse("division of integers is not supported in a float model", "divide floats")
    if isinstance(b, Const):
        data = real_data(call, b.array, "the divisor")
        if not data.all():
            call.bad("the divisor must not be 0")
        return binary(call, "mul", a, Const((1 / data).astype(np.float64)))
    return binary(call, "mul", a, function(call, b, "reciprocal", part="reciprocal"))


def _fold(call: Call, op: str) -> Tensor:
    """Any number of tensors, from left to right."""
    total: Const | Sym = call.tensor(0)
    for number in range(1, len(call.inputs)):
        other = call.tensor(number)
        if isinstance(total, Const) and isinstance(other, Const):
            join = {"add": np.add, "max": np.maximum, "min": np.minimum}[op]
            total = Const(np.asarray(join(total.array, other.array)))
        else:
            total = binary(call, op, total, other, "" if number == len(call.inputs) - 1 else f"part{number}")
    return total


operator("Sum")(partial(_fold, op="add"))
operator("Max")(partial(_fold, op="max"))
operator("Min")(partial(_fold, op="min"))


@operator("Mean")
def mean(call: Call) -> Sym:
    """The mean of tensors."""
    total = _fold(call, "add")
    assert isinstance(total, Sym)
    return binary(call, "mul", total, Const(np.array(1 / len(call.inputs))), "mean")


@operator("Neg")
def neg(call: Call) -> Sym:
    """-x."""
    return binary(call, "sub", Const(np.zeros((), call.sym(0).dtype)), call.sym(0))


@operator("Abs")
def abs_(call: Call) -> Sym:
    """|x|, the larger of x and -x."""
    x = call.sym(0)
    return binary(call, "max", x, binary(call, "sub", Const(np.zeros((), x.dtype)), x, "negated"))


@operator("Relu")
def relu(call: Call) -> Sym:
    """max(x, 0)."""
    return binary(call, "max", call.sym(0), Const(np.zeros((), call.sym(0).dtype)))


@operator("Clip")
def clip(call: Call) -> Sym:
    """x limited to min..max, from inputs or, in older operator sets, attributes."""
    x = call.sym(0)
    for number, name, op in ((1, "min", "max"), (2, "max", "min")):
        if call.has(number):
            limit: Const | Sym = call.tensor(number)
        elif name in call.attributes:
            limit = Const(np.array(call.real(name, 0.0)))
        else:
            continue
        if isinstance(limit, Const) and np.abs(limit.array).max(initial=0) > 1e37:
            continue  # the type's own ends, as exporters write an open side
        x = binary(call, op, x, limit, "limited")
    return x


@operator("PRelu")
def prelu(call: Call) -> Sym:
    """x where positive, slope * x elsewhere: max(x, 0) + slope * min(x, 0)."""
    x, slope = call.sym(0), call.tensor(1)
    zero = Const(np.zeros((), x.dtype))
    positive = binary(call, "max", x, zero, "positive")
    negative = binary(call, "mul", binary(call, "min", x, zero, "negative"), slope, "sloped")
    return binary(call, "add", positive, negative)


PLAIN = {
    "Sigmoid": "sigmoid",
    "Tanh": "tanh",
    "Exp": "exp",
    "Log": "log",
    "Sqrt": "sqrt",
    "Reciprocal": "reciprocal",
    "Erf": "erf",
    "Softplus": "softplus",
    "Softsign": "softsign",
    "Mish": "mish",
    "HardSwish": "hard_swish",
    "Floor": "floor",
    "Ceil": "ceil",
    "Round": "round",
    "Sign": "sign",
}
"""Operators that are one function without parameters."""


def _plain(call: Call) -> Sym:
    return function(call, call.sym(0), PLAIN[call.op])


operator(*PLAIN)(_plain)

WITH_PARAMETERS = {
    "LeakyRelu": ("leaky_relu", (("alpha", 0.01),)),
    "ThresholdedRelu": ("thresholded_relu", (("alpha", 1.0),)),
    "Elu": ("elu", (("alpha", 1.0),)),
    "Selu": ("selu", (("alpha", 1.67326319217681884765625), ("gamma", 1.05070102214813232421875))),
    "Celu": ("celu", (("alpha", 1.0),)),
    "HardSigmoid": ("hard_sigmoid", (("alpha", 0.2), ("beta", 0.5))),
    "Swish": ("silu", (("alpha", 1.0),)),
}
"""Operators that are one function with float attributes, and their defaults."""


def _with_parameters(call: Call) -> Sym:
    name, attributes = WITH_PARAMETERS[call.op]
    return function(call, call.sym(0), name, [float(call.real(a, default)) for a, default in attributes])


operator(*WITH_PARAMETERS)(_with_parameters)


@operator("Gelu")
def gelu(call: Call) -> Sym:
    """x * Phi(x), exactly or by its tanh approximation."""
    approximate = call.text("approximate", "none")
    if approximate not in ("none", "tanh"):
        call.bad(f"approximate must be none or tanh, not {approximate!r}")
    return function(call, call.sym(0), "gelu" if approximate == "none" else "gelu_tanh")


@operator("Pow")
def power(call: Call) -> Sym:
    """x to a constant power: 1, 2, 3, 1/2, -1, -1/2."""
    x, exponent = call.tensor(0), call.tensor(1)
    if isinstance(x, Sym) and isinstance(exponent, Const) and exponent.array.size == 1:
        p = float(exponent.array.reshape(-1)[0])
        if p == 1:
            return x
        if p in (2, 3):
            square = function(call, x, "square", part="square" if p == 3 else "")
            return square if p == 2 else binary(call, "mul", square, x)
        names = {0.5: "sqrt", -1.0: "reciprocal", -0.5: "rsqrt"}
        if p in names:
            return function(call, x, names[p])
    call.refuse("this power is not supported", "use the constant exponents 1, 2, 3, 1/2, -1 or -1/2")


@operator("Dropout")
def dropout(call: Call) -> list[Tensor]:
    """The input itself (inference)."""
    if call.has(2) and bool(call.const(2, "training_mode").any()):
        call.refuse("Dropout in training mode is random", "export the model for inference")
    if len(call.node.output) > 1 and call.node.output[1]:
        call.refuse("the mask of Dropout is not supported", "drop that output")
    return [call.sym(0)]


@operator("BatchNormalization")
def batch_normalization(call: Call) -> list[Tensor]:
    """(x - mean) / sqrt(variance + epsilon) * scale + bias per channel, of inference: one product and one sum."""
    if call.integer("training_mode", 0):
        call.refuse("BatchNormalization in training mode depends on the batch", "export the model for inference")
    x = call.sym(0)
    scale, bias, mean_, variance = (real_data(call, call.const(i, "statistics"), "statistics") for i in range(1, 5))
    if (variance < 0).any():
        call.bad("the variance must not be negative")
    gain = scale / np.sqrt(variance + float(call.real("epsilon", 1e-5)))
    shape = [1] * x.rank
    channel = 1 if x.rank > 1 else 0
    if x.batch == channel:
        call.refuse("the batch axis must not be the channel axis", "give --batch-axis 0")
    shape[channel] = len(gain)
    scaled = binary(call, "mul", x, Const(gain.reshape(shape)), "scaled")
    return [binary(call, "add", scaled, Const((bias - mean_ * gain).reshape(shape)))]


@operator("LayerNormalization")
def layer_normalization(call: Call) -> list[Tensor]:
    """(x - mean) / sqrt(variance + epsilon) * scale + bias over the axes from ``axis`` on."""
    x = call.sym(0)
    axes = range(call.axis(call.integer("axis", -1), x.rank), x.rank)
    if x.batch in axes:
        call.refuse("normalising along the batch axis would mix samples", "choose another axis")
    own = tuple(a - (x.batch is not None and a > x.batch) for a in axes)
    keep = tuple(1 if i in own else d for i, d in enumerate(x.shape))

    def over(value: str, part: str) -> str:
        return emit(call, "reshape", [emit(call, "mean", [value], f"{part}.flat", axes=own)], part, shape=keep)

    middle = over(x.name, "mean")
    centred = emit(call, "sub", [x.name, middle], "centred")
    square = emit(call, "function", [centred], "square", function="square")
    epsilon = constant(call, np.array(float(call.real("epsilon", 1e-5))), "epsilon")
    variance = emit(call, "add", [over(square, "variance"), epsilon], "variance.safe")
    inverse = emit(call, "function", [variance], "inverse", function="rsqrt")
    out = result(call, emit(call, "mul", [centred, inverse], "normal"), x.dtype, x.batch)
    out = binary(call, "mul", out, call.tensor(1), "scaled")
    out = binary(call, "add", out, call.tensor(2)) if call.has(2) else out
    return [out, *(result(call, name, x.dtype, x.batch) for name in (middle, inverse))]


def softmax_along(call: Call, x: Sym, axis: int, *, log: bool) -> Sym:
    """exp(x - max) / sum along a per-sample axis; of the logarithm x - max - log(sum)."""
    keep = tuple(1 if i == axis else d for i, d in enumerate(x.shape))

    def kept(op: str, value: str, part: str) -> str:
        return emit(call, "reshape", [emit(call, op, [value], f"{part}.flat", axes=(axis,))], part, shape=keep)

    centred = emit(call, "sub", [x.name, kept("reduce_max", x.name, "max")], "centred")
    powers = emit(call, "function", [centred], "exp", function="exp")
    total = kept("sum", powers, "total")
    if log:
        return result(
            call, emit(call, "sub", [centred, emit(call, "function", [total], "log", function="log")]), x.dtype, x.batch
        )
    inverse = emit(call, "function", [total], "inverse", function="reciprocal")
    return result(call, emit(call, "mul", [powers, inverse]), x.dtype, x.batch)


@operator("Softmax", "LogSoftmax")
def softmax(call: Call) -> Sym:
    """Along one axis; before operator set 13 over all axes from ``axis`` on."""
    hidden = call.inputs[0]
    x = hidden.x if isinstance(hidden, Masked) else call.sym(0)
    axis = call.axis(call.integer("axis", -1 if call.version >= 13 else 1), x.rank)
    if call.version < 13 and axis != x.rank - 1:
        call.refuse("Softmax over several axes is not supported", "export with operator set 13 or newer")
    along = call.sample_axis(x, axis, "normalising along")
    if isinstance(hidden, Masked):
        return masked_softmax(call, hidden, along)
    out = softmax_along(call, x, along, log=call.op == "LogSoftmax")
    importer_of(call).ordered[out.name] = x.name, along
    return out


@operator("Where")
def where(call: Call) -> Tensor:
    """cond ? a : b; with minus infinity on one side, a mask."""
    hidden = masked_choice(call)
    if hidden is not None:
        return hidden
    tensors = [call.tensor(i) for i in range(3)]
    _, batch, operands = build.align(call, tensors)
    names = [value_of(call, o) for o in operands]
    dtype = next((t.dtype for t in tensors[1:] if isinstance(t, Sym)), tensors[1].dtype)
    return result(call, emit(call, "select", names), dtype, batch)
