"""Run a module once on a sample and note how every neuron's current comes from inputs and spikes.

Known modules (neurons, linear layers) are taken whole; the functions between them are intercepted by a torch function mode.
Nothing of the numbers is used, only which tensor came from which, so a loop over time steps is read as one step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from neuroloom.compiler.errors import InputError, UnsupportedError

from .functions import DECISIONS, FUNCTIONS, MOVES, NEW
from .layers import is_layer
from .neurons import is_neuron, need_carried
from .values import Call, Expr, Neuron, Raw, Steps


class Trace:
    """Tensors by identity, neurons by module, and what the module returned."""

    def __init__(self) -> None:
        self.values: dict[int, Any] = {}
        self.alive: list[Any] = []  # keeps tensors, so that identities stay theirs
        self.neurons: dict[int, Neuron] = {}
        self.inputs: dict[str, tuple[int, ...]] = {}
        self.returned: list[Expr] = []
        self.inside = 0

    def put(self, tensor: Any, value: Any) -> None:
        """Note what ``tensor`` stands for."""
        self.values[id(tensor)] = value
        self.alive.append(tensor)

    def get(self, tensor: Any) -> Any:
        """What ``tensor`` stands for; None when nothing of the network went into it."""
        return self.values.get(id(tensor))

    def expr(self, tensor: Any, where: str) -> Expr:
        """The expression of a tensor [batch, ...]; constants too."""
        value = self.get(tensor)
        if isinstance(value, Expr):
            return value
        if tensor.ndim < 2:
            raise InputError(
                f"{where} must be called with a batch axis in front, not with the shape {list(tensor.shape)}"
            )
        shape = tuple(tensor.shape[1:])
        if isinstance(value, Raw):
            return Expr("input", shape, data=(value.name, value.index))
        if isinstance(value, Steps):
            raise UnsupportedError(f"{where} is called with all time steps at once; call it once per step")
        array = tensor.detach().cpu().numpy().astype(np.float64)
        if not (array == array[:1]).all():
            raise UnsupportedError(f"{where} depends on a constant that differs between samples; make it an input")
        return Expr("constant", shape, data=array[0])


def run(module: Any, sample: Any) -> Trace:
    """Trace ``module`` on ``sample`` (a tensor, an array, or a tuple of arguments of forward), in eval mode.

    The module is left as it was: mode, hidden states and forward methods. Raises UnsupportedError or InputError naming
    the module that is not carried.
    """
    import torch

    arguments = sample if isinstance(sample, tuple) else (sample,)
    tensors = [_tensor(a) for a in arguments]
    trace = Trace()
    for number, (name, value) in enumerate(zip(_names(module, len(tensors)), tensors, strict=True)):
        if isinstance(value, torch.Tensor):
            trace.inputs[name if number or name else "input"] = tuple(value.shape)
            trace.put(value, Raw(name, np.arange(value.numel()).reshape(tuple(value.shape))))
    if not trace.inputs:
        raise InputError("sample must be a tensor or array, or a tuple with at least one")
    with torch.no_grad(), _prepared(module), _wrapped(module, trace), _mode(trace):
        try:
            result = module(*tensors)
        except UnsupportedError:
            raise
        except (RuntimeError, ValueError, TypeError, IndexError, AttributeError) as e:
            text = (str(e).splitlines() or [type(e).__name__])[0]
            shapes = ", ".join(str(list(s)) for s in trace.inputs.values())
            raise InputError(f"module {type(module).__name__} failed on the sample of shape {shapes}: {text}") from e
    if not trace.neurons:
        raise UnsupportedError(f"module {type(module).__name__} calls no snnTorch neuron, so it is no spiking network")
    trace.returned = list(_returned(trace, result))
    return trace


def _tensor(value: Any) -> Any:
    import torch

    if isinstance(value, torch.Tensor):
        return value.detach().clone()
    if isinstance(value, (np.ndarray, list)):
        return torch.as_tensor(np.asarray(value, np.float32))
    return value


def _names(module: Any, count: int) -> list[str]:
    """Names of the first arguments of forward."""
    import inspect

    names = [p.name for p in inspect.signature(module.forward).parameters.values() if p.kind in (0, 1)]
    return (names + [f"input{k}" for k in range(len(names), count)])[:count]


def _returned(trace: Trace, result: Any) -> Iterator[Expr]:
    """The expressions in what forward returned, through tuples, lists, dicts and stacks of steps."""
    if isinstance(result, dict):
        result = list(result.values())
    if isinstance(result, (tuple, list)):
        for item in result:
            yield from _returned(trace, item)
    value = result if isinstance(result, (Expr, Steps)) else trace.get(result)
    if isinstance(value, Steps):
        yield from _returned(trace, value.items)
    elif isinstance(value, Expr):
        yield value


@contextmanager
def _prepared(module: Any) -> Iterator[None]:
    """Eval mode and empty hidden states, both restored."""
    import torch

    modes = {m: m.training for m in module.modules()}
    hidden = {}
    for m in module.modules():
        if is_neuron(m):
            for key in ("mem", "syn", "spk", "syn_exc", "syn_inh"):
                if isinstance(getattr(m, key, None), torch.Tensor):
                    hidden[m, key] = getattr(m, key)
                    setattr(m, key, torch.zeros(0))
    module.eval()
    try:
        yield
    finally:
        for m, training in modes.items():
            m.training = training
        for (m, key), value in hidden.items():
            setattr(m, key, value)


@contextmanager
def _wrapped(module: Any, trace: Trace) -> Iterator[None]:
    """Known modules note their calls while the trace runs."""
    changed: list[Any] = []
    try:
        for path, m in module.named_modules():
            make = _neuron if is_neuron(m) else _layer if is_layer(m) else None
            if make and not any(m is not outer and m in set(outer.modules()) for outer in changed if is_neuron(outer)):
                m.__dict__["forward"] = make(m, path or type(m).__name__.lower(), m.forward, trace)
                changed.append(m)
        yield
    finally:
        for m in changed:
            m.__dict__.pop("forward", None)


def _layer(m: Any, path: str, forward: Callable[..., Any], trace: Trace) -> Callable[..., Any]:
    where = f"layer {path!r} ({type(m).__name__})"

    def call(x: Any) -> Any:
        trace.inside += 1
        try:
            out = forward(x)
        finally:
            trace.inside -= 1
        trace.put(out, Expr("module", tuple(out.shape[1:]), (trace.expr(x, where),), m, where))
        return out

    return call


def _neuron(m: Any, path: str, forward: Callable[..., Any], trace: Trace) -> Callable[..., Any]:
    name = path if any(c.isalpha() for c in path) else f"{type(m).__name__.lower()}{path}"
    where = f"neuron {path!r} ({type(m).__name__})"

    def call(x: Any, *states: Any, **named: Any) -> Any:
        states = (*states, *(named[k] for k in _state_names(m, len(states)) if k in named))
        need_carried(m, where)
        item = trace.neurons.setdefault(id(m), Neuron(name, path, m))
        number = len(item.calls)
        drive = trace.expr(x, where)
        item.calls.append(Call(drive, _states(trace, item, states, where)))
        trace.inside += 1
        try:
            out = forward(x, *states)
        finally:
            trace.inside -= 1
        spikes = out if not isinstance(out, tuple) else out[0]
        trace.put(spikes, Expr("spikes", drive.shape, data=(name, number)))
        for key in ("syn", "syn_exc", "syn_inh", "mem"):
            if hasattr(m, key):
                kind = "membrane" if key == "mem" else "current"
                trace.put(getattr(m, key), Expr(kind, drive.shape, data=(name, number)))
        return out

    return call


def _state_names(m: Any, given: int) -> tuple[str, ...]:
    order = {
        "Synaptic": ("syn", "mem"),
        "RLeaky": ("spk", "mem"),
        "RSynaptic": ("spk", "syn", "mem"),
        "Alpha": ("syn_exc", "syn_inh", "mem"),
    }
    return order.get(type(m).__name__, ("mem",))[given:]


def _states(trace: Trace, item: Neuron, states: tuple[Any, ...], where: str) -> np.ndarray | None:
    """Check that the neuron goes on from its own states; the first call's membrane when it is not zero."""
    m, number = item.module, len(item.calls)
    names = _state_names(m, 0)
    held = [s if s is not None else getattr(m, key) for key, s in zip(names, (*states, *[None] * 3), strict=False)]
    start = None
    for key, tensor in zip(names, held, strict=True):
        value = trace.get(tensor)
        own = (
            isinstance(value, Expr)
            and value.op in ("spikes", "membrane", "current")
            and value.data == (item.name, number - 1)
        )
        if number and not own:
            raise UnsupportedError(
                f"{where} must go on from its own {key} of the step before; step {number} gives it something else"
            )
        if number == 0 and value is not None:
            raise UnsupportedError(f"{where} must start from constants; its first {key} is computed")
        if number == 0 and bool(tensor.any()):
            array = tensor.detach().cpu().numpy().astype(np.float64)
            if key != "mem" or array.ndim < 2 or not (array == array[:1]).all():
                raise UnsupportedError(
                    f"{where} must start from zero (its membrane may start from one value per neuron), not from the {key} given"
                )
            start = array[0].ravel()
    return start


