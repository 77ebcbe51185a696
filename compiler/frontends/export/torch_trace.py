"""Modules with a ``forward`` of their own: traced by torch.fx, then read call by call.

Enough for what users write around logic layers: passing a value through layers, flattening, reshaping, joining branches, and
boolean combinations, also in their relaxed form ``a + b - a * b``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from neuroloom.compiler.errors import UnsupportedError

from .torch_registry import Context, Tensor, describe, is_own_forward, lookup, require_bits


@dataclass(frozen=True)
class Batch:
    """Stands for the number of samples, where a forward asks for it."""


@dataclass
class Pair:
    """A sum or product of two values of bits, until it shows which boolean operation it is part of."""

    op: str
    a: Tensor
    b: Tensor
    name: str
    as_bits: Tensor | None = None


@dataclass
class Call:
    """One traced call: its arguments already read, and the name its layers get."""

    context: Context
    args: list[Any]
    kwargs: dict[str, Any]
    name: str
    where: str

    def refuse(self, reason: str) -> UnsupportedError:
        return UnsupportedError(f"{self.where}: {reason}; use layers that neuroloom.export knows, or LogicModelWriter")

    def bits(self, value: Any) -> Tensor:
        """Return a value of bits; a product of bits becomes AND here."""
        if isinstance(value, Pair) and value.op == "mul":
            if value.as_bits is None:
                value.as_bits = both(self, "logical_and", value.a, value.b, value.name)
            return value.as_bits
        if not isinstance(value, Tensor):
            raise self.refuse("a sum of bits is no bit, except as a + b - a * b")
        require_bits(value, self.where)
        return value


Handler = Callable[[Call], Any]
_CALLS: dict[str, Handler] = {}
_METHODS: dict[str, Handler] = {}


def _call(*names: str, methods: tuple[str, ...] = ()) -> Callable[[Handler], Handler]:
    def register(function: Handler) -> Handler:
        _CALLS.update(dict.fromkeys(names, function))
        _METHODS.update(dict.fromkeys(methods, function))
        return function

    return register


def trace(context: Context, module: Any, x: Tensor, path: str) -> Tensor:
    """Read a module through its own ``forward``; raises UnsupportedError naming the call that cannot be carried."""
    import torch.fx

    class Tracer(torch.fx.Tracer):
        def is_leaf_module(self, m: Any, module_qualified_name: str) -> bool:
            return lookup(m) is not None or not is_own_forward(m)

    where = describe(module, path)
    try:
        graph = Tracer().trace(module)
    except Exception as error:  # whatever the user's forward raises on a proxy
        raise UnsupportedError(
            f"{where}: its forward must be traceable by torch.fx, not fail with {type(error).__name__}: {error}; "
            "build the network as a torch.nn.Sequential"
        ) from error
    prefix = f"{path}." if path else ""
    values: dict[Any, Any] = {}
    for node in graph.nodes:
        if node.op == "placeholder":
            if any(isinstance(value, Tensor) for value in values.values()):
                raise UnsupportedError(
                    f"{where}: forward must take one tensor, not also '{node.name}'; join the inputs into one"
                )
            values[node] = x
            continue
        read = values.__getitem__
        args = list(torch.fx.node.map_arg(node.args, read))
        kwargs = dict(torch.fx.node.map_arg(node.kwargs, read))
        if node.op == "output":
            if not isinstance(args[0], Tensor | Pair):
                raise UnsupportedError(
                    f"{where}: forward must return one tensor, not {type(args[0]).__name__}; split the module"
                )
            return _finish(context, args[0], where, f"{prefix}return")
        if node.op == "call_module":
            inner = module.get_submodule(node.target)
            if len(args) != 1 or kwargs:
                raise UnsupportedError(
                    f"{describe(inner, prefix + node.target)}: it must be called with one tensor; change the forward"
                )
            call = Call(context, args, kwargs, f"{prefix}{node.name}", describe(inner, prefix + node.target))
            argument = call.bits(args[0]) if isinstance(args[0], Pair) else args[0]
            values[node] = context.convert(inner, argument, f"{prefix}{node.target}")
            continue
        values[node] = _handle(context, node, args, kwargs, prefix, where)
    raise UnsupportedError(f"{where}: forward must return one tensor; add a return")


def _handle(context: Context, node: Any, args: list[Any], kwargs: dict[str, Any], prefix: str, where: str) -> Any:
    if node.op == "call_method":
        label, handler = f".{node.target}()", _METHODS.get(node.target)
    else:
        name = getattr(node.target, "__name__", str(node.target))
        label, handler = f"{name}()", _CALLS.get(name) if node.op == "call_function" else None
    call = Call(context, args, kwargs, f"{prefix}{node.name}", f"{where}, call {label}")
    if handler is None:
        raise call.refuse("there is no exact reading of this call")
    return handler(call)


def _finish(context: Context, value: Tensor | Pair, where: str, name: str) -> Tensor:
    return Call(context, [], {}, name, where).bits(value) if isinstance(value, Pair) else value


def both(call: Call, operation: str, a: Tensor, b: Tensor, name: str | None = None) -> Tensor:
    """Combine two values of one shape by a boolean operation of the writer."""
    if a.shape != b.shape:
        raise call.refuse(f"both values must have one shape, not {a.shape} and {b.shape}")
    name = name or call.name
    align = call.context.channels_last if a.channels_last else call.context.torch_order
    return Tensor(getattr(call.context.writer, operation)(a.value, align(b, name), name=name), a.channels_last)


@_call(methods=("float", "bool", "contiguous", "detach", "clone"))
def _same(call: Call) -> Any:
    value = call.args[0]
    if isinstance(value, Tensor):
        require_bits(value, call.where)
    return value


@_call("flatten", methods=("flatten",))
def _flatten(call: Call) -> Tensor:
    x = call.args[0]
    start = call.kwargs.get("start_dim", call.args[1] if len(call.args) > 1 else 0)
    end = call.kwargs.get("end_dim", call.args[2] if len(call.args) > 2 else -1)
    rank = len(x.shape) + 1
    start, end = start % rank, end % rank
    if start == 0:
        raise call.refuse("start_dim must leave the batch axis alone")
    merged = (*x.shape[: start - 1], math.prod(x.shape[start - 1 : end]), *x.shape[end:])
    return _reshaped(call, x, merged)


@_call("reshape", methods=("reshape", "view"))
def _reshape(call: Call) -> Tensor:
    x, *sizes = call.args
    if len(sizes) == 1 and isinstance(sizes[0], (tuple, list)):
        sizes = list(sizes[0])
    if call.kwargs or not sizes:
        raise call.refuse("its shape must be given as arguments")
    dims = [size for size in sizes[1:] if isinstance(size, int)]
    if len(dims) != len(sizes) - 1 or not (isinstance(sizes[0], Batch) or (sizes[0] == -1 and -1 not in dims)):
        raise call.refuse("its first size must be the number of samples (x.shape[0] or -1), the others fixed")
    if -1 in dims:
        rest = -math.prod(dims)
        dims[dims.index(-1)] = math.prod(x.shape) // rest if rest else -1
    if math.prod(dims) != math.prod(x.shape):
        raise call.refuse(f"each sample must keep its {math.prod(x.shape)} elements, not become {dims}")
    return _reshaped(call, x, tuple(dims))


def _reshaped(call: Call, x: Tensor, dims: tuple[int, ...]) -> Tensor:
    if dims == x.shape:
        return x
    value = call.context.torch_order(x, call.name)
    return Tensor(call.context.writer.reshape(value, dims, name=call.name))


@_call(methods=("size",))
def _size(call: Call) -> Any:
    shape = (Batch(), *call.args[0].shape)
    if len(call.args) == 1 and not call.kwargs:
        return shape
    axis = call.kwargs.get("dim", call.args[-1])
    return shape[axis]


@_call("getattr")
def _getattr(call: Call) -> Any:
    x, name = call.args
    if name != "shape":
        raise call.refuse(f"the attribute '{name}' cannot be read")
    return (Batch(), *x.shape)


@_call("getitem")
def _getitem(call: Call) -> Any:
    container, index = call.args
    if isinstance(container, Tensor):
        raise call.refuse("a tensor cannot be indexed; let the wiring of a logic layer choose its inputs")
    return container[index]


@_call("cat", "concat", "concatenate")
def _cat(call: Call) -> Tensor:
    parts = [call.bits(part) for part in call.args[0]]
    rank = len(parts[0].shape) + 1
    axis = call.kwargs.get("dim", call.args[1] if len(call.args) > 1 else 0) % rank
    if axis == 0:
        raise call.refuse("values must be joined along an axis after the batch axis")
    writer = call.context.writer
    if all(part.channels_last for part in parts) and axis == 1:
        return Tensor(writer.concat([part.value for part in parts], axis=-1, name=call.name), channels_last=True)
    ordered = [call.context.torch_order(part, f"{call.name}.{i}") for i, part in enumerate(parts)]
    return Tensor(writer.concat(ordered, axis=axis - 1, name=call.name))


@_call("logical_or", "bitwise_or", "or_", "maximum", "max", methods=("logical_or", "maximum"))
def _or(call: Call) -> Tensor:
    if len(call.args) != 2 or not isinstance(call.args[1], (Tensor, Pair)):
        raise call.refuse("it must combine two tensors")
    return both(call, "logical_or", call.bits(call.args[0]), call.bits(call.args[1]))


@_call("logical_and", "bitwise_and", "and_", "minimum", "min", methods=("logical_and", "minimum"))
def _and(call: Call) -> Tensor:
    if len(call.args) != 2 or not isinstance(call.args[1], (Tensor, Pair)):
        raise call.refuse("it must combine two tensors")
    return both(call, "logical_and", call.bits(call.args[0]), call.bits(call.args[1]))


@_call("logical_xor", "bitwise_xor", "xor", methods=("logical_xor",))
def _xor(call: Call) -> Tensor:
    return both(call, "logical_xor", call.bits(call.args[0]), call.bits(call.args[1]))


@_call("logical_not", "invert", methods=("logical_not",))
def _not(call: Call) -> Tensor:
    x = call.bits(call.args[0])
    return Tensor(call.context.writer.logical_not(x.value, name=call.name), x.channels_last)


@_call("mul", methods=("mul",))
def _mul(call: Call) -> Pair:
    a, b = (call.bits(arg) for arg in call.args)
    return Pair("mul", a, b, call.name)


@_call("add", methods=("add",))
def _add(call: Call) -> Pair:
    if call.kwargs:
        raise call.refuse("a scaled sum of bits is no bit")
    a, b = (call.bits(arg) for arg in call.args)
    return Pair("add", a, b, call.name)


@_call("sub", "rsub", methods=("sub",))
def _sub(call: Call) -> Tensor:
    left, right = call.args
    if left == 1 and isinstance(right, Tensor | Pair):
        x = call.bits(right)
        return Tensor(call.context.writer.logical_not(x.value, name=call.name), x.channels_last)
    matches = (
        isinstance(left, Pair)
        and isinstance(right, Pair)
        and (left.op, right.op) == ("add", "mul")
        and {left.a, left.b} == {right.a, right.b}
    )
    if not matches:
        raise call.refuse("a difference must be 1 - a, or a + b - a * b")
    return both(call, "logical_or", left.a, left.b)
