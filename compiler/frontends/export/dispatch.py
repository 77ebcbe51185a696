"""``neuroloom.export``: which exporter writes which object."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from typing import Any

import onnx
from neuroloom.compiler.errors import InputError

_HERE = "neuroloom.compiler.frontends.export"

EXPORTERS = {
    "neuroloom.compiler.spiking.network.Network": (f"{_HERE}.spiking", "export_spiking"),
    "neuroloom.compiler.ir.graph.Graph": (f"{_HERE}.spiking", "export_spiking"),
    "neuroloom.model.Model": (f"{_HERE}.spiking", "export_spiking"),
    "torch.nn.modules.module.Module": (f"{_HERE}.dispatch", "export_module"),
}
"""Class of an object, or a class it descends from → (module, function); anything else goes to the torch exporter, which says what
it takes."""


def export(source: Any, *arguments: Any, **options: Any) -> onnx.ModelProto:
    """Export ``source`` as ONNX; return the model, and write it where a path is given.

    * ``export(module, sample, path)``: a trained torch module of logic gates, see :func:`.torch_modules.export`.
    * ``export(module, sample, path)``: a torch module of snnTorch neurons, which is compiled to integers first; further options go
      to its importer (``weight_bits``, ``inputs``, ...).
    * ``export(module, sample, path)``: any other torch module (Linear, GRU, convolutions, ``torch.cond``, ...) as float ONNX by
      torch's own exporter, see :func:`.torch_plain.export`; ``compile`` quantises it.
    * ``export(network, path)``: a spiking ``Network`` in integers, a compiled ``Model`` or a clocked ``Graph``, see
      :func:`.spiking.export_spiking`.
    """
    return _exporter(source)(source, *arguments, **options)


def _exporter(source: Any) -> Callable[..., onnx.ModelProto]:
    entries = (EXPORTERS.get(f"{c.__module__}.{c.__qualname__}") for c in type(source).__mro__)
    module, function = next(filter(None, entries), (f"{_HERE}.torch_modules", "export"))
    return getattr(importlib.import_module(module), function)


def export_module(
    module: Any,
    sample: Any = None,
    path: str | os.PathLike[str] | None = None,
    *,
    name: str | None = None,
    **options: Any,
) -> onnx.ModelProto:
    """Export a torch module: of snnTorch neurons where it holds one, of logic gates where it holds one, else as torch does."""
    if not any(type(inner).__module__.split(".")[0] == "snntorch" for inner in module.modules()):
        from .torch_plain import export as export_plain
        from .torch_plain import is_plain

        if is_plain(module):
            return export_plain(module, sample, path, name=name, **options)
        from .torch_modules import export as export_logic

        return export_logic(module, sample, path, name=name, **options)
    for unknown in ("label", "check"):
        if unknown in options:
            raise InputError(f"option {unknown} is for modules of logic gates; leave it out for snnTorch modules")
    from neuroloom.compiler.frontends.snntorch import load_snntorch

    from .spiking import export_spiking

    return export_spiking(load_snntorch(module, sample=sample, **options), path, name=name)
