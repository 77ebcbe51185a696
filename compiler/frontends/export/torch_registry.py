"""How torch modules become layers: one converter per class, found by the class's name and attributes.

Modules are read from their attributes and tensors; the libraries that define them are never imported.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from neuroloom.compiler.errors import UnsupportedError

from .model_under_way import Value
from .writer import LogicModelWriter


class BitsNeededError(UnsupportedError):
    """A layer of logic was given numbers; the export tries again with the model's input declared as bits."""


@dataclass(frozen=True)
class Tensor:
    """A value on its way through the module.

    ``value`` is what the file holds.  ``channels_last`` says that torch sees the same data with its last axis moved in
    front (torch is channels-first, the windowed operators channels-last); it spares the transposes between them.
    """

    value: Value
    channels_last: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """Per-sample shape as torch sees it."""
        dims = self.value.shape
        return (dims[-1], *dims[:-1]) if self.channels_last else dims

    @property
    def is_bits(self) -> bool:
        return self.value.dtype == "bool"


class Context:
    """What a converter works with: the writer, the converters of inner modules, and the reader of free-form modules."""

    def __init__(self, writer: LogicModelWriter, trace: Tracer) -> None:
        self.writer = writer
        self.trace = trace
        self._visits: dict[str, int] = {}

    def convert(self, module: Any, x: Tensor, path: str) -> Tensor:
        """Add ``module`` (found at ``path`` in the exported one) applied to ``x``; raises UnsupportedError when it cannot."""
        refuse_hooks(module, path)
        # A module called again adds layers again, under the same path with a number.
        self._visits[path] = visits = self._visits.get(path, 0) + 1
        if visits > 1:
            path = f"{path}#{visits}"
        entry = lookup(module)
        if entry is None and is_own_forward(module):
            return self.trace(self, module, x, path)
        return find_converter(module, path)(self, module, x, path)

    def children(self, module: Any, x: Tensor, path: str) -> Tensor:
        """Apply the direct children of ``module`` one after another."""
        for name, child in module._modules.items():
            if child is not None:
                x = self.convert(child, x, f"{path}.{name}" if path else name)
        return x

    def torch_order(self, x: Tensor, path: str) -> Value:
        """The value in torch's axis order, transposed if it is not."""
        if not x.channels_last:
            return x.value
        last = len(x.value.shape) - 1
        return self.writer.transpose(x.value, [last, *range(last)], name=f"{path}.channels_first")

    def channels_last(self, x: Tensor, path: str) -> Value:
        """The value with torch's first per-sample axis moved to the end."""
        if x.channels_last:
            return x.value
        return self.writer.transpose(x.value, [*range(1, len(x.value.shape)), 0], name=f"{path}.channels_last")


Converter = Callable[[Context, Any, Tensor, str], Tensor]
Tracer = Converter

LEAF_PACKAGES = ("torch.nn", "torchlogix", "difflogic")
"""Layers of these packages are never traced into: they have a converter, or are refused by name."""


@dataclass(frozen=True)
class Entry:
    """A converter, the attributes that tell the class it means, and whether it adds no layer of its own name."""

    convert: Converter
    needs: tuple[str, ...]
    container: bool


CONVERTERS: dict[str, Entry] = {}
"""Converters by class name."""


def converter(
    *class_names: str, needs: tuple[str, ...] = (), container: bool = False
) -> Callable[[Converter], Converter]:
    """Register the decorated function for classes of these names that have the attributes ``needs``."""

    def register(function: Converter) -> Converter:
        for name in class_names:
            CONVERTERS[name] = Entry(function, needs, container)
        return function

    return register


def describe(module: Any, path: str) -> str:
    """Return "module 'path' (Class)" for messages."""
    return f"module '{path or '(root)'}' ({type(module).__name__})"


def find_converter(module: Any, path: str) -> Converter:
    """Return the converter of a module: its class's, or that of the nearest base class whose ``forward`` it keeps.

    Raises UnsupportedError, naming the path, when there is none.
    """
    where = describe(module, path)
    found = lookup(module)
    if found is None:
        known = ", ".join(sorted(name for name in CONVERTERS if "Dropout" not in name))
        raise UnsupportedError(
            f"{where}: there is no exact reading of this class; build the network from {known}, "
            "or write it with LogicModelWriter"
        )
    missing = [name for name in found.needs if not hasattr(module, name)]
    if missing:
        raise UnsupportedError(
            f"{where}: it must have the attribute '{missing[0]}' to be read as {type(module).__name__}; "
            "check the version of its library, or write the layer with LogicModelWriter"
        )
    return found.convert


def refuse_hooks(module: Any, path: str) -> None:
    """Refuse a module with hooks, which change what it computes in ways that cannot be read."""
    if any(getattr(module, attribute, None) for attribute in ("_forward_hooks", "_forward_pre_hooks")):
        raise UnsupportedError(
            f"{describe(module, path)}: forward hooks cannot be carried over; remove them before exporting"
        )


def is_own_forward(module: Any) -> bool:
    """Whether a module that has no converter may be read through its ``forward``: a container of other modules."""
    package = type(module).__module__
    models = package.startswith("torchlogix.models")
    return bool(module._modules) and (models or not package.startswith(LEAF_PACKAGES))


def lookup(module: Any) -> Entry | None:
    """The registry's entry for a module, or None; a class that overrides its base's ``forward`` is not its base."""
    for cls in type(module).__mro__:
        if cls.__name__ in CONVERTERS:
            return CONVERTERS[cls.__name__]
        if "forward" in vars(cls):
            return None
    return None


def array(tensor: Any, where: str, what: str) -> np.ndarray:
    """Copy a torch tensor to numpy; raises UnsupportedError for NaN or for an element type that numpy lacks."""
    try:
        result = np.asarray(tensor.detach().cpu().numpy())
    except TypeError:
        raise UnsupportedError(
            f"{where}: {what} must have an element type that numpy has, not {tensor.dtype}; call module.float() first"
        ) from None
    if result.dtype.kind == "f" and np.isnan(result).any():
        raise UnsupportedError(f"{where}: {what} must not hold NaN; check the training run")
    return result


def require_bits(x: Tensor, where: str) -> None:
    """Refuse a value that is not bits."""
    if not x.is_bits:
        raise BitsNeededError(
            f"{where}: it must be given bits, not {x.value.dtype} from '{x.value.name}'; put a binarisation in front of it"
        )
