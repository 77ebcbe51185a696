"""A layer of neurons as an importer reads it, before it becomes populations of a Network."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from neuroloom.compiler.errors import InputError

from .signal import Signal


@dataclass
class Layer:
    """``size`` neurons of one kind driven by ``drive``; arrays are float64 [n], one number per neuron.

    Per step: i ← alpha·i + drive (without ``alpha``: i = drive), v ← beta·v + i (+ ``lift``), spike when v > threshold, then
    the reset of ``reset`` and ``reset_mode`` as in :class:`neuroloom.compiler.spiking.models.RealNeuron`. ``spiking``
    False: the membrane is the output. ``integer``: the numbers are integers that must be taken exactly, with products
    rounded by ``rounding``. ``kind`` alpha: snnTorch's Alpha, whose ``alpha`` and ``beta`` are its two decays. ``record``
    names what the network shows. ``node`` is the node of the source, for messages.
    """

    name: str
    drive: Signal
    beta: np.ndarray
    threshold: np.ndarray
    alpha: np.ndarray | None = None
    lift: np.ndarray | None = None
    v_reset: np.ndarray | None = None
    v_init: np.ndarray | None = None
    reset: str = "zero"
    reset_mode: str = "immediate"
    strict: bool = True
    refractory: int = 0
    refractory_v: int | None = None
    wta: bool = False
    spiking: bool = True
    kind: str = "lif"
    rounding: str = "half_up"
    integer: bool = False
    record: tuple[str, ...] = ()
    node: str = ""
    notes: list[str] = field(default_factory=list)

    @property
    def size(self) -> int:
        """Number of neurons."""
        return self.drive.size

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the layer, without batch."""
        return self.drive.shape


def per_neuron(values: object, size: int, where: str) -> np.ndarray:
    """A parameter as float64 [size]. Raises InputError on another size, on NaN and on infinity."""
    array = np.asarray(values)
    if array.dtype.kind not in "iufb":
        raise InputError(f"{where} must be numbers, not {array.dtype}")
    array = array.astype(np.float64).reshape(-1)
    if not np.isfinite(array).all():
        bad = int(np.flatnonzero(~np.isfinite(array))[0])
        raise InputError(f"{where} must be finite, not {array[bad]} (element {bad})")
    if array.size not in (1, size):
        raise InputError(f"{where} must be one number or {size}, not {array.size}")
    return np.broadcast_to(array, (size,)).copy()


def decay_of(values: np.ndarray, where: str) -> np.ndarray:
    """Decay factors; raises InputError outside 0..1."""
    bad = np.flatnonzero((values < 0) | (values > 1))
    if len(bad):
        raise InputError(f"{where} must be a decay from 0 to 1 per step, not {values[bad[0]]:.6g}")
    return values
