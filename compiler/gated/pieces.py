"""Finds the loops in lists of addresses: an element-wise operation becomes a few instructions with strides."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Piece:
    """Operands whose addresses are all affine: ``start[o] + sum_i index_i * strides[i][o]``, ``dims`` from the outermost on.

    ``regs[o]`` is the register of operand o. The last operand is the destination.
    """

    start: tuple[int, ...]
    regs: tuple[int, ...]
    dims: tuple[int, ...]
    strides: tuple[tuple[int, ...], ...]


def affine_pieces(addrs: list[np.ndarray], regs: list[np.ndarray]) -> Iterator[Piece]:
    """Split operands of one shape into affine pieces, in order; as few as a greedy search along the axes finds."""
    shape = addrs[0].shape
    stacked = np.stack([*addrs, *regs]).reshape(2 * len(addrs), *shape)
    yield from _split(stacked, len(addrs))


def _split(stacked: np.ndarray, count: int) -> Iterator[Piece]:
    if stacked[0].size == 0:
        return
    found = _affine(stacked, count)
    if found is not None:
        yield found
        return
    axis = next(a for a, n in enumerate(stacked.shape[1:], 1) if n > 1)
    size = stacked.shape[axis]
    at = 0
    while at < size:
        # the longest affine stretch along this axis from here on
        least, most = 1, size - at
        first = np.take(stacked, range(at, at + 1), axis)
        if _affine(first, count) is None:
            yield from _split(first, count)
            at += 1
            continue
        step = 1
        while least + step <= most and _affine(np.take(stacked, range(at, at + least + step), axis), count) is not None:
            least += step
            step *= 2
        while step >= 1:
            if (
                least + step <= most
                and _affine(np.take(stacked, range(at, at + least + step), axis), count) is not None
            ):
                least += step
            step //= 2
        piece = _affine(np.take(stacked, range(at, at + least), axis), count)
        assert piece is not None
        yield piece
        at += least


def _affine(stacked: np.ndarray, count: int) -> Piece | None:
    """The piece, with axes of equal progress merged; None when it is not one."""
    shape = stacked.shape[1:]
    corner = stacked.reshape(len(stacked), -1)[:, 0]
    guess = corner.reshape(-1, *(1 for _ in shape)).astype(np.int64)
    strides = []
    for axis, size in enumerate(shape):
        if size == 1:
            strides.append(np.zeros(len(corner), np.int64))
            continue
        stride = np.take(stacked, 1, axis + 1).reshape(len(stacked), -1)[:, 0] - corner
        strides.append(stride)
        steps = np.arange(size).reshape(*(-1 if a == axis else 1 for a in range(len(shape))))
        guess = guess + stride.reshape(-1, *(1 for _ in shape)) * steps
    if any(s[count:].any() for s in strides) or not (np.broadcast_to(guess, stacked.shape) == stacked).all():
        return None
    dims: list[int] = []
    steps_of: list[tuple[int, ...]] = []
    for size, stride in zip(shape, strides, strict=True):
        if size == 1:
            continue
        step = tuple(int(s) for s in stride[:count])
        if dims and all(outer == inner * size for outer, inner in zip(steps_of[-1], step, strict=True)):
            dims[-1] *= size
            steps_of[-1] = step
        else:
            dims.append(size)
            steps_of.append(step)
    if not dims:
        dims, steps_of = [1], [(0,) * count]
    return Piece(
        tuple(int(a) for a in corner[:count]), tuple(int(r) for r in corner[count:]), tuple(dims), tuple(steps_of)
    )


@dataclass(frozen=True)
class Run:
    """``n1`` times ``n0`` addresses: start + i * s1 + j * s0."""

    start: int
    n0: int
    s0: int
    n1: int
    s1: int


def runs(addresses: np.ndarray, most0: int, most1: int) -> list[Run]:
    """Split a list of addresses into runs of two nested strides, greedily."""
    flat: list[tuple[int, int, int]] = []
    at, values = 0, [int(a) for a in addresses]
    while at < len(values):
        stride = values[at + 1] - values[at] if at + 1 < len(values) else 1
        if not -2048 <= stride < 2048:
            flat.append((values[at], 1, 1))
            at += 1
            continue
        end = at + 1
        while end < len(values) and values[end] - values[end - 1] == stride and end - at < most0:
            end += 1
        if end - at == 2 and end < len(values) and len(values) - at > 2:
            nexts = values[at + 2] - values[at + 1]
            if nexts != stride and abs(nexts) < abs(stride):  # the second address begins a better run
                end = at + 1
        flat.append((values[at], end - at, stride if end - at > 1 else 1))
        at = end
    out: list[Run] = []
    at = 0
    while at < len(flat):
        start, n0, s0 = flat[at]
        end = at + 1
        s1 = flat[end][0] - start if end < len(flat) else 0
        while (
            end < len(flat)
            and flat[end][1:] == (n0, s0)
            and flat[end][0] - flat[end - 1][0] == s1
            and end - at < most1
            and -(1 << 15) <= s1 < 1 << 15
        ):
            end += 1
        out.append(Run(start, n0, s0, end - at, s1 if end - at > 1 else 0))
        at = end
    return out
