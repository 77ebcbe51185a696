"""Graphs that are quantised already: QuantizeLinear and its kind, QLinear* and *Integer operators, QONNX.

They are taken exactly: scales are the rationals that their float32 numbers are, sums are integers, rounding is to nearest even and
saturates. No calibration is needed where everything between two quantisations is exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from neuroloom.compiler.frontends.onnx import build
from neuroloom.compiler.frontends.onnx.registry import Call
from neuroloom.compiler.frontends.onnx.tensors import Const, Sym, Tensor

from .importer import binary, emit, operator, real_data, result

QONNX = ("qonnx.custom_op.general", "finn.custom_op.general", "onnx.brevitas")
"""Domains of QONNX' operators, the present one first."""


NARROW = {
    "int4": (np.int8, (-8, 7)),
    "uint4": (np.uint8, (0, 15)),
    "int2": (np.int8, (-2, 1)),
    "uint2": (np.uint8, (0, 3)),
}
"""Element types narrower than a byte: numpy's type that holds them, and their range."""


def _widened(array: np.ndarray) -> np.ndarray:
    """Integers narrower than a byte in bytes; anything else as it is."""
    return array.astype(NARROW[array.dtype.name][0]) if array.dtype.name in NARROW else array


@dataclass(frozen=True, slots=True)
class GridConst(Const):
    """A constant that is integers times scales: one scale, or one per index of ``axis``."""

    ints: np.ndarray
    scales: tuple[Fraction, ...]
    axis: int | None = None

    def turned(self, perm: list[int]) -> GridConst:
        """Its axes permuted."""
        axis = None if self.axis is None else perm.index(self.axis)
        return GridConst(self.array.transpose(perm), self.ints.transpose(perm), self.scales, axis)


def weight_grid(weights: Const, rows: int) -> tuple[np.ndarray, tuple[Fraction, ...]] | None:
    """Integers and scales of quantised weights whose outputs run along axis ``rows``; None for weights that are floats."""
    if not isinstance(weights, GridConst) or weights.axis not in (None, rows):
        return None
    return weights.ints, weights.scales


def _scales(call: Call, number: int) -> np.ndarray:
    data = real_data(call, call.const(number, "the scale"), "the scale")
    if not (data > 0).all():
        call.bad("scales must be above 0")
    return data


def _zero(call: Call, number: int, dtype: np.dtype) -> np.ndarray:
    if not call.has(number):
        return np.zeros((), dtype)
    zero = _widened(call.const(number, "the zero point"))
    if zero.dtype.kind not in "iu":
        call.refuse(f"the zero point must be an integer of 8, 16 or 32 bits, not {zero.dtype}")
    return zero


def _one(call: Call, data: np.ndarray, what: str) -> Any:
    if data.size != 1:
        call.refuse(f"{what} of a computed tensor must be one number", "quantise activations per tensor")
    return data.reshape(-1)[0]


def quantized(
    call: Call,
    x: Sym,
    scale: float,
    zero: int,
    dtype: np.dtype,
    bounds: tuple[int, int],
    part: str = "",
    rounding: str = "half_even",
) -> Sym:
    """round(x / scale) + zero, saturated to ``bounds``."""
    attrs = {
        "scale": str(Fraction(float(scale))),
        "zero": int(zero),
        "lo": bounds[0],
        "hi": bounds[1],
        "rounding": rounding,
    }
    return result(call, emit(call, "quantize", [x.name], part, **attrs), dtype, x.batch)


def dequantized(call: Call, q: Sym, scale: float, zero: int, part: str = "", dtype: Any = np.float32) -> Sym:
    """(q - zero) * scale, exactly."""
    attrs = {"scale": str(Fraction(float(scale))), "zero": int(zero)}
    return result(call, emit(call, "dequantize", [q.name], part, **attrs), np.dtype(dtype), q.batch)


def _grid(call: Call, ints: np.ndarray, scale: np.ndarray, zero: np.ndarray, axis: int) -> GridConst:
    """A constant (ints - zero) * scale."""
    data = ints.astype(np.int64)
    shape = [1] * data.ndim
    if scale.size > 1 or zero.size > 1:
        count = max(scale.size, zero.size)
        if scale.ndim > 1 or not -data.ndim <= axis < data.ndim or data.shape[axis] != count:
            call.refuse("scales in blocks are not supported", "quantise weights per tensor or per axis")
        axis %= data.ndim
        shape[axis] = count
    data = data - (zero.astype(np.int64).reshape(shape) if zero.size > 1 else int(zero.reshape(-1)[0]))
    real = data * (scale.reshape(shape) if scale.size > 1 else float(scale.reshape(-1)[0]))
    scales = tuple(Fraction(float(s)) for s in scale.reshape(-1))
    return GridConst(real.astype(np.float64), data, scales, axis if scale.size > 1 else None)


