"""Constant folding: nodes whose inputs are all constant, by ONNX's own reference implementation or on symbolic shapes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from neuroloom.compiler.errors import InputError, UnsupportedError
from onnx import AttributeProto, helper
from onnx.reference import ReferenceEvaluator

from .dims import Dim, settle, whole
from .registry import WHOLE, Call
from .tensors import Const, Tensor

MAX_CONSTANT = 1 << 27
"""Elements that a folded constant may have; a broken file can ask for any number."""

FOLDED = frozenset(
    """Abs Acos Add And ArgMax ArgMin Asin Atan BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor Cast CastLike Ceil Celu
    Clip Compress Concat Cos Cosh CumSum DepthToSpace Div Einsum Elu Equal Erf Exp Expand EyeLike Flatten Floor Gather
    GatherElements GatherND Gemm Greater GreaterOrEqual HardSigmoid HardSwish Identity IsInf IsNaN LeakyRelu Less LessOrEqual Log
    LogSoftmax MatMul Max Mean Min Mod Mul Neg NonZero Not OneHot Or Pad Pow Range Reciprocal ReduceL1 ReduceL2
    ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Reshape Round
    ScatterElements ScatterND Selu Shape Shrink Sigmoid Sign Sin Sinh
    Size Slice Softmax Softplus Softsign SpaceToDepth Split Sqrt Squeeze Sub
    Sum Tan Tanh Tile TopK Transpose Trilu Unique Unsqueeze Where Xor ConstantOfShape Dropout""".split()
)


def fold(call: Call) -> list[Tensor] | None:
    """The constant results of a node with constant inputs; None when this operator has a handler or is unknown."""
    if call.op == "Constant":
        return [Const(_constant(call))]
    inputs = [i.array if isinstance(i, Const) else None for i in call.inputs]
    if any(isinstance(i, Const) and i.symbolic for i in call.inputs):
        if ("", call.op) in WHOLE:
            return None
        if call.op not in SYMBOLIC:
            call.refuse("a shape that depends on the batch size cannot be used here", "export with a fixed shape")
        try:
            results = SYMBOLIC[call.op](call, *inputs)
        except UnsupportedError as e:
            call.refuse(str(e))
        except (ValueError, IndexError, TypeError) as e:
            call.bad(f"shapes do not fit: {e}")
        return [Const(settle(_array(r))) for r in (results if isinstance(results, list) else [results])]
    if call.op not in FOLDED:
        return None
    _guard(call, inputs)
    try:
        function = helper.make_function(
            "fold",
            "fold",
            sorted({i for i in call.node.input if i}),
            [o for o in call.node.output if o],
            [call.node],
            [helper.make_opsetid("", call.version)],
        )
        feeds = {name: array for name, array in zip(call.node.input, inputs, strict=True) if name}
        with np.errstate(all="ignore"):
            computed: Any = ReferenceEvaluator(function).run(None, feeds, attributes={})
    except UnsupportedError:
        raise
    except Exception as e:  # the reference implementation raises whatever numpy does
        raise InputError(f"{call.where}: constant inputs do not fit the operator: {_short(e)}") from e
    named = iter(computed)
    out: list[Tensor] = []
    for name in call.node.output:
        array = next(named) if name else np.zeros(0)
        if not isinstance(array, (np.ndarray, np.generic)):
            call.refuse(f"its constant result is a {type(array).__name__}, not a tensor")
        out.append(Const(np.asarray(array)))
    return out


def _array(result: Any) -> np.ndarray:
    """Numpy unpacks single objects; put them back into an array."""
    if isinstance(result, np.ndarray):
        return result
    out = np.empty((), object)
    out[()] = result
    return out


def _short(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return text[0].rstrip(".") if text else type(error).__name__


def _constant(call: Call) -> np.ndarray:
    given = [name for name in call.attributes if name.startswith("value") or name == "sparse_value"]
    if len(given) != 1:
        call.bad(f"Constant must have one value, not {len(given)}")
    name = given[0]
    kinds = {
        "value": (AttributeProto.TENSOR, None),
        "value_int": (AttributeProto.INT, np.int64),
        "value_ints": (AttributeProto.INTS, np.int64),
        "value_float": (AttributeProto.FLOAT, np.float32),
        "value_floats": (AttributeProto.FLOATS, np.float32),
    }
    if name not in kinds:
        call.refuse(f"a constant given as {name} is not supported", "store it as a dense tensor")
    kind, dtype = kinds[name]
    if call.attributes[name].type != kind:
        call.bad(f"attribute {name!r} must be {AttributeProto.AttributeType.Name(kind)}")
    return np.asarray(call.value(name), dtype)


def _guard(call: Call, inputs: Sequence[np.ndarray | None]) -> None:
    """Refuse before numpy allocates: sizes come from the file."""
    arrays = [i for i in inputs if i is not None]
    count = 0
    if call.op in ("ConstantOfShape",):
        count = _product(arrays[0])
    elif call.op == "Expand" and len(arrays) > 1:
        shape = [int(d) for d in arrays[1].reshape(-1)]
        count = math.prod(max(a, b, 1) for a, b in zip(_padded(arrays[0].shape, len(shape)), shape, strict=False))
    elif call.op == "Tile" and len(arrays) > 1:
        count = arrays[0].size * _product(arrays[1])
    elif call.op == "Pad" and len(arrays) > 1:
        pads = [int(p) for p in arrays[1].reshape(-1)]
        n = arrays[0].ndim
        if len(pads) == 2 * n:
            count = math.prod(d + max(pads[i], 0) + max(pads[n + i], 0) for i, d in enumerate(arrays[0].shape))
    elif call.op == "Range" and len(arrays) == 3:
        start, limit, delta = (float(a.reshape(-1)[0]) if a.size else 0.0 for a in arrays)
        count = int(abs((limit - start) / delta)) + 1 if delta else MAX_CONSTANT + 1
    elif call.op == "OneHot" and len(arrays) > 1:
        count = arrays[0].size * _product(arrays[1])
    elif call.op in ("Gather",) and len(arrays) == 2:
        axis = call.integer("axis", 0)
        if arrays[0].ndim and -arrays[0].ndim <= axis < arrays[0].ndim:
            count = arrays[0].size // max(arrays[0].shape[axis], 1) * arrays[1].size
    elif call.op in ("MatMul", "Gemm", "Einsum", "EyeLike"):
        count = math.prod(a.size for a in arrays) if sum(a.size for a in arrays) > 1 << 20 else 0
    elif len(arrays) > 1 and call.op not in ("Concat", "Slice", "Reshape", "Split", "ScatterND", "ScatterElements"):
        try:
            count = math.prod(np.broadcast_shapes(*(a.shape for a in arrays)))
        except ValueError:
            count = 0
    if count > MAX_CONSTANT:
        call.refuse(f"a constant of {count} elements is too large; the limit is {MAX_CONSTANT}")


def _product(array: np.ndarray) -> int:
    return math.prod(max(int(d), 0) for d in array.reshape(-1))


def _padded(shape: tuple[int, ...], rank: int) -> tuple[int, ...]:
    return (1,) * max(rank - len(shape), 0) + tuple(shape)


# ---- shapes that contain the batch size

Symbolic = Callable[..., "np.ndarray | list[np.ndarray]"]
SYMBOLIC: dict[str, Symbolic] = {}


def symbolic(*names: str) -> Callable[[Symbolic], Symbolic]:
    """Register how operators act on arrays of integers and batch sizes."""

    def register(function: Symbolic) -> Symbolic:
        SYMBOLIC.update(dict.fromkeys(names, function))
        return function

    return register


def _elementwise(function: Callable[..., Any]) -> Symbolic:
    def run(call: Call, *arrays: np.ndarray) -> np.ndarray:
        out = np.broadcast_arrays(*(whole(a) for a in arrays if a is not None))
        result = np.empty(out[0].shape, object)
        for at in np.ndindex(result.shape):
            result[at] = function(*(a[at] for a in out))
        return result

    return run


def _quotient(a: Any, b: Any) -> Any:
    if isinstance(a, Dim) or isinstance(b, Dim):
        return a // b
    return int(a / b) if b and abs(a) < 1 << 50 else a // b


SYMBOLIC.update(
    {
        "Add": _elementwise(lambda a, b: a + b),
        "Sub": _elementwise(lambda a, b: a - b),
        "Mul": _elementwise(lambda a, b: a * b),
        "Div": _elementwise(_quotient),
        "Mod": _elementwise(lambda a, b: a % b),
        "Neg": _elementwise(lambda a: -a),
        "Equal": _elementwise(lambda a, b: a == b),
        "Greater": _elementwise(lambda a, b: a > b),
        "GreaterOrEqual": _elementwise(lambda a, b: a >= b),
        "Less": _elementwise(lambda a, b: a < b),
        "LessOrEqual": _elementwise(lambda a, b: a <= b),
        "Max": _elementwise(lambda *v: max(v)),
        "Min": _elementwise(lambda *v: min(v)),
        "Where": _elementwise(lambda c, a, b: a if c else b),
        "Identity": lambda call, x: x,
    }
)


@symbolic("Cast")
def _cast(call: Call, x: np.ndarray) -> np.ndarray:
    if call.integer("to") not in (6, 7):
        call.refuse("a shape that depends on the batch size can only be cast to int32 or int64")
    return x


@symbolic("Gather")
def _gather(call: Call, x: np.ndarray, indices: np.ndarray) -> np.ndarray:
    return np.take(whole(x), settle(indices).astype(np.int64), axis=call.integer("axis", 0))


@symbolic("Concat")
def _concat(call: Call, *arrays: np.ndarray) -> np.ndarray:
    return np.concatenate([whole(a) for a in arrays], axis=call.integer("axis"))


@symbolic("Slice")
def _slice(call: Call, x: np.ndarray, *rest: np.ndarray) -> np.ndarray:
    starts, ends, axes, steps = (
        call.ints_either(i + 1, name) for i, name in enumerate(("starts", "ends", "axes", "steps"))
    )
    axes = axes if axes is not None else list(range(len(starts or [])))
    steps = steps if steps is not None else [1] * len(axes)
    where = [slice(None)] * x.ndim
    for a, b, axis, s in zip(starts or [], ends or [], axes, steps, strict=True):
        where[axis] = slice(a, b, s)
    return x[tuple(where)]


@symbolic("Squeeze")
def _squeeze(call: Call, x: np.ndarray, *rest: np.ndarray) -> np.ndarray:
    axes = call.ints_either(1, "axes")
    return np.squeeze(x) if axes is None else np.squeeze(x, tuple(axes))


@symbolic("Unsqueeze")
def _unsqueeze(call: Call, x: np.ndarray, *rest: np.ndarray) -> np.ndarray:
    return np.expand_dims(x, tuple(call.ints_either(1, "axes") or ()))


@symbolic("Reshape")
def _reshape(call: Call, x: np.ndarray, shape: np.ndarray) -> np.ndarray:
    return x.reshape([int(d) for d in shape])


@symbolic("Flatten")
def _flatten(call: Call, x: np.ndarray) -> np.ndarray:
    axis = call.integer("axis", 1)
    return x.reshape(math.prod(x.shape[:axis]), -1)


@symbolic("ReduceProd")
def _reduce_prod(call: Call, x: np.ndarray, *rest: np.ndarray) -> np.ndarray:
    axes = call.ints_either(1, "axes")
    return np.asarray(
        np.prod(x, axis=None if axes is None else tuple(axes), keepdims=bool(call.integer("keepdims", 1))), object
    )


@symbolic("ReduceSum")
def _reduce_sum(call: Call, x: np.ndarray, *rest: np.ndarray) -> np.ndarray:
    axes = call.ints_either(1, "axes")
    return np.asarray(
        np.sum(x, axis=None if axes is None else tuple(axes), keepdims=bool(call.integer("keepdims", 1))), object
    )


@symbolic("Split")
def _split(call: Call, x: np.ndarray, *rest: np.ndarray) -> list[np.ndarray]:
    axis, count = call.integer("axis", 0), len(call.node.output)
    sizes = call.ints_either(1, "split") or [-(-x.shape[axis] // count)] * count
    return np.split(x, np.cumsum(sizes)[:-1].tolist(), axis=axis)


@symbolic("Shape")
def _shape(call: Call, x: np.ndarray) -> np.ndarray:
    rank = x.ndim
    start, end = call.integer("start", 0), call.integer("end", rank)
    return np.array(x.shape, np.int64)[slice(*slice(start, end).indices(rank))]


@symbolic("Size")
def _size(call: Call, x: np.ndarray) -> np.ndarray:
    return np.array(x.size, np.int64)


@symbolic("CastLike")
def _cast_like(call: Call, x: np.ndarray, like: np.ndarray) -> np.ndarray:
    if like.dtype != object and like.dtype.name not in ("int32", "int64"):
        call.refuse("a shape that depends on the batch size can only be cast to int32 or int64")
    return x
