"""The parts of a network: populations, inputs, projections, the decision, and the limits that they keep."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from neuroloom.compiler.errors import InputError

from .fields import Fields
from .models import Model
from .plasticity import Plasticity

MAX_DELAY = 63
"""Longest delay in steps that a core's spike history can hold."""

MAX_SIZE = 1 << 20
"""Most neurons of a population, far beyond what any board holds; it bounds what a file can make us allocate."""

WEIGHT_BITS = tuple(range(1, 17))
RECORDS = ("spikes", "v")
RESERVED = ("decision", "lfsr", "reward", "clock")


@dataclass(eq=False)
class Population(Fields):
    """``size`` neurons of one ``model``.

    ``record`` names what the compiled network shows of it: ``spikes`` and/or ``v`` (the recorded membrane). ``scale``
    is the number of membrane integers per real unit, filled by quantisation; None in a network that was given in
    integers or is not quantised yet. The synapses' sum times 2**``shift`` is what the membrane gets, so a weight's
    scale is ``scale`` / 2**``shift``. ``source`` is the node of the file it came from, for messages.
    """

    name: str
    size: int
    model: Model
    record: tuple[str, ...] = ()
    scale: float | None = None
    shift: int = 0
    source: str = ""


@dataclass(eq=False)
class Input(Fields):
    """``size`` channels from outside: ``spikes``, or ``current`` added to the neurons of population ``target`` one to
    one.

    ``bounds`` are the least and greatest current (integers of the network's kind: reals before quantisation); None
    for spikes. ``scale`` as in :class:`Population`.
    """

    name: str
    size: int
    kind: str = "spikes"
    target: str = ""
    bounds: tuple[float, float] | None = None
    scale: float | None = None
    source: str = ""


@dataclass(eq=False)
class Projection(Fields):
    """Synapses from ``source`` (a population or spike input) to population ``target``, one entry per synapse in each
    array.

    ``pre``, ``post`` int32 [n_syn] are indices inside source and target; ``weight`` float64 or int64; ``delay`` int32
    in steps, 0..63: a spike of step t acts on the target in step t + delay, so 0 is a feed-forward layer inside one
    step. ``plasticity`` None: fixed weights. ``weight_bits`` of the integers (signed); None: the network's.
    """

    name: str
    source: str
    target: str
    pre: np.ndarray
    post: np.ndarray
    weight: np.ndarray
    delay: np.ndarray
    plasticity: Plasticity | None = None
    weight_bits: int | None = None
    origin: str = ""

    @property
    def size(self) -> int:
        """Number of synapses."""
        return len(self.pre)


@dataclass(eq=False)
class Decision(Fields):
    """Early decision over the output spikes of ``population``, counted per neuron.

    ``margin`` mode: decided when the leading count exceeds the runner-up's by ``margin`` (Dynamic Confidence's
    simplest form). ``confidence`` mode: when sum_k table[min(leader − count_k, len − 1)] ≤ ``limit``, integers; see
    ``confidence_table``.
    """

    population: str
    mode: str = "margin"
    margin: int = 1
    table: tuple[int, ...] = ()
    limit: int = 0


def confidence_table(confidence: float, *, length: int = 32, temperature: float = 1.0) -> tuple[tuple[int, ...], int]:
    """``table`` and ``limit`` for :class:`Decision`: softmax of the counts (divided by ``temperature``) reaches
    ``confidence``.

    The leader's softmax is 1 / sum_k exp(−(leader − count_k)/temperature), so it reaches the confidence when that sum
    is at most 1/confidence; both sides carry 12 fraction bits. (Dynamic Confidence, ICCV 2023.)
    """
    if not 0 < confidence < 1 or not temperature > 0 or length < 1:
        raise InputError(f"confidence must be between 0 and 1, not {confidence!r}")
    table = np.rint(4096 * np.exp(-np.arange(length) / temperature)).astype(int)
    return tuple(int(t) for t in table), int(np.floor(4096 / confidence))