@operator("QuantizeLinear", whole=True)
def quantize_linear(call: Call) -> Tensor:
    """saturate(round(x / y_scale) + y_zero_point)."""
    x = call.tensor(0)
    if call.integer("block_size", 0):
        call.refuse("scales in blocks are not supported", "quantise per tensor or per axis")
    scale, zero = _scales(call, 1), _zero(call, 2, np.dtype(np.uint8))
    if call.integer("output_dtype", 0) and not call.has(2):
        call.refuse("output_dtype without a zero point is not supported", "give the zero point")
    kind = call.const(2, "the zero point").dtype if call.has(2) else zero.dtype
    bounds = NARROW[kind.name][1] if kind.name in NARROW else build.dtype_range(zero.dtype)
    if isinstance(x, Sym) and scale.size == zero.size == 1:
        return quantized(call, x, scale.reshape(-1)[0], zero.reshape(-1)[0], zero.dtype, bounds)
    if isinstance(x, Sym):
        return _by_channel(call, x, scale, zero, bounds)
    shape = [1] * x.array.ndim
    if scale.size > 1:
        shape[call.axis(call.integer("axis", 1), x.array.ndim)] = scale.size
    step = scale.reshape(shape) if scale.size > 1 else scale.reshape(-1)[0]
    offset = zero.astype(np.int64).reshape(shape) if zero.size > 1 else int(zero.reshape(-1)[0])
    return Const(np.clip(np.rint(real_data(call, x.array) / step) + offset, *bounds).astype(zero.dtype))


@operator("DequantizeLinear", whole=True)
def dequantize_linear(call: Call) -> Tensor:
    """(x - x_zero_point) * x_scale."""
    x, scale = call.tensor(0), _scales(call, 1)
    if call.integer("block_size", 0):
        call.refuse("scales in blocks are not supported", "quantise per tensor or per axis")
    if isinstance(x, Const):
        x = Const(_widened(x.array))
    if x.dtype.kind not in "iu":
        call.refuse(f"its input must be integers of 2 to 32 bits, not {x.dtype}")
    zero = _zero(call, 2, x.dtype)
    if isinstance(x, Const):
        return _grid(call, x.array, scale, zero, call.integer("axis", 1))
    if scale.size == zero.size == 1:
        return dequantized(call, x, scale.reshape(-1)[0], zero.reshape(-1)[0])
    shape = [1] * x.rank
    shape[call.axis(call.integer("axis", 1), x.rank)] = max(scale.size, zero.size)
    plain = dequantized(call, x, 1.0, 0, "integers")
    centred = binary(
        call, "sub", plain, Const(zero.astype(np.float64).reshape(shape if zero.size > 1 else [1])), "centred"
    )
    return binary(call, "mul", centred, Const(scale.reshape(shape if scale.size > 1 else [1])))


def _by_channel(call: Call, x: Sym, scale: np.ndarray, zero: np.ndarray, bounds: tuple[int, int]) -> Sym:
    """Every index of an axis quantised by its own scale, and joined again."""
    axis = call.sample_axis(x, call.integer("axis", 1), "quantising along")
    count = x.shape[axis]
    if {scale.size, zero.size} - {1, count} or max(scale.ndim, zero.ndim) > 1:
        call.bad(f"scales and zero points must be one or {count}, not {scale.size} and {zero.size}")
    steps, offsets = np.resize(scale, count), np.resize(zero, count)
    parts = []
    for i in range(count):
        full = [(0, d, 1) if a != axis else (i, i + 1, 1) for a, d in enumerate(x.shape)]
        cuts = {key: tuple(c[n] for c in full) for n, key in enumerate(("starts", "stops", "steps"))}
        one = result(call, emit(call, "slice", [x.name], f"part{i}", **cuts), x.dtype, x.batch)
        parts.append(quantized(call, one, steps[i], offsets[i], zero.dtype, bounds, f"part{i}.integers").name)
    return result(call, emit(call, "concat", parts, axis=axis), zero.dtype, x.batch)


def _operand(call: Call, first: int, axis: int) -> Sym | GridConst:
    """Input ``first`` with its scale and zero point behind it, as a real tensor."""
    x, scale, zero = call.tensor(first), _scales(call, first + 1), _zero(call, first + 2, np.dtype(np.uint8))
    if isinstance(x, Const):
        return _grid(call, x.array, scale, zero, axis)
    return dequantized(call, x, _one(call, scale, "the scale"), _one(call, zero, "the zero point"), f"input{first}")


def _rounded(call: Call, x: Sym, first: int) -> Sym:
    """Quantised by the scale and zero point in inputs ``first`` and behind."""
    scale, zero = _scales(call, first), _zero(call, first + 1, np.dtype(np.uint8))
    step, offset = _one(call, scale, "the scale"), _one(call, zero, "the zero point")
    return quantized(call, x, step, offset, zero.dtype, build.dtype_range(zero.dtype))


