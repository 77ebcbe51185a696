"""Shapes of sliding windows and lookup tables, checked in one place."""

from __future__ import annotations

from collections.abc import Sequence

from neuroloom.compiler.errors import InputError

MAX_ADDRESS_BITS = 24
"""Widest address of one table: 16 million entries."""


def table_shape(slots: int, input_bits: int, where: str) -> int:
    """Return the entries of a table of ``slots`` inputs; raises InputError beyond :data:`MAX_ADDRESS_BITS` address bits."""
    bits = slots * input_bits
    if bits > MAX_ADDRESS_BITS:
        raise InputError(f"{where}: a table's address must be at most {MAX_ADDRESS_BITS} bits wide, not {bits}")
    return 1 << bits


def window_output(
    shape: Sequence[int],
    kernel_shape: Sequence[int],
    strides: Sequence[int] | None,
    pads: Sequence[int] | None,
    where: str,
) -> tuple[tuple[int, ...], dict[str, list[int]]]:
    """Return the output positions per axis and the complete window attributes of a channels-last ``shape`` ``[D.., C]``.

    ``strides`` defaults to 1, ``pads`` (``[begin.., end..]``) to 0.  Raises InputError for a window that does not fit.
    """
    kernel = [int(k) for k in kernel_shape]
    axes = len(kernel)
    if axes not in (2, 3) or len(shape) != axes + 1:
        raise InputError(
            f"{where}: a window must have 2 or 3 axes, one fewer than the channels-last input {list(shape)}, not {axes}"
        )
    step = [int(s) for s in strides] if strides else [1] * axes
    margin = [int(p) for p in pads] if pads else [0] * (2 * axes)
    if len(step) != axes or len(margin) != 2 * axes:
        raise InputError(
            f"{where}: a window of {axes} axes must have {axes} strides and {2 * axes} pads, not {len(step)} and {len(margin)}"
        )
    if min(kernel) < 1 or min(step) < 1 or min(margin) < 0:
        raise InputError(
            f"{where}: kernel_shape and strides must be at least 1 and pads at least 0, not {kernel}, {step} and {margin}"
        )
    out = []
    for axis in range(axes):
        room = shape[axis] + margin[axis] + margin[axis + axes] - kernel[axis]
        if room < 0:
            raise InputError(
                f"{where}: kernel_shape must fit the padded input, not exceed it by {-room} on spatial axis {axis}"
            )
        out.append(room // step[axis] + 1)
    return tuple(out), {"kernel_shape": kernel, "strides": step, "pads": margin}
