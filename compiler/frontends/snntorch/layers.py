"""torch's layers without state as linear maps, by the name of their class; and what passes signals on unchanged in eval mode."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from neuroloom.compiler.errors import UnsupportedError
from neuroloom.compiler.frontends.spiking import maps, unroll
from neuroloom.compiler.frontends.spiking.signal import Signal


def _numbers(tensor: Any) -> np.ndarray:
    return tensor.detach().cpu().double().numpy()


def _two(value: Any, flat: bool) -> tuple[int, int]:
    """torch's int or tuple as (vertical, horizontal); one-dimensional layers have height 1."""
    values = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    if flat:
        return 1, int(values[0])
    return int(values[0]), int(values[-1])


def pool_window(kernel: Any, stride: Any, padding: Any, dilation: Any, flat: bool = False) -> unroll.Window:
    """A pooling window from torch's arguments (stride None or empty: the kernel)."""
    high, wide = _two(kernel, flat)
    down, right = (0, _two(padding, True)[1]) if flat else _two(padding, False)
    spread = _two(dilation, flat)
    step = (high, wide) if stride is None or (isinstance(stride, (tuple, list)) and not stride) else _two(stride, flat)
    return unroll.Window((high, wide), step, ((down, down), (right, right)), spread)


def _channels(x: Signal, flat: bool, where: str) -> tuple[int, int, int]:
    need = 2 if flat else 3
    if len(x.shape) != need:
        raise UnsupportedError(
            f"{where} must be called with {need + 1} axes (batch first), not with {[None, *x.shape]}"
        )
    return (x.shape[0], 1, x.shape[1]) if flat else (x.shape[0], x.shape[1], x.shape[2])


def _linear(m: Any, x: Signal, where: str) -> Signal:
    if len(x.shape) != 1:
        raise UnsupportedError(f"{where} is called with {[None, *x.shape]}; flatten its input to one axis per sample")
    bias = None if m.bias is None else _numbers(m.bias)
    return x.mapped(maps.from_matrix(_numbers(m.weight)), (m.out_features,), where, bias)


def _conv(m: Any, x: Signal, where: str) -> Signal:
    flat = type(m).__name__ == "Conv1d"
    if m.padding_mode != "zeros":
        raise UnsupportedError(f"{where} has padding_mode {m.padding_mode!r}; use zeros")
    weight = _numbers(m.weight)
    weight = weight[:, :, None, :] if flat else weight
    kernel, spread = (int(weight.shape[2]), int(weight.shape[3])), _two(m.dilation, flat)
    if isinstance(m.padding, str):
        pads = unroll.same_pads(kernel, spread) if m.padding == "same" else ((0, 0), (0, 0))
    else:
        down, right = (0, _two(m.padding, True)[1]) if flat else _two(m.padding, False)
        pads = ((down, down), (right, right))
    window = unroll.Window(kernel, _two(m.stride, flat), pads, spread)
    linear, (out, high, wide) = unroll.conv(weight, _channels(x, flat, where), window, m.groups, where)
    bias = None if m.bias is None else np.repeat(_numbers(m.bias), high * wide)
    return x.mapped(linear, (out, wide) if flat else (out, high, wide), where, bias)


def _avgpool(m: Any, x: Signal, where: str) -> Signal:
    flat = type(m).__name__ == "AvgPool1d"
    if m.ceil_mode:
        raise UnsupportedError(f"{where} has ceil_mode; use windows that fit")
    window = pool_window(m.kernel_size, m.stride, m.padding, 1, flat)
    return mean_pool(x, window, where, m.count_include_pad, getattr(m, "divisor_override", None) or 0)


def mean_pool(x: Signal, window: unroll.Window, where: str, count_pads: bool, divisor: int) -> Signal:
    """Mean pooling of a signal [C, H, W] or [C, N]."""
    flat = len(x.shape) == 2
    channels = _channels(x, flat, where)
    linear, (out, high, wide) = unroll.pool(channels, window, where, mean=True, count_pads=count_pads, divisor=divisor)
    return x.mapped(linear, (out, wide) if flat else (out, high, wide), where)


def _batchnorm(m: Any, x: Signal, where: str) -> Signal:
    """Eval mode: (x − mean) / sqrt(var + eps) · weight + bias, per channel."""
    if m.running_mean is None or m.running_var is None:
        raise UnsupportedError(f"{where} keeps no running mean and variance; train it with track_running_stats=True")
    gain = 1 / np.sqrt(_numbers(m.running_var) + m.eps)
    gain = gain if m.weight is None else gain * _numbers(m.weight)
    shift = -_numbers(m.running_mean) * gain + (0 if m.bias is None else _numbers(m.bias))
    repeat = x.size // len(gain)
    return x.scaled(np.repeat(gain, repeat)).shifted(np.repeat(shift, repeat))


def _reshaped(m: Any, x: Signal, where: str, shape: tuple[int, ...]) -> Signal:
    return x.reshaped(shape, where)


def _same(m: Any, x: Signal, where: str) -> Signal:
    return x


LAYERS: dict[str, Callable[[Any, Signal, str], Signal]] = {
    "Linear": _linear,
    "Conv1d": _conv,
    "Conv2d": _conv,
    "AvgPool1d": _avgpool,
    "AvgPool2d": _avgpool,
    "BatchNorm1d": _batchnorm,
    "BatchNorm2d": _batchnorm,
    "Dropout": _same,
    "Dropout1d": _same,
    "Dropout2d": _same,
    "AlphaDropout": _same,
    "Identity": _same,
}
"""Layers that are linear in eval mode."""

SHAPERS = ("Flatten", "Unflatten")
"""Layers that only change the shape; the traced output says to what."""

MAXPOOLS = ("MaxPool1d", "MaxPool2d")
"""Exact on spikes: the maximum of 0s and 1s is their OR."""


def is_layer(module: Any) -> bool:
    """Whether a module is one of torch's own layers that are read whole."""
    kind = type(module)
    return kind.__module__.startswith("torch.nn.") and kind.__name__ in (*LAYERS, *SHAPERS, *MAXPOOLS)


def recurrent_map(module: Any, shape: tuple[int, ...], where: str) -> tuple[maps.LinearMap, np.ndarray]:
    """Weights and bias of RLeaky's and RSynaptic's ``recurrent``: Linear, Conv2d, or one factor per neuron."""
    from .neurons import array

    kind = type(module).__name__
    size = int(np.prod(shape, dtype=np.int64))
    if kind == "RecurrentOneToOne":
        factor = np.broadcast_to(array(module.V), shape).reshape(-1)
        return maps.identity(size).scaled(factor), np.zeros(size)
    if kind not in ("Linear", "Conv2d"):
        raise UnsupportedError(f"recurrent layer of {where} must be Linear, Conv2d or one to one, not {kind}")
    start = Signal(shape, {("spikes", "own"): maps.identity(size)}, np.zeros(size))
    out = LAYERS[kind](module, start, f"recurrent layer of {where}")
    if out.shape != shape:
        raise UnsupportedError(
            f"recurrent layer of {where} must keep the shape {list(shape)}, not give {list(out.shape)}"
        )
    return out.terms["spikes", "own"], out.bias
