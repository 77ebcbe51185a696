"""How a network's inputs are made of analog values: declared with the network, kept in its file, applied wherever inputs come in.

An encoding belongs to one input of the graph and says what it is made of: values of one sample, whose ``shape`` is that of the
source, become steps by one of :data:`KINDS`; a ``matrix`` (the first layer of an imported network) turns them into currents. The
functions themselves are in ``encoders.py``. Whatever already has a step axis and the input's own channels is taken as it is.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from neuroloom.compiler.errors import InputError
from neuroloom.compiler.ir import Graph

from . import device_encoders, encoders
from .fields import need_finite
from .parts import Input

RECORD = "encoders"
"""Key under ``graph.records["network"]``."""


def _scaled(values: np.ndarray, options: Mapping[str, Any]) -> np.ndarray:
    return encoders.normalise(values, options.get("low", 0.0), options.get("high", 1.0))


@dataclass(frozen=True)
class Kind:
    """An encoder: its options, and steps [N, T, n] of samples [N, n] (of signals [N, T, n], with two channels for each of theirs,
    when ``signal``); they are currents when ``current``.
    """

    options: tuple[str, ...]
    apply: Callable[[np.ndarray, Mapping[str, Any]], np.ndarray]
    signal: bool = False
    current: bool = False


KINDS = {
    "constant": Kind(("steps",), lambda x, o: encoders.constant(x, o["steps"]), current=True),
    "rate": Kind(
        ("steps", "low", "high", "seed"), lambda x, o: encoders.rate(_scaled(x, o), o["steps"], seed=o.get("seed"))
    ),
    "bernoulli": Kind(
        ("steps", "low", "high", "seed"),
        lambda x, o: encoders.bernoulli(_scaled(x, o), o["steps"], seed=o.get("seed", 1)),
    ),
    "latency": Kind(
        ("steps", "low", "high", "silent_below"),
        lambda x, o: encoders.latency(_scaled(x, o), o["steps"], silent_below=o.get("silent_below", 0.0)),
    ),
    "delta": Kind(("threshold",), lambda x, o: encoders.delta(x, o["threshold"]), signal=True),
    # the host's part of encoders on the device
    "rate_current": Kind(
        ("steps", "low", "high"), lambda x, o: device_encoders.rate_current(_scaled(x, o), o["steps"]), current=True
    ),
    "latency_current": Kind(
        ("steps", "low", "high", "silent_below"),
        lambda x, o: device_encoders.latency_current(
            _scaled(x, o), o["steps"], silent_below=o.get("silent_below", 0.0)
        ),
        current=True,
    ),
    "delta_current": Kind((), lambda x, o: device_encoders.delta_current(x), signal=True, current=True),
}
"""Encoders by name; ``low`` and ``high`` are the values that become 0 and 1 (others are clipped), 0 and 1 when not given."""


@dataclass(frozen=True)
class Encoding:
    """What the graph's input ``input`` is made of: the values ``source`` of ``shape`` per sample (per step of a signal)."""

    input: str
    source: str
    shape: tuple[int, ...]
    kind: str
    options: Mapping[str, Any] = field(default_factory=dict)
    matrix: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputError(f"encoder of input {self.input!r} must be one of {', '.join(KINDS)}, not {self.kind!r}")
        known = KINDS[self.kind].options
        for key in self.options:
            if key not in known:
                raise InputError(f"option of encoder {self.kind!r} must be one of {', '.join(known)}, not {key!r}")
        if self.kind == "delta" and "threshold" not in self.options:
            raise InputError(f"encoder 'delta' of input {self.input!r} must have the option 'threshold'")

    def __call__(self, values: np.ndarray, steps: int | None = None) -> np.ndarray | None:
        """The input [N, T, n] of ``values`` by their shape; None when they are steps of the input already."""
        size, kind = int(np.prod(self.shape, dtype=np.int64)), KINDS[self.kind]
        tail = values.shape[1:]
        stepped = values.ndim >= 3 and np.prod(values.shape[2:], dtype=np.int64) == size
        if kind.signal:
            return kind.apply(values.reshape(*values.shape[:2], size), self.options) if stepped else None
        if tail == self.shape or (not stepped and values.ndim > 1 and np.prod(tail, dtype=np.int64) == size):
            options = {**self.options, **({} if steps is None else {"steps": steps})}
            if options.get("steps") is None:
                raise InputError(
                    f"input {self.source!r} must come with a number of steps, because one sample is one set of values: give "
                    "--steps T (steps=T when the network is made), or values of every step"
                )
            found = kind.apply(self._currents(values.reshape(len(values), size)), options)
            return found
        if stepped and self.matrix is not None:
            return self._currents(values.reshape(*values.shape[:2], size))
        return None

    def _currents(self, flat: np.ndarray) -> np.ndarray:
        return flat if self.matrix is None else flat.astype(np.float64) @ self.matrix.T

    def to_record(self) -> dict[str, Any]:
        """Plain data for the graph's file."""
        out: dict[str, Any] = {"input": self.input, "source": self.source, "shape": list(self.shape), "kind": self.kind}
        out["options"] = dict(self.options)
        if self.matrix is not None:
            data = np.ascontiguousarray(self.matrix, "<f8")
            out["matrix"] = {"shape": list(data.shape), "float64": base64.b64encode(data.tobytes()).decode()}
        return out

    @classmethod
    def from_record(cls, record: Any) -> Encoding:
        """Read it back; raises InputError for a damaged record."""
        try:
            matrix = None
            if "matrix" in record:
                data = np.frombuffer(base64.b64decode(record["matrix"]["float64"], validate=True), "<f8")
                matrix = data.reshape(record["matrix"]["shape"])
            shape = tuple(int(n) for n in record["shape"])
            return cls(record["input"], record["source"], shape, record["kind"], dict(record["options"]), matrix)
        except (KeyError, TypeError, ValueError, AttributeError) as e:
            raise InputError(
                f"the file's record of an input encoder must be whole, not {record!r:.60}; compile again"
            ) from e


