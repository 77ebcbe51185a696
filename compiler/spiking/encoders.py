"""Analog values to spikes: rate, latency and delta encoders, all integers or seeded by a documented LFSR.

Values are reals in 0..1 (others are refused; ``normalise`` brings data there). Rasters are uint8 [..., steps,
channels]. The random numbers of ``rate`` come from the graph's LFSR (32 bits, Galois, 0x80200003), moved once per
number: channel by channel, step by step, sample by sample; a spike when its low 16 bits are below round(65536·value).
Those of ``bernoulli`` come from a generator per channel, as the graph's operation of that name: what the device draws by itself.
"""

from __future__ import annotations

import numpy as np
from neuroloom.compiler.errors import InputError
from neuroloom.compiler.ir.ops.neurons import CARRY_BITS, CARRY_FACTOR, CARRY_MODULUS, CARRY_SCALE

from .fields import need_finite, need_seed

LFSR_POLYNOMIAL = 0x80200003


def unit_values(values: np.ndarray, what: str = "values") -> np.ndarray:
    """Values as float64, refused outside 0..1."""
    array = np.asarray(values, np.float64)
    need_finite(what, array)
    if array.ndim < 1:
        raise InputError(f"{what} must have a channel axis")
    if array.size and (array.min() < 0 or array.max() > 1):
        bad = array.min() if array.min() < 0 else array.max()
        raise InputError(f"{what} must be in 0..1, not {bad:.6g}; bring them there with normalise")
    return array


def _steps(steps: int) -> int:
    if not isinstance(steps, (int, np.integer)) or steps < 1:
        raise InputError(f"steps must be an integer of at least 1, not {steps!r}")
    return int(steps)


def normalise(values: np.ndarray, low: float | None = None, high: float | None = None) -> np.ndarray:
    """Values brought linearly to 0..1 and clipped; ``low`` and ``high`` are the data's own ends when not given."""
    array = np.asarray(values, np.float64)
    need_finite("values", array)
    low = float(array.min()) if low is None else low
    high = float(array.max()) if high is None else high
    if not low < high:
        raise InputError(f"low must be below high, not {low:.6g} and {high:.6g}")
    return np.clip((array - low) / (high - low), 0, 1)


def lfsr_numbers(count: int, seed: int = 1) -> np.ndarray:
    """``count`` states of the LFSR behind ``seed`` (1..2**32 − 1), uint32; x' = (x >> 1) ^ (0x80200003 if x is odd
    else 0).
    """
    need_seed(seed)
    out, x = np.empty(count, np.uint32), int(seed)
    for k in range(count):
        x = (x >> 1) ^ (LFSR_POLYNOMIAL if x & 1 else 0)
        out[k] = x
    return out


def constant(values: np.ndarray, steps: int) -> np.ndarray:
    """Constant current: the values [..., n] repeated over time, float64 [..., steps, n]; for a network's current
    input.
    """
    array = np.asarray(values, np.float64)
    need_finite("values", array)
    return np.repeat(array[..., None, :], _steps(steps), axis=-2)


def rate(values: np.ndarray, steps: int, *, seed: int | None = None) -> np.ndarray:
    """Spikes at a rate of ``values`` [..., n] per step.

    With ``seed``: independent draws from the LFSR (see above). Without: evenly spaced, a spike whenever the running
    sum of round(65536·value) passes a multiple of 65536, so n steps hold value·n spikes up to one.
    """
    array = unit_values(values)
    target = np.rint(array * 65536).astype(np.int64)
    count = _steps(steps)
    if seed is None:
        step = np.arange(count + 1, dtype=np.int64).reshape(-1, 1)
        whole = (target[..., None, :] * step) >> 16
        return np.diff(whole, axis=-2).astype(np.uint8)
    shape = (*array.shape[:-1], count, array.shape[-1])
    draws = lfsr_numbers(int(np.prod(shape)), seed).reshape(shape) & 0xFFFF
    return (draws < target[..., None, :]).astype(np.uint8)


def carry_states(count: int, seed: int) -> np.ndarray:
    """States 1..8374270 of ``count`` generators of ``bernoulli`` before the first step, int64: 1 + x mod 8374270 of every 32nd
    state x of the LFSR behind ``seed`` (of each, its 32 bits are new, so that no two generators run side by side).
    """
    return 1 + lfsr_numbers(32 * count, seed)[31::32].astype(np.int64) % (CARRY_MODULUS - 1)


def bernoulli(values: np.ndarray, steps: int, *, seed: int) -> np.ndarray:
    """Spikes at random, with the probability ``values`` [..., n] in every step; each channel has a generator of its own.

    Every sample begins with the seed again, as it does on the device: a sample's spikes do not depend on its place.
    """
    target = np.rint(unit_values(values) * 65536).astype(np.int64)
    x = carry_states(target.shape[-1], seed)
    out = np.zeros((*target.shape[:-1], _steps(steps), target.shape[-1]), np.uint8)
    for t in range(out.shape[-2]):
        x = CARRY_FACTOR * (x % (1 << CARRY_BITS)) + (x >> CARRY_BITS)
        out[..., t, :] = (x * CARRY_SCALE >> 23) < target
    return out


def latency(values: np.ndarray, steps: int, *, silent_below: float = 0.0) -> np.ndarray:
    """One spike per channel, the earlier the larger: at step round((1 − value)·(steps − 1)); none at or below
    ``silent_below``.
    """
    array, count = unit_values(values), _steps(steps)
    when = np.rint((1 - array) * (count - 1)).astype(np.int64)
    raster = when[..., None, :] == np.arange(count).reshape(-1, 1)
    return (raster & (array > silent_below)[..., None, :]).astype(np.uint8)


def delta(signal: np.ndarray, threshold: float) -> np.ndarray:
    """Send-on-delta: signal [..., steps, n] to spikes [..., steps, 2·n], up in channels 0..n−1, down in n..2n−1.

    Each channel remembers a level (its first value); when the signal is ``threshold`` or more above (below), it
    spikes up (down) once and the level moves by one threshold, at most one per step.
    """
    array = np.asarray(signal, np.float64)
    need_finite("signal", array)
    if array.ndim < 2:
        raise InputError(f"signal must be [..., steps, channels], not of shape {list(array.shape)}")
    need_finite("threshold", threshold)
    if not threshold > 0:
        raise InputError(f"threshold must be above 0, not {threshold!r}")
    level = array[..., 0, :].copy()
    out = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), np.uint8)
    for t in range(array.shape[-2]):
        up = array[..., t, :] - level >= threshold
        down = level - array[..., t, :] >= threshold
        level += threshold * up.astype(np.float64) - threshold * down
        out[..., t, :] = np.concatenate([up, down], axis=-1)
    return out


ENCODERS = {f.__name__: f for f in (constant, rate, bernoulli, latency, delta)}
"""Every encoder by name."""
