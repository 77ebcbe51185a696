"""Networks as YAML or JSON files; the form is told in ``docs/network.md``.

Unknown keys are refused with the nearest known one, keys given twice are refused, and every message says where it
stands. Large arrays live in an ``.npz`` beside the file and are named ``{array: NAME}``.
"""

from __future__ import annotations

import difflib
import inspect
import json
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from neuroloom.compiler.errors import InputError

from .input_encoding import KINDS
from .models import MODELS, RealAlpha, RealIzhikevich, RealNeuron
from .network import Decision, Network
from .plasticity import RULES
from .topology import TOPOLOGIES, VALUES

TOP = (
    "network",
    "dt",
    "seed",
    "weight_bits",
    "state_bits",
    "arrays",
    "inputs",
    "populations",
    "projections",
    "decision",
)
INPUT = ("size", "kind", "target", "bounds", "scale", "source", "encode")
POPULATION = ("size", "model", "record", "scale", "shift", "source")
PROJECTION = (
    *("name", "from", "to", "topology", "pre", "post", "weights", "delay", "plasticity", "weight_bits", "origin"),
)
DECISION = tuple(f.name for f in fields(Decision)) + ("confidence",)


class _Loader(yaml.SafeLoader):
    """Safe YAML that refuses keys given twice and reads 20e-3 as a number (YAML 1.1 wants a dot)."""


