"""Which frontend reads which file: one entry per file ending."""

from __future__ import annotations

import hashlib
import importlib
import os
from pathlib import Path
from typing import Any

from neuroloom.compiler.errors import InputError
from neuroloom.compiler.ir import Graph

FRONTENDS = {
    ".onnx": ("neuroloom.compiler.frontends.onnx", "load_onnx"),
    ".nir": ("neuroloom.compiler.frontends.nir", "load_nir"),
    ".yaml": ("neuroloom.compiler.frontends.network", "load_network_graph"),
    ".yml": ("neuroloom.compiler.frontends.network", "load_network_graph"),
    ".json": ("neuroloom.compiler.frontends.network", "load_network_graph"),
}
"""File ending → (module, function); the module is imported only when such a file comes."""

OBJECTS = {
    "nir.ir.graph.NIRGraph": ("neuroloom.compiler.frontends.nir", "load_nir"),
    "torch.nn.modules.module.Module": ("neuroloom.compiler.frontends.snntorch", "load_snntorch"),
    "neuroloom.compiler.spiking.network.Network": ("neuroloom.compiler.frontends.network", "network_graph"),
}
"""Class of a live object, or a class it descends from → (module, function); anything else goes to the ONNX frontend."""


def load_source(source: str | os.PathLike[str] | Any, **options: Any) -> Graph:
    """Read a network from a file by its ending, or from a live object: ``onnx.ModelProto``, ``Network``,
    ``nir.NIRGraph``, a torch module of snnTorch neurons. ``options`` go to the frontend.

    The file's name and SHA-256 are kept in ``records["source"]``. Raises InputError for an unknown ending.
    """
    if not isinstance(source, (str, os.PathLike)):
        entries = (OBJECTS.get(f"{c.__module__}.{c.__qualname__}") for c in type(source).__mro__)
        return _reader(next(filter(None, entries), FRONTENDS[".onnx"]))(source, **options)
    path = Path(source)
    if path.suffix not in FRONTENDS:
        raise InputError(f"{path} must end in {' or '.join(FRONTENDS)}; export the network to one of these")
    try:
        data = path.read_bytes()
    except OSError as e:
        raise InputError(f"{path} cannot be read: {e.strerror}") from e
    graph = _reader(FRONTENDS[path.suffix])(path, **options)
    graph.records["source"] = {"file": path.name, "sha256": hashlib.sha256(data).hexdigest()}
    return graph


def _reader(entry: tuple[str, str]) -> Any:
    module, function = entry
    return getattr(importlib.import_module(module), function)
