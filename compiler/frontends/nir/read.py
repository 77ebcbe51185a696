"""A NIR file, or a ``nir.NIRGraph``, as one flat list of typed nodes and edges; nested graphs are opened.

Reading goes through the nir package's own HDF5 reader, so every version of the file format that it reads is read here; fields
that older files lack (``v_reset``, ``w_in``, ``input_shape``, metadata) get the value the package gives them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from neuroloom.compiler.errors import InputError, MissingToolError, UnsupportedError

FIELDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "Input": (("shape",), ()),
    "Output": (("shape",), ()),
    "Affine": (("weight", "bias"), ()),
    "Linear": (("weight",), ()),
    "Scale": (("scale",), ()),
    "Conv1d": (("weight", "stride", "padding", "dilation", "groups", "bias"), ("input_shape",)),
    "Conv2d": (("weight", "stride", "padding", "dilation", "groups", "bias"), ("input_shape",)),
    "SumPool2d": (("kernel_size", "stride", "padding"), ()),
    "AvgPool2d": (("kernel_size", "stride", "padding"), ()),
    "Flatten": (("start_dim", "end_dim"), ("input_type",)),
    "Delay": (("delay",), ()),
    "Threshold": (("threshold",), ()),
    "I": (("r",), ()),
    "IF": (("r", "v_threshold"), ("v_reset",)),
    "LI": (("tau", "r", "v_leak"), ()),
    "LIF": (("tau", "r", "v_leak", "v_threshold"), ("v_reset",)),
    "CubaLI": (("tau_syn", "tau_mem", "r", "v_leak"), ("w_in",)),
    "CubaLIF": (("tau_syn", "tau_mem", "r", "v_leak", "v_threshold"), ("v_reset", "w_in")),
}
"""Primitives of the nir package: the fields a file must have, and those that older files lack."""

ONE_NUMBER = ("groups", "start_dim", "end_dim")
NOT_NUMBERS = ("padding", "input_type", "input_shape")


@dataclass
class Node:
    """One primitive: its name (``outer/inner`` in nested graphs), type and fields as numpy arrays or strings."""

    name: str
    type: str
    fields: dict[str, Any]

    def __getitem__(self, key: str) -> Any:
        return self.fields[key]

    def get(self, key: str) -> Any:
        """A field, or None where an older file lacks it."""
        return self.fields.get(key)

    def __str__(self) -> str:
        return f"node {self.name!r} ({self.type})"


@dataclass
class NirGraph:
    """Nodes by name, edges (from, to), and what is known of the file."""

    nodes: dict[str, Node]
    edges: list[tuple[str, str]]
    records: dict[str, Any] = field(default_factory=dict)

    def before(self, name: str) -> list[str]:
        """Nodes with an edge to ``name``."""
        return [a for a, b in self.edges if b == name]

    def after(self, name: str) -> list[str]:
        """Nodes with an edge from ``name``."""
        return [b for a, b in self.edges if a == name]

    def of_type(self, kind: str) -> list[Node]:
        """The nodes of one type, in file order."""
        return [n for n in self.nodes.values() if n.type == kind]


def read_nir(source: str | os.PathLike[str] | Any) -> NirGraph:
    """Read a ``.nir`` file or take a ``nir.NIRGraph``.

    Raises InputError (unreadable file, missing or non-finite numbers, dangling or double edge) or UnsupportedError (unknown
    node), each naming the node.
    """
    if isinstance(source, (str, os.PathLike)):
        content, records = _read_file(os.fspath(source))
    elif callable(getattr(source, "to_dict", None)):
        content, records = _of_object(source), {}
    else:
        raise InputError(f"source must be a .nir file or a nir.NIRGraph, not {type(source).__name__}")
    graph = NirGraph({}, [], records)
    if _text(content.get("type", "")) != "NIRGraph":  # a file may hold a single node
        content = {"type": "NIRGraph", "nodes": {"node": content}, "edges": []}
    _open(content, "", graph)
    _complete(graph)
    return graph


def _of_object(item: Any) -> Mapping[str, Any]:
    """A live node or graph in the form that files have; a type that NIR does not know keeps its name alone."""
    kind = type(item).__name__
    if kind == "NIRGraph":
        return {"type": kind, "nodes": {k: _of_object(n) for k, n in item.nodes.items()}, "edges": item.edges}
    return item.to_dict() if kind in FIELDS else {"type": kind}


def _read_file(path: str) -> tuple[Mapping[str, Any], dict[str, Any]]:
    try:
        import h5py
        import nir.serialization
    except ImportError as e:
        raise MissingToolError(
            "package nir is missing, which reads .nir files; install it with pip install 'neuroloom[spiking]'"
        ) from e
    try:
        with h5py.File(path, "r") as file:
            if "node" not in file:
                raise InputError(f"{path} must be a NIR file with a group 'node', which it lacks")
            content = nir.serialization.hdf2dict(file["node"])
            version = file["version"][()] if "version" in file else b"unknown"
    except OSError as e:
        raise InputError(f"{path} must be a NIR (HDF5) file: it cannot be read as one ({_first_line(e)})") from e
    except (KeyError, RuntimeError, AttributeError) as e:
        raise InputError(f"{path} is a damaged NIR file ({_first_line(e)}); write it again") from e
    return content, {"nir_version": _text(version)}


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _text(value: Any) -> str:
    return value.decode("utf8", "replace") if isinstance(value, bytes) else str(value)


def _open(content: Mapping[str, Any], prefix: str, graph: NirGraph) -> None:
    """Add the nodes and edges of one graph; a nested graph's Input and Output take its place at the edges."""
    where = f"graph {prefix.rstrip('/')!r}" if prefix else "graph"
    nodes, edges = content.get("nodes"), content.get("edges")
    if not isinstance(nodes, Mapping) or edges is None:
        raise InputError(f"NIR {where} must have nodes and edges")
    nested = {}
    for key, item in nodes.items():
        name = f"{prefix}{_text(key)}"
        if not isinstance(item, Mapping) or "type" not in item:
            raise InputError(f"node {name!r} must have a type")
        kind = _text(item["type"])
        if kind == "NIRGraph":
            nested[name] = item
            _open(item, f"{name}/", graph)
        else:
            graph.nodes[name] = _node(name, kind, item)
    pairs = [(f"{prefix}{_text(a)}", f"{prefix}{_text(b)}") for a, b in edges]
    known = {f"{prefix}{_text(key)}" for key in nodes}
    for a, b in pairs:
        for end in (a, b):
            if end not in known:
                raise InputError(
                    f"edge {a!r} -> {b!r} must join nodes of the {where}, which has no {end!r}; it dangles"
                )
        if pairs.count((a, b)) > 1:
            raise InputError(f"edge {a!r} -> {b!r} must be given once, not {pairs.count((a, b))} times")
    for name in nested:
        _complete(graph, f"{name}/")
    for a, b in pairs:
        left = _port(graph, a, "Output") if a in nested else a
        right = _port(graph, b, "Input") if b in nested else b
        graph.edges.append((left, right))