def _mapping(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, (str, int, float, bool)):
            raise InputError(f"line {key_node.start_mark.line + 1}: key must be a name, not {key!r}")
        if key in seen:
            raise InputError(f"line {key_node.start_mark.line + 1}: key must be given once, not again {key!r}")
        seen.add(key)
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?\d+(?:\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, value in pairs:
        if key in out:
            raise InputError(f"key must be given once, not again {key!r}")
        out[key] = value
    return out


def load_network(path: str | os.PathLike[str]) -> Network:
    """Read a ``.yaml``, ``.yml`` or ``.json`` network. Raises InputError saying file, place, rule and what to do."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as e:
        raise InputError(f"{path} cannot be read: {getattr(e, 'strerror', None) or 'it is not UTF-8 text'}") from e
    try:
        data = json.loads(text, object_pairs_hook=_once) if path.suffix == ".json" else yaml.load(text, _Loader)
        return read_network(data, path.parent, default_name=path.stem)
    except (yaml.YAMLError, json.JSONDecodeError, RecursionError) as e:
        raise InputError(f"{path} must be {path.suffix[1:].upper()}: {' '.join(str(e).split())}") from e
    except InputError as e:
        raise InputError(f"{path}: {e}") from e


def read_network(data: Any, folder: Path | None = None, *, default_name: str = "network") -> Network:
    """A network from plain data (the content of a file); arrays are looked for in ``folder``."""
    return _Reader(folder).network(data, default_name)


class _Reader:
    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.arrays: Mapping[str, np.ndarray] = {}

    def network(self, data: Any, default_name: str) -> Network:
        """The whole file."""
        top = need_keys("the network", data, TOP)
        if "arrays" in top:
            self.arrays = self.npz(top["arrays"])
        options = {key: top[key] for key in ("dt", "seed", "weight_bits", "state_bits") if key in top}
        net = Network(str(top.get("network", default_name)), **options)
        inputs = need_map("inputs", top.get("inputs", {}))
        currents = {
            name for name, item in inputs.items() if isinstance(item, Mapping) and item.get("kind") == "current"
        }
        for name, item in inputs.items():
            if name not in currents:
                self.at(f"inputs.{name}", self.input, net, name, item)
        for name, item in need_map("populations", top.get("populations", {})).items():
            self.at(f"populations.{name}", self.population, net, name, item)
        for name in (n for n in inputs if n in currents):  # a current input has the size of its target
            self.at(f"inputs.{name}", self.current, net, name, inputs[name])
        projections = top.get("projections", [])
        if not isinstance(projections, list):
            raise InputError(f"projections must be a list, not {type(projections).__name__}")
        for number, item in enumerate(projections):
            self.at(f"projections[{number}]", self.projection, net, item)
        if top.get("decision") is not None:
            self.at("decision", self.decision, net, top["decision"])
        return net

    def at(self, place: str, read: Callable[..., None], *args: Any) -> None:
        """Run ``read``; its errors say the place."""
        try:
            read(*args)
        except InputError as e:
            raise InputError(f"{place}: {e}") from e

    def npz(self, name: Any) -> Mapping[str, np.ndarray]:
        """The arrays beside the file."""
        if not isinstance(name, str) or Path(name).name != name or self.folder is None:
            raise InputError(f"arrays must name an .npz beside the file, not {name!r}")
        try:
            with np.load(self.folder / name, allow_pickle=False) as data:
                return {key: data[key] for key in data.files}
        except (OSError, ValueError) as e:
            why = getattr(e, "strerror", None) or e
            raise InputError(f"arrays {name!r} must be an .npz of numbers that can be read: {why}") from e

    def number(self, what: str, value: Any) -> Any:
        """A number, a list of numbers, or a named array."""
        if isinstance(value, Mapping):
            given = need_keys(what, value, ("array",))
            if given.get("array") not in self.arrays:
                known = ", ".join(self.arrays) or "(none: give the file as 'arrays')"
                raise InputError(f"{what} must name an array of {known}, not {given.get('array')!r}")
            return self.arrays[given["array"]]
        if isinstance(value, list):
            try:
                return np.array(value, dtype=None if value else np.int64)
            except ValueError as e:
                raise InputError(f"{what} must have rows of one length") from e
        return value

    def input(self, net: Network, name: Any, item: Any) -> None:
        """One input; ``in: 96`` is short for ``in: {size: 96}``."""
        given = need_keys("input", {"size": item} if isinstance(item, int) else item, INPUT)
        if given.get("kind", "spikes") != "spikes":
            raise InputError(f"kind must be spikes or current, not {given['kind']!r}")
        for key in ("target", "bounds", "scale"):
            if key in given:
                raise InputError(f"{key} must only be given for an input of kind current")
        net.input(str(name), given.get("size", 0), source=given.get("source", ""))
        self.encode(net, name, given)

    def current(self, net: Network, name: Any, item: Any) -> None:
        """One current input."""
        given = need_keys("input", item, INPUT)
        bounds, target = given.get("bounds"), given.get("target")
        if not isinstance(bounds, list) or len(bounds) != 2:
            raise InputError(f"bounds must be [least, greatest] current, not {bounds!r}")
        if target not in net.populations:
            raise InputError(f"target must be one of {', '.join(net.populations) or '(no population)'}, not {target!r}")
        size = net.populations[target].size
        if given.get("size", size) != size:
            raise InputError(
                f"size of a current input must be that of population {target!r}, {size}, not {given['size']}"
            )
        made = net.drive(target, bounds=(bounds[0], bounds[1]), name=str(name), source=given.get("source", ""))
        made.scale = given.get("scale")
        self.encode(net, name, given)

    def encode(self, net: Network, name: Any, given: Mapping[str, Any]) -> None:
        """``encode: {rate: {steps: 20, high: 16}}``: what the input is made of."""
        if given.get("encode") is None:
            return
        kind, options = self.named("encode", given["encode"], KINDS)
        known = (*KINDS[kind].options, "shape", "samples", "matrix")
        values = {k: self.number(k, v) if k == "matrix" else v for k, v in need_keys(kind, options, known).items()}
        net.encode(str(name), kind, **values)

    def population(self, net: Network, name: Any, item: Any) -> None:
        """One population: size, model, the model's parameters beside, record."""
        if not isinstance(item, Mapping):
            raise InputError(f"population must be a mapping with size and model, not {item!r}")
        kind = item.get("model")
        if kind not in MODELS:
            raise InputError(f"model must be one of {', '.join(MODELS)}, not {kind!r}{_nearest(kind, MODELS)}")
        known = parameters(MODELS[kind])
        given = need_keys("population", item, (*POPULATION, *known))
        values = {k: self.number(k, v) for k, v in given.items() if k in known}
        record = given.get("record", [])
        record = [record] if isinstance(record, str) else record
        model = call(kind, MODELS[kind], values)
        made = net.population(str(name), given.get("size", 0), model, record=record, source=given.get("source", ""))
        made.scale, made.shift = given.get("scale"), given.get("shift", 0)

    def projection(self, net: Network, item: Any) -> None:
        """One projection."""
        given = need_keys("projection", item, PROJECTION)
        for key in ("from", "to"):
            if key not in given:
                raise InputError(f"projection must have the key {key!r}")
        rule = given.get("plasticity")
        net.connect(
            str(given["from"]),
            str(given["to"]),
            weights=self.values("weights", given.get("weights")),
            pre=self.number("pre", given.get("pre")),
            post=self.number("post", given.get("post")),
            topology=None if "topology" not in given else self.made("topology", given["topology"], TOPOLOGIES),
            delay=self.values("delay", given.get("delay", 1)),
            plasticity=None if rule is None else self.made("plasticity", rule, RULES),
            name=None if "name" not in given else str(given["name"]),
            weight_bits=given.get("weight_bits"),
            origin=given.get("origin", ""),
        )

    def values(self, what: str, value: Any) -> Any:
        """Numbers, or a generator of them: ``{uniform: {low: 0, high: 1, seed: 1}}``."""
        if isinstance(value, Mapping) and "array" not in value:
            return self.made(what, value, VALUES)
        return self.number(what, value)

    def named(self, what: str, value: Any, table: Mapping[str, Any]) -> tuple[str, Any]:
        """``NAME`` or ``{NAME: {parameters}}`` with a name of the table."""
        if isinstance(value, str):
            value = {value: {}}
        if not isinstance(value, Mapping) or len(value) != 1:
            raise InputError(f"{what} must be NAME or {{NAME: {{parameters}}}}, not {value!r}")
        ((name, given),) = value.items()
        if name not in table:
            raise InputError(f"{what} must be one of {', '.join(table)}, not {name!r}{_nearest(name, table)}")
        return name, given

    def made(self, what: str, value: Any, table: Mapping[str, Any]) -> Any:
        """What a constructor of the table makes."""
        name, given = self.named(what, value, table)
        known = parameters(table[name])
        values = {k: self.number(k, v) for k, v in need_keys(name, given or {}, known).items()}
        return call(name, table[name], values)

    def decision(self, net: Network, item: Any) -> None:
        """The decision."""
        given = dict(need_keys("decision", item, DECISION))
        if "population" not in given:
            raise InputError("decision must have the key 'population'")
        given.pop("mode", None)  # told by which of margin, confidence and table is there
        if given.get("table"):
            given.pop("margin", None)
        net.decide(str(given.pop("population")), **given)


def need_map(what: str, data: Any) -> Mapping[Any, Any]:
    """``data`` as a mapping (nothing is an empty one)."""
    if data is None:
        return {}
    if not isinstance(data, Mapping):
        raise InputError(f"{what} must be a mapping, not {type(data).__name__}")
    return data


def need_keys(what: str, data: Any, known: Iterable[str]) -> Mapping[str, Any]:
    """``data`` as a mapping whose keys are all known; the message has the nearest one."""
    known = tuple(known)
    for key in need_map(what, data):
        if key not in known:
            close = _close(key, known)
            rule = f"a known one such as {close!r}" if close else f"one of {', '.join(known)}"
            raise InputError(f"key of {what} must be {rule}, not {key!r}")
    return need_map(what, data)


def _close(word: Any, known: Iterable[str]) -> str:
    """The known word nearest to ``word``, of equals one with its first letter; "" when none is near."""
    found = difflib.get_close_matches(str(word), list(known), 3)
    return max(
        found, key=lambda f: (difflib.SequenceMatcher(None, str(word), f).ratio(), f[0] == str(word)[:1]), default=""
    )


def _nearest(word: Any, known: Iterable[str]) -> str:
    close = _close(word, known)
    return f"; did you mean {close!r}?" if close else ""


def parameters(maker: Any) -> tuple[str, ...]:
    """Names of what a constructor takes; ``**fields`` stands for those of the class that it makes."""
    names: list[str] = []
    signature = inspect.signature(maker)
    for item in signature.parameters.values():
        if item.kind is inspect.Parameter.VAR_KEYWORD:
            made = _MADE[signature.return_annotation]
            names += [f.name for f in fields(made) if f.name not in names]
        else:
            names.append(item.name)
    return tuple(names)


_MADE: dict[str, type] = {c.__name__: c for c in (RealNeuron, RealIzhikevich, RealAlpha)}
"""Class by the name that a constructor's annotation gives."""


def call(name: str, maker: Any, values: Mapping[str, Any]) -> Any:
    """Call a constructor with what the file gives; missing and wrong parameters become InputErrors."""
    for item in inspect.signature(maker).parameters.values():
        required = item.default is inspect.Parameter.empty and item.kind is not inspect.Parameter.VAR_KEYWORD
        if required and item.name not in values:
            raise InputError(f"{name} must have the parameter {item.name!r}")
    try:
        return maker(**values)
    except TypeError as e:  # a string where a number belongs, or a field that the constructor fixes itself
        raise InputError(f"parameters of {name} must be numbers that it takes: {e}") from e
