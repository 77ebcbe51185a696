"""How numbers are chosen: widths, rounding, overflow, calibration method, for the whole network and node by node (``--config``).

::

    bits: 16                # activations, state, inputs and outputs, with their sign
    weight_bits: 8          # weights, with their sign
    table_bits: 10          # addresses of tabulated functions
    aligned_bits: 16        # weights of products that are added, once they are brought to one step
    rounding: half_up       # of every requantize: floor, half_up, half_even, toward_zero
    overflow: saturate      # or wrap
    calibration: minmax     # or mse, or {percentile: 99.99}
    weights: per_tensor     # or per_channel
    delta: 0.05             # matrix products see only changes of their input by at least so much; or {GRU_0: 0.05, Gemm_3: 0}
    nodes:
      GRU_0: {bits: 12, weight_bits: 6}
      GRU_0.h: {type: s16.15, rounding: half_even}
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import yaml
from neuroloom.compiler.errors import GraphError, InputError
from neuroloom.compiler.ir.ops.arith import OVERFLOWS, ROUNDINGS
from neuroloom.compiler.ir.types import Type

METHODS = ("minmax", "percentile", "mse")
GRANULARITIES = ("per_tensor", "per_channel")
WIDTHS = {"bits": (2, 32), "weight_bits": (2, 32), "table_bits": (2, 16), "aligned_bits": (2, 48)}
"""Least and most of every width; a table of 16 address bits has 65,536 entries."""


@dataclass(frozen=True, slots=True)
class Rules:
    """The choices that hold for one node (or for all): see the module's text.

    ``type`` fixes the format of the node's value; ``product`` rounds every product to that type before summation, as designs do
    whose accumulators are narrower than the exact sum. ``delta`` is the least change of an input that a matrix product sees, in the
    input's unit; None: it sees every value.
    """

    bits: int = 16
    weight_bits: int = 8
    table_bits: int = 10
    aligned_bits: int = 16
    rounding: str = "half_up"
    overflow: str = "saturate"
    calibration: str = "minmax"
    percentile: float = 99.99
    weights: str = "per_tensor"
    delta: float | None = None
    type: Type | None = None
    product: Type | None = None
    weight_type: Type | None = None

    def to_json(self) -> dict[str, Any]:
        """The rules that differ from the defaults, for the record."""
        plain = Rules()
        out = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != getattr(plain, f.name)}
        return _readable(out)


def _readable(rules: Mapping[str, Any]) -> dict[str, Any]:
    """Rules as a configuration states them, so that :meth:`Config.read` takes them back."""
    out = {k: str(v) if isinstance(v, Type) else v for k, v in rules.items() if k != "percentile"}
    if rules.get("calibration") == "percentile":
        out["calibration"] = {"percentile": rules.get("percentile", Rules().percentile)}
    return out


PER_NODE = ("type", "product", "weight_type")
"""Rules that make sense for one node only."""


@dataclass(frozen=True, slots=True)
class Config:
    """Rules for all nodes and the exceptions by value name or source name."""

    rules: Rules = field(default_factory=Rules)
    nodes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def at(self, names: Iterable[str]) -> Rules:
        """The rules of a node; of ``names`` (source first, then the value, which is more special) each may have exceptions."""
        rules = self.rules
        for name in names:
            given = self.nodes.get(name)
            if given:
                rules = replace(rules, **given)
        return rules

    def named(self, names: Iterable[str], rule: str) -> bool:
        """Whether one of the names has a rule of its own of this kind."""
        return any(rule in self.nodes.get(name, {}) for name in names)

    def check(self, known: Iterable[str]) -> None:
        """Raise InputError when an exception names no node of the network."""
        names = set(known)
        for name in self.nodes:
            if name not in names:
                close = sorted(n for n in names if name.split(".")[0] in n)[:8] or sorted(names)[:8]
                raise InputError(f"configuration: node {name!r} must be one of the network, such as {', '.join(close)}")

    def to_json(self) -> dict[str, Any]:
        """What differs from the defaults."""
        out = self.rules.to_json()
        nodes = {n: _readable(r) for n, r in self.nodes.items()}
        return {**out, "nodes": nodes} if nodes else out

    @classmethod
    def read(cls, source: Mapping[str, Any] | str | Path | None) -> Config:
        """From a mapping or a YAML file; raises InputError naming the key that is wrong."""
        if source is None:
            return cls()
        if isinstance(source, (str, Path)):
            try:
                data = yaml.safe_load(Path(source).read_text())
            except OSError as e:
                raise InputError(f"{source} cannot be read: {e.strerror}") from e
            except (yaml.YAMLError, UnicodeDecodeError) as e:
                raise InputError(f"{source} must be YAML, but is not: {str(e).splitlines()[0]}") from e
            where = str(source)
        else:
            data, where = source, "configuration"
        if data is None:
            data = {}
        if not isinstance(data, Mapping):
            raise InputError(f"{where} must be a mapping of rules such as bits: 16, not a {type(data).__name__}")
        nodes = data.get("nodes", {})
        if not isinstance(nodes, Mapping) or not all(isinstance(v, Mapping) for v in nodes.values()):
            raise InputError(f"{where}: nodes must map node names to rules")
        deltas = data.get("delta")
        if isinstance(deltas, Mapping):  # by layer, in short
            data = {k: v for k, v in data.items() if k != "delta"}
            nodes = {**nodes, **{n: {**nodes.get(n, {}), "delta": v} for n, v in deltas.items()}}
        general = _rules({k: v for k, v in data.items() if k != "nodes"}, where)
        for key in PER_NODE:
            if key in general:
                raise InputError(f"{where}: {key} must stand under nodes, for one node")
        special = {str(n): _rules(v, f"{where}: node {n!r}") for n, v in nodes.items()}
        return cls(Rules(**general), special)


def _rules(data: Mapping[str, Any], where: str) -> dict[str, Any]:
    out: dict[str, Any] = {}
    known = [f.name for f in fields(Rules)]
    for key, value in data.items():
        if key not in known or key == "percentile":
            raise InputError(f"{where}: {key!r} must be one of {', '.join(k for k in known if k != 'percentile')}")
        if key in WIDTHS:
            least, most = WIDTHS[key]
            if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
                raise InputError(f"{where}: {key} must be {least} to {most} bits, not {value!r}")
        elif key == "delta":
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
                raise InputError(f"{where}: delta must be a change of 0 or more, not {value!r}")
        elif key in PER_NODE:
            try:
                value = Type.parse(str(value))
            except GraphError as e:
                raise InputError(f"{where}: {key}: {e}") from None
        elif key == "calibration":
            value, share = _method(value, where)
            if share is not None:
                out["percentile"] = share
        else:
            choices = {"rounding": ROUNDINGS, "overflow": OVERFLOWS, "weights": GRANULARITIES}[key]
            if value not in choices:
                raise InputError(f"{where}: {key} must be one of {', '.join(choices)}, not {value!r}")
        out[key] = value
    return out


def _method(value: Any, where: str) -> tuple[str, float | None]:
    if isinstance(value, Mapping) and list(value) == ["percentile"]:
        share = value["percentile"]
        if isinstance(share, bool) or not isinstance(share, (int, float)) or not 50 < share <= 100:
            raise InputError(f"{where}: percentile must be above 50 and at most 100, not {share!r}")
        return "percentile", float(share)
    if value not in METHODS:
        raise InputError(f"{where}: calibration must be minmax, mse, percentile or {{percentile: 99.9}}, not {value!r}")
    return value, None