@operator("QLinearMatMul")
def qlinear_matmul(call: Call) -> Sym:
    """The quantised product of dequantised matrices."""
    from .linear import product

    a, b = _operand(call, 0, -2), _operand(call, 3, -1)
    return _rounded(call, product(call, a, b, "product"), 6)


@operator("QLinearConv")
def qlinear_conv(call: Call) -> Sym:
    """The quantised convolution of a dequantised image; the bias has the products' scale."""
    from .convolution import convolved

    x, w = _operand(call, 0, 1), _operand(call, 3, 0)
    if not isinstance(x, Sym) or not isinstance(w, GridConst):
        call.refuse("the weights must be constant and the image computed")
    bias = None
    if call.has(8):
        step = Fraction(float(_one(call, _scales(call, 1), "the scale")))
        counts = call.const(8, "the bias").astype(np.int64)
        scales = w.scales * len(counts) if len(w.scales) == 1 else w.scales
        bias = [Fraction(int(c)) * step * s for c, s in zip(counts, scales, strict=True)]
    return _rounded(call, convolved(call, x, w, bias, "product"), 6)


def _integer_operand(call: Call, number: int, zero: int, axis: int) -> Sym | GridConst:
    x, point = call.tensor(number), _zero(call, zero, np.dtype(np.uint8))
    one = np.ones(1)
    if isinstance(x, Const):
        return _grid(call, x.array, one, point, axis)
    return dequantized(call, x, 1.0, _one(call, point, "the zero point"), f"input{number}")


INT32 = np.dtype(np.int32)


@operator("MatMulInteger")
def matmul_integer(call: Call) -> Sym:
    """The exact product of integers less their zero points, in 32 bits."""
    from .linear import product

    a, b = _integer_operand(call, 0, 2, -2), _integer_operand(call, 1, 3, -1)
    return quantized(call, product(call, a, b, "product"), 1.0, 0, INT32, build.dtype_range(INT32))


@operator("ConvInteger")
def conv_integer(call: Call) -> Sym:
    """The exact convolution of integers less their zero points, in 32 bits."""
    from .convolution import convolved

    x, w = _integer_operand(call, 0, 2, 1), _integer_operand(call, 1, 3, 0)
    if not isinstance(x, Sym) or not isinstance(w, GridConst):
        call.refuse("the weights must be constant and the image computed")
    return quantized(call, convolved(call, x, w, None, "product"), 1.0, 0, INT32, build.dtype_range(INT32))


ROUNDINGS = {"ROUND": "half_even", "FLOOR": "floor", "ROUND_TO_ZERO": "toward_zero", "DOWN": "toward_zero"}
"""QONNX' rounding modes that a requantize has."""


def _quant(call: Call) -> Tensor:
    """QONNX' Quant: x / scale + zero point, limited to the integers of ``bitwidth`` bits, rounded, and back."""
    x, scale = call.tensor(0), _scales(call, 1)
    zero, width = call.const(2, "the zero point"), call.const(3, "the bit width").reshape(-1)
    if width.size != 1 or width[0] != int(width[0]) or not 1 <= width[0] <= 32:
        call.refuse("the bit width must be one whole number of at most 32")
    if (zero != np.rint(zero)).any():
        call.refuse("the zero point must be a whole number")
    bits, signed, narrow = int(width[0]), call.integer("signed", 1), call.integer("narrow", 0)
    mode = call.text("rounding_mode", "ROUND").upper()
    if mode not in ROUNDINGS:
        call.refuse(f"rounding mode {mode!r} is not supported", f"use one of {', '.join(ROUNDINGS)}")
    lo = -(1 << (bits - 1)) + narrow if signed else 0
    hi = (1 << (bits - 1)) - 1 if signed else (1 << bits) - 1 - narrow
    if isinstance(x, Const):
        data = real_data(call, x.array)
        axes = [i for i, d in enumerate(scale.shape) if d > 1]
        if len(axes) > 1 or (scale.size > 1 and scale.ndim != data.ndim):
            call.refuse("scales along several axes are not supported", "quantise weights per tensor or per axis")
        rounding = {"half_even": np.rint, "floor": np.floor, "toward_zero": np.trunc}[ROUNDINGS[mode]]
        ints = rounding(np.clip(data / scale + zero, lo, hi)).astype(np.int64)
        return _grid(call, ints, scale.reshape(-1), zero.astype(np.int64).reshape(-1)[:1], axes[0] if axes else 0)
    step, offset = _one(call, scale, "the scale"), int(_one(call, zero, "the zero point"))
    q = quantized(call, x, step, offset, np.dtype(np.int64), (lo, hi), "integers", ROUNDINGS[mode])
    return dequantized(call, q, step, offset, dtype=x.dtype)


