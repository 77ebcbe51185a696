"""An ONNX model while it is written: inputs, outputs, nodes, constants, unique names, and the finished file.

The custom operators and their exact meaning are in :mod:`neuroloom.compiler.frontends.export.functions`; a written file
carries the functions that it uses.  Same calls, same bytes.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from neuroloom.compiler.errors import InputError
from numpy.typing import ArrayLike
from onnx import helper, numpy_helper

from .checks import dtype_name, onnx_type, require
from .files import write_atomically
from .functions import DOMAIN_VERSIONS, function_proto

IR_VERSION = 10
"""Of the file: the first that carries overloads of functions."""

BATCH_AXIS = "N"
"""Name of the symbolic batch axis put in front of every per-sample shape."""


@dataclass(frozen=True)
class Value:
    """A tensor of the model being written: its name, per-sample shape (no batch axis) and numpy element type."""

    name: str
    shape: tuple[int, ...]
    dtype: str


class ModelUnderWay:
    """One ONNX model, filled by the layers of the classes below it; ``name`` and ``producer`` go into the file."""

    def __init__(self, name: str, producer: str = "neuroloom") -> None:
        self.name = name
        self.producer = producer
        self._nodes: list[onnx.NodeProto] = []
        self._inputs: list[Value] = []
        self._outputs: list[tuple[Value, str]] = []
        self._constants: dict[str, np.ndarray] = {}
        self._functions: dict[tuple[str, str, str], None] = {}
        self._names: set[str] = set()

    # ---- inputs and outputs

    def input(self, name: str, shape: Sequence[int], dtype: str = "bool") -> Value:
        """Declare an input of per-sample ``shape`` and numpy type ``dtype``; a symbolic batch axis is put in front."""
        dims = tuple(int(d) for d in shape)
        if any(d < 1 for d in dims):
            raise InputError(f"input '{name}': every dimension must be at least 1, not {list(dims)}")
        value = Value(self._claim(name), dims, dtype_name(dtype, f"input '{name}'"))
        self._inputs.append(value)
        return value

    def output(self, value: Value, name: str) -> None:
        """Make ``value`` an output of the model under ``name``."""
        self._outputs.append((value, self._claim(name)))

    def constant(self, name: str, array: ArrayLike) -> str:
        """Store an array in the file and return its name, for :meth:`standard`."""
        return self._constant(self._claim(name), np.asarray(array))

    # ---- result

    def model(self) -> onnx.ModelProto:
        """Return the model; it passes ``onnx.checker`` with full checks."""
        if not self._inputs or not self._outputs:
            raise InputError(f"model '{self.name}' must have an input and an output; call input() and output()")
        nodes, outputs = self._named_outputs()
        graph = helper.make_graph(
            nodes,
            self.name,
            [_value_info(v.name, v) for v in self._inputs],
            [_value_info(name, value) for value, name in outputs],
            [numpy_helper.from_array(array, name) for name, array in self._constants.items()],
        )
        domains = sorted({domain for domain, _, _ in self._functions} | {""})
        return helper.make_model(
            graph,
            producer_name=self.producer,
            ir_version=IR_VERSION,
            opset_imports=[helper.make_opsetid(domain, DOMAIN_VERSIONS[domain]) for domain in domains],
            functions=[function_proto(*key) for key in sorted(self._functions)],
        )

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Check the model and write it to ``path``, whole or not at all; return the path."""
        return self.write(self.model(), path)

    @staticmethod
    def write(model: onnx.ModelProto, path: str | os.PathLike[str]) -> Path:
        """Check a model built here and write it to ``path``, whole or not at all; return the path."""
        onnx.checker.check_model(model, full_check=True)
        return write_atomically(model.SerializeToString(deterministic=True), path)

    # ---- inner workings

    def _named_outputs(self) -> tuple[list[onnx.NodeProto], list[tuple[Value, str]]]:
        """Give each output its name: by renaming the tensor, or through Identity where that would clash."""
        rename: dict[str, str] = {}
        nodes: list[onnx.NodeProto] = []
        tail: list[onnx.NodeProto] = []
        inputs = {v.name for v in self._inputs}
        for value, name in self._outputs:
            if value.name in inputs or value.name in rename:
                tail.append(helper.make_node("Identity", [value.name], [name], name=f"{name}.output"))
            else:
                rename[value.name] = name
        for original in [*self._nodes, *tail]:
            node = onnx.NodeProto()
            node.CopyFrom(original)
            node.input[:] = [rename.get(n, n) for n in original.input]
            node.output[:] = [rename.get(n, n) for n in original.output]
            nodes.append(node)
        return nodes, list(self._outputs)

    def _standard(
        self,
        op_type: str,
        inputs: Sequence[Value | str],
        shape: Sequence[int],
        dtype: str,
        name: str,
        **attributes: Any,
    ) -> Value:
        names = [value if isinstance(value, str) else value.name for value in inputs]
        return self._call("", op_type, name, names, tuple(shape), dtype, attributes)

    def _call(
        self,
        domain: str,
        op_type: str,
        name: str,
        inputs: Sequence[str],
        shape: tuple[int, ...],
        dtype: str,
        attributes: Mapping[str, Any],
        overload: str = "",
    ) -> Value:
        value = Value(f"{name}.y", shape, dtype)
        options = {"overload": overload} if overload else {}
        node = helper.make_node(op_type, list(inputs), [value.name], name=name, domain=domain, **options, **attributes)
        self._nodes.append(node)
        if domain:
            self._functions[domain, op_type, overload] = None
        return value

    def _constant(self, name: str, array: np.ndarray) -> str:
        self._constants[name] = np.ascontiguousarray(array)
        return name

    def _layer_name(self, name: str | None, default: str) -> str:
        if name is not None and name not in self._names:
            return self._claim(name)
        if name is not None:
            raise InputError(f"layer '{name}': every name in a model must be used once; choose another")
        number = 1
        while f"{default}_{number}" in self._names:
            number += 1
        return self._claim(f"{default}_{number}")

    def _claim(self, name: str) -> str:
        require(bool(name), "a name in a model must not be empty")
        require(name not in self._names, f"name '{name}' must be used once in a model; choose another")
        self._names.add(name)
        return name


def _value_info(name: str, value: Value) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, onnx_type(value.dtype), [BATCH_AXIS, *value.shape])