def _port(graph: NirGraph, name: str, kind: str) -> str:
    """The one Input or Output node of a nested graph."""
    inside = f"{name}/"
    ports = [n.name for n in graph.of_type(kind) if n.name.startswith(inside) and "/" not in n.name[len(inside) :]]
    if len(ports) != 1:
        raise UnsupportedError(
            f"nested graph {name!r} has {len(ports)} {kind} nodes, so an edge does not say which is meant; give it one"
        )
    return ports[0]


def _complete(graph: NirGraph, prefix: str = "") -> None:
    """Give roots an Input and leaves an Output where a graph has none, as the nir package does."""

    def here(name: str) -> bool:
        return name.startswith(prefix) and "/" not in name[len(prefix) :]

    for kind, end in (("Input", 1), ("Output", 0)):
        if any(here(n.name) for n in graph.of_type(kind)):
            continue
        taken = {edge[end] for edge in graph.edges}
        free = [n for n in graph.nodes if here(n) and n not in taken and graph.nodes[n].type not in ("Input", "Output")]
        for name in free:
            local = name[len(prefix) :]
            port = f"{prefix}{kind.lower()}_{local}" if len(free) > 1 else f"{prefix}{kind.lower()}"
            while port in graph.nodes:
                port += "_"
            graph.nodes[port] = Node(port, kind, {"shape": None})
            graph.edges.append((port, name) if kind == "Input" else (name, port))


def _node(name: str, kind: str, item: Mapping[str, Any]) -> Node:
    if kind not in FIELDS:
        raise UnsupportedError(
            f"node {name!r} has the type {kind!r}, which is none of NIR's primitives ({', '.join(FIELDS)})"
        )
    needed, optional = FIELDS[kind]
    missing = [key for key in needed if item.get(key) is None and key != "shape"]
    if missing:
        raise InputError(f"node {name!r} ({kind}) must have {', '.join(missing)}, which the file lacks")
    return Node(name, kind, {key: _value(name, kind, key, item.get(key)) for key in (*needed, *optional)})


def _value(name: str, kind: str, key: str, value: Any) -> Any:
    """A field as a numpy array, an int, a string or None; numbers must be finite."""
    where = f"{key} of node {name!r} ({kind})"
    if isinstance(value, Mapping):  # {"input": shape}, as some versions write input_type
        if key not in ("shape", "input_type"):
            raise InputError(f"{where} must be numbers, not a group")
        value = next(iter(value.values()), None)
    if value is None:
        return None
    if isinstance(value, (bytes, str)):
        if key == "padding" and _text(value) in ("same", "valid"):
            return _text(value)
        raise InputError(f"{where} must be numbers, not {_text(value)!r}")
    array = np.asarray(value)
    if array.dtype.kind not in "iufb":
        raise InputError(f"{where} must be numbers, not {array.dtype}")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        bad = int(np.flatnonzero(~np.isfinite(array.ravel()))[0])
        raise InputError(f"{where} must be finite, not {array.ravel()[bad]} (element {bad})")
    if key in ONE_NUMBER:
        if array.size != 1:
            raise InputError(f"{where} must be one integer, not {array.size} numbers")
        return int(array.reshape(-1)[0])
    return array