def _bipolar(call: Call) -> Tensor:
    """QONNX' BipolarQuant: scale where x >= 0, else -scale."""
    x, scale = call.tensor(0), _scales(call, 1)
    if isinstance(x, Const):
        return _grid(call, np.where(x.array >= 0, 1, -1), scale.reshape(-1), np.zeros(1, np.int64), 0)
    step = _one(call, scale, "the scale")
    builder = call.importer.builder
    zero = builder.const(np.zeros(()), name=f"{call.source}.zero", source=call.source)
    positive = emit(call, "relation", [x.name, zero], "positive", kind="ge")
    plus, minus = (builder.const(np.array(v), kind="int", name=f"{call.source}.sign") for v in (1, -1))
    sign = result(call, emit(call, "select", [positive, plus, minus], "sign"), np.dtype(np.int64), x.batch)
    return dequantized(call, sign, step, 0, dtype=x.dtype)


def _trunc(call: Call) -> Tensor:
    """QONNX' Trunc: the integers behind ``scale`` lose in_bits - out_bits of their last bits; the scale stays."""
    x, scale = call.sym(0), float(_one(call, _scales(call, 1), "the scale"))
    if _one(call, call.const(2, "the zero point"), "the zero point") != 0:
        call.refuse("a zero point other than 0 is not supported", "shift the integers before")
    widths = [int(_one(call, call.const(i, "the bit width"), "the bit width")) for i in (3, 4)]
    mode = call.text("rounding_mode", "FLOOR").upper()
    if mode not in ROUNDINGS or not 0 < widths[1] <= widths[0] <= 32:
        call.refuse(
            f"Trunc from {widths[0]} to {widths[1]} bits by {mode!r} is not supported", "use FLOOR, ROUND or DOWN"
        )
    wide = (-(1 << 31), (1 << 31) - 1)
    step = scale * 2.0 ** (widths[0] - widths[1])
    q = quantized(call, x, step, 0, np.dtype(np.int64), wide, "integers", ROUNDINGS[mode])
    return dequantized(call, q, scale, 0, dtype=x.dtype)


def _multi_threshold(call: Call) -> Tensor:
    """FINN's MultiThreshold: how many thresholds of its channel a value reaches, times out_scale plus out_bias."""
    x, limits = call.sym(0), real_data(call, call.const(1, "the thresholds"), "the thresholds")
    layout = call.text("data_layout", "NCHW" if x.rank == 4 else "NC")
    if limits.ndim != 2 or layout not in ("NC", "NCHW", "NHWC"):
        call.refuse(
            f"thresholds of {limits.ndim} axes in layout {layout!r} are not supported", "use [channels, steps] and NCHW"
        )
    channel = call.sample_axis(x, x.rank - 1 if layout == "NHWC" or x.rank == 2 else 1, "comparing along")
    if len(limits) not in (1, x.shape[channel]):
        call.bad(f"thresholds must have {x.shape[channel]} rows, one per channel, or one, not {len(limits)}")
    shape = [1] * len(x.shape) + [limits.shape[1]]
    shape[channel] = len(limits)
    spread = emit(call, "reshape", [x.name], "spread", shape=(*x.shape, 1))
    rows = call.importer.builder.const(limits.reshape(shape), name=f"{call.source}.thresholds", source=call.source)
    reached = emit(call, "relation", [spread, rows], "reached", kind="ge")
    one, zero = (call.importer.builder.const(np.array(v), kind="int", name=f"{call.source}.count") for v in (1, 0))
    ones = emit(call, "select", [reached, one, zero], "ones")
    count = emit(call, "sum", [ones], "count", axes=(len(x.shape),))
    scale, bias = float(call.real("out_scale", 1.0)), float(call.real("out_bias", 0.0))
    value = emit(call, "dequantize", [count], "" if not bias else "scaled", scale=str(Fraction(scale)), zero=0)
    if bias:
        offset = call.importer.builder.const(np.array(bias), name=f"{call.source}.bias", source=call.source)
        value = emit(call, "add", [value, offset])
    return result(call, value, x.dtype, x.batch)


for _domain in QONNX:
    operator("Quant", whole=True, domain=_domain)(_quant)
    operator("BipolarQuant", whole=True, domain=_domain)(_bipolar)
    operator("Trunc", domain=_domain)(_trunc)
    operator("MultiThreshold", domain=_domain)(_multi_threshold)

EXACT = frozenset(
    (
        "QuantizeLinear DequantizeLinear QLinearMatMul QLinearConv MatMulInteger ConvInteger Quant BipolarQuant Trunc "
        "MultiThreshold"
    ).split()
)
"""Operators that say that a model is quantised already, so that it needs no calibration."""