def declared(
    item: Input,
    kind: str,
    *,
    shape: Sequence[int] | None,
    samples: str | None,
    matrix: np.ndarray | None,
    options: Mapping[str, Any],
) -> Encoding:
    """The encoding of a network's input, checked against it; raises InputError."""
    chosen = KINDS.get(kind)
    signal = chosen is not None and chosen.signal
    channels = item.size // 2 if signal else item.size
    if matrix is not None:
        matrix = np.asarray(matrix, np.float64)
        need_finite("matrix", matrix)
        if kind != "constant" or matrix.ndim != 2 or matrix.shape[0] != channels:
            raise InputError(
                f"matrix must be [{channels}, values] of encoder 'constant', not {list(matrix.shape)} of {kind!r}"
            )
        channels = matrix.shape[1]
    if not isinstance(shape, (list, tuple, type(None))):
        raise InputError(f"shape must be a list of sizes, not {shape!r}")
    sizes = (channels,) if shape is None else tuple(shape)
    made = Encoding(item.name, samples or item.name, sizes, kind, options, matrix)
    if KINDS[kind].current != (item.kind == "current"):
        raise InputError(f"encoder {kind!r} must go with a {'current' if KINDS[kind].current else 'spike'} input")
    if int(np.prod(made.shape)) != channels or (signal and item.size % 2):
        raise InputError(f"shape of encoder {kind!r} must hold {channels} values, not {list(made.shape)}")
    return made


def encodings(graph: Graph) -> list[Encoding]:
    """The encodings that a graph declares."""
    network = graph.records.get("network")
    if not isinstance(network, Mapping) or RECORD not in network:
        return []
    return [Encoding.from_record(record) for record in network[RECORD]]


def given_names(graph: Graph) -> list[str]:
    """Names of what a user gives: the graph's inputs, encoded ones by their sources, each once."""
    source = {e.input: e.source for e in encodings(graph)}
    return list(dict.fromkeys(source.get(i.name, i.name) for i in graph.inputs))


def encode(
    graph: Graph, inputs: Mapping[str, np.ndarray] | np.ndarray, *, steps: int | None = None
) -> Mapping[str, np.ndarray] | np.ndarray:
    """The inputs with every declared encoder applied to what is given for its source; others are left as they are.

    ``steps`` goes before the declared number of steps. Raises InputError naming the input.
    """
    found = encodings(graph)
    if not found:
        return inputs
    names = given_names(graph)
    given = dict(inputs) if isinstance(inputs, Mapping) else {names[0]: inputs} if len(names) == 1 else None
    if given is None:
        return inputs  # refused where inputs are named
    out = dict(given)
    for item in found:
        if item.source not in given:
            continue
        values = np.asarray(given[item.source])
        made = item(values, steps)
        if item.source != item.input:
            out.pop(item.source, None)
        out[item.input] = values if made is None else made
    return out