@contextmanager
def _mode(trace: Trace) -> Iterator[None]:
    from torch.overrides import TorchFunctionMode

    class Mode(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            kwargs = kwargs or {}
            result = func(*args, **kwargs)
            if not trace.inside:
                _note(trace, getattr(func, "__name__", str(func)), args, kwargs, result, func)
            return result

    with Mode():
        yield


def _tensors(value: Any) -> Iterator[Any]:
    import torch

    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from _tensors(item)


def _note(trace: Trace, name: str, args: Any, kwargs: Any, result: Any, func: Any) -> None:
    """What the result of one torch function stands for."""
    sources = [t for t in _tensors([*args, *kwargs.values()]) if trace.get(t) is not None]
    if not sources:
        return
    if name in DECISIONS:
        raise UnsupportedError(
            f"forward decides on the numbers of a tensor ({name}); the network must be a fixed chain"
        )
    outs = list(_tensors(result))
    if name in NEW or not outs:
        return
    raw = [v for t in sources if isinstance(v := trace.get(t), Raw)]
    if name in MOVES and len(sources) == 1 and raw:
        _moved(trace, raw[0], sources[0], args, kwargs, func, outs)
        return
    handler = FUNCTIONS.get(name)
    values = handler(trace, args, kwargs, outs) if handler else None
    if values is None:
        parts = tuple(_flat(trace, [trace.get(t) for t in sources]))
        values = [Expr("opaque", tuple(t.shape[1:]), parts, name, name) for t in outs]
    for tensor, value in zip(outs, values, strict=True):
        trace.put(tensor, value)


def _flat(trace: Trace, values: Any) -> Iterator[Expr]:
    """Expressions behind values of any kind."""
    for value in values:
        if isinstance(value, Steps):
            yield from _flat(trace, value.items)
        elif isinstance(value, Expr):
            yield value


def _moved(trace: Trace, raw: Raw, source: Any, args: Any, kwargs: Any, func: Any, outs: list[Any]) -> None:
    """Apply a function that only moves elements to the places of the input's elements too."""
    import torch

    places = torch.as_tensor(raw.index)
    swap = [places if a is source else a for a in args]
    moved = list(_tensors(func(*swap, **{k: places if a is source else a for k, a in kwargs.items()})))
    for tensor, index in zip(outs, moved, strict=True):
        trace.put(tensor, Raw(raw.name, index.numpy()))
