"""Writes logic networks as ONNX files that stock runtimes run unchanged.

The custom operators and their exact meaning are in :mod:`neuroloom.compiler.frontends.export.functions`; a written file
carries the functions that it uses.  Same calls, same bytes.
"""

from __future__ import annotations

import math
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

from .checks import TABLE_TYPES, UNSIGNED, dtype_name, index_array, onnx_type, require, table_array, threshold_array
from .files import write_atomically
from .functions import DOMAIN_VERSIONS, LNN_DOMAIN, NL_DOMAIN, function_proto
from .geometry import table_shape, window_output

IR_VERSION = 10
"""Of the file: the first that carries overloads of functions."""

BATCH_AXIS = "N"
"""Name of the symbolic batch axis put in front of every per-sample shape."""

_RELATIONS = {">=": 1, ">": 0}


@dataclass(frozen=True)
class Value:
    """A tensor of the model being written: its name, per-sample shape (no batch axis) and numpy element type."""

    name: str
    shape: tuple[int, ...]
    dtype: str


class LogicModelWriter:
    """Builds one ONNX model, layer by layer.

    Every method that adds a layer takes the per-sample view (no batch axis), returns a :class:`Value`, and raises
    :class:`InputError` when a shape, type or index does not fit, naming the layer.

    ``name`` becomes the graph's name, ``producer`` the file's producer name.
    """

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

    # ---- logic layers

    def lookup_table(
        self,
        x: Value,
        indices: ArrayLike,
        tables: ArrayLike,
        name: str | None = None,
        input_bits: int = 1,
        out_bits: int = 0,
    ) -> Value:
        """Add M lookup tables of K inputs over the last axis: ``[..., C] -> [..., M]`` in the type of ``tables``.

        ``indices`` is ``[M, K]`` with entries in ``[0, C)``, ``tables`` ``[M, 2**(K * input_bits)]``, slot 0 the least significant
        part of the address.  ``out_bits`` declares a narrower output (0: the full width of the table's type).
        """
        name = self._layer_name(name, "lookup_table")
        where = f"layer '{name}'"
        require(x.dtype in UNSIGNED, f"{where}: the input must be one of {', '.join(UNSIGNED)}, not {x.dtype}")
        require(input_bits >= 1, f"{where}: input_bits must be at least 1, not {input_bits}")
        require(x.dtype != "bool" or input_bits == 1, f"{where}: a bool input must have input_bits 1, not {input_bits}")
        index = index_array(indices, x.shape[-1], 2, where)
        table = table_array(tables, TABLE_TYPES, where)
        m, k = index.shape
        expected = (m, table_shape(k, input_bits, where))
        require(table.shape == expected, f"{where}: tables must have shape {expected}, not {table.shape}")
        require(out_bits >= 0, f"{where}: out_bits must be at least 0, not {out_bits}")
        if out_bits and table.dtype != np.bool_ and table.size:
            low, high = int(table.min()), int(table.max())
            require(
                0 <= low and high < 1 << out_bits,
                f"{where}: tables must hold values in [0, {1 << out_bits}) for out_bits {out_bits}, not {low}..{high}",
            )
        return self._call(
            LNN_DOMAIN,
            "LookupTable",
            name,
            [x.name, self._constant(f"{name}.indices", index), self._constant(f"{name}.tables", table)],
            (*x.shape[:-1], m),
            table.dtype.name,
            {"input_bits": int(input_bits), "out_bits": int(out_bits)},
        )

    def lookup_table_conv(
        self,
        x: Value,
        indices: ArrayLike,
        tables: ArrayLike | None = None,
        *,
        tree_depth: int = 1,
        kernel_shape: Sequence[int],
        strides: Sequence[int] | None = None,
        pads: Sequence[int] | None = None,
        channel_group_size: int = 0,
        name: str | None = None,
    ) -> Value:
        """Add M trees of lookup tables slid over a channels-last image: ``[D.., C] -> [O.., M]`` in the type of ``tables``.

        ``indices`` is ``[M, R**(tree_depth-1), R]``, addressing the flattened receptive field ``[kernel.., C]``; ``tables`` is
        ``[M, nodes, 2**R]``, leaves first, root last.  ``tree_depth = 0`` takes no tables and returns the gathered values
        ``[O.., M, R]`` in the type of ``x``, which may then be multi-bit.
        """
        name = self._layer_name(name, "lookup_table_conv")
        where = f"layer '{name}'"
        require(x.dtype in UNSIGNED, f"{where}: the input must be one of {', '.join(UNSIGNED)}, not {x.dtype}")
        require(tree_depth >= 0, f"{where}: tree_depth must be at least 0, not {tree_depth}")
        out, geometry = window_output(x.shape, kernel_shape, strides, pads, where)
        patch = math.prod(geometry["kernel_shape"]) * x.shape[-1]
        index = index_array(indices, patch, 3, where)
        m, p, rank = index.shape
        leaves = rank ** (tree_depth - 1) if tree_depth else 1
        require(p == leaves, f"{where}: indices must have {leaves} leaves per kernel (its second axis), not {p}")
        arguments = [x.name, self._constant(f"{name}.indices", index)]
        attributes: dict[str, Any] = {
            **geometry,
            "tree_depth": int(tree_depth),
            "channel_group_size": int(channel_group_size),
        }
        if tree_depth == 0:
            require(tables is None, f"{where}: tables must be omitted when tree_depth is 0")
            return self._call(
                LNN_DOMAIN,
                "LookupTableConv",
                name,
                arguments,
                (*out, m, rank),
                x.dtype,
                attributes,
                overload="passthrough",
            )
        require(tables is not None, f"{where}: tables must be given when tree_depth is at least 1")
        table = table_array(tables, ("bool", "uint8"), where)
        nodes = sum(rank**level for level in range(tree_depth))
        expected = (m, nodes, table_shape(rank, 1, where))
        require(table.shape == expected, f"{where}: tables must have shape {expected}, not {table.shape}")
        require(int(table.max()) <= 1, f"{where}: tables must hold 0 and 1 only, not {table.max()}")
        arguments.append(self._constant(f"{name}.tables", table))
        return self._call(LNN_DOMAIN, "LookupTableConv", name, arguments, (*out, m), table.dtype.name, attributes)

    def or_pool(
        self,
        x: Value,
        kernel_shape: Sequence[int],
        strides: Sequence[int] | None = None,
        pads: Sequence[int] | None = None,
        name: str | None = None,
    ) -> Value:
        """Add an OR over sliding windows of a channels-last image of bits: ``[D.., C] -> [O.., C]``; padding reads as 0.

        ``strides`` defaults to ``kernel_shape``.
        """
        name = self._layer_name(name, "or_pool")
        where = f"layer '{name}'"
        require(x.dtype in ("bool", "uint8"), f"{where}: the input must be bool or uint8, not {x.dtype}")
        out, geometry = window_output(x.shape, kernel_shape, strides or kernel_shape, pads, where)
        return self._call(NL_DOMAIN, "OrPool", name, [x.name], (*out, x.shape[-1]), x.dtype, geometry)

    # ---- encoder and classifier

    def thermometer(self, x: Value, thresholds: ArrayLike, relation: str = ">=", name: str | None = None) -> Value:
        """Add T threshold bits per feature: ``[.., F] -> bool [.., F*T]``, feature-major (``bit f*T + t``).

        ``thresholds`` is ``[F, T]``, or ``[T]`` for the same ones on every feature; ``relation`` is ``">="`` or ``">"``.  Float
        thresholds on an integer input are rounded to the integers that decide alike, so the file compares integers.
        """
        name = self._layer_name(name, "thermometer")
        where = f"layer '{name}'"
        require(relation in _RELATIONS, f"{where}: relation must be '>=' or '>', not '{relation}'")
        features = x.shape[-1]
        levels = np.asarray(thresholds)
        if levels.ndim == 1:
            levels = np.broadcast_to(levels, (features, levels.shape[0]))
        require(
            levels.ndim == 2 and levels.shape[0] == features and levels.shape[1] >= 1,
            f"{where}: thresholds must have shape ({features}, T) or (T,), not {np.shape(thresholds)}",
        )
        table = threshold_array(levels, x.dtype, relation, where)
        return self._call(
            NL_DOMAIN,
            "Thermometer",
            name,
            [x.name, self._constant(f"{name}.thresholds", table)],
            (*x.shape[:-1], features * levels.shape[1]),
            "bool",
            {"inclusive": _RELATIONS[relation]},
        )

    def group_sum(
        self,
        x: Value,
        groups: int,
        tau: float = 1.0,
        beta: float = 0.0,
        offset: float = 0.0,
        name: str | None = None,
    ) -> Value:
        """Add sums over ``groups`` equal consecutive parts: ``[.., F] -> float32 [.., groups]``.

        The score is ``(count + offset) / tau + beta``, in float32, rounded after each step.
        """
        name = self._layer_name(name, "group_sum")
        where = f"layer '{name}'"
        require(x.dtype in TABLE_TYPES, f"{where}: the input must be bool or integer, not {x.dtype}")
        require(
            groups >= 1 and x.shape[-1] % groups == 0,
            f"{where}: groups must divide the {x.shape[-1]} inputs, not {groups}",
        )
        for label, number in (("tau", tau), ("beta", beta), ("offset", offset)):
            require(math.isfinite(np.float32(number)), f"{where}: {label} must be a finite float32, not {number}")
        require(np.float32(tau) != 0, f"{where}: tau must not be 0")
        return self._call(
            NL_DOMAIN,
            "GroupSum",
            name,
            [x.name],
            (*x.shape[:-1], int(groups)),
            "float32",
            {"groups": int(groups), "tau": float(tau), "beta": float(beta), "offset": float(offset)},
        )

    def argmax(self, x: Value, name: str | None = None) -> Value:
        """Add the position of the largest value of the last axis, the first of equals: ``[.., G] -> int64 [..]``."""
        name = self._layer_name(name, "argmax")
        return self._standard("ArgMax", [x], x.shape[:-1], "int64", name=name, axis=-1, keepdims=0, select_last_index=0)

    # ---- shapes

    def reshape(self, x: Value, shape: Sequence[int], name: str | None = None) -> Value:
        """Give the samples another ``shape`` (no batch axis; one entry may be -1)."""
        name = self._layer_name(name, "reshape")
        dims = [int(d) for d in shape]
        size = math.prod(x.shape)
        if dims.count(-1) == 1:
            rest = -math.prod(dims)
            if rest and size % rest == 0:
                dims[dims.index(-1)] = size // rest
        require(
            math.prod(dims) == size and all(d > 0 for d in dims),
            f"layer '{name}': shape must hold {size} elements like {list(x.shape)}, not {list(shape)}",
        )
        target = self._constant(f"{name}.shape", np.array([0, *dims], dtype=np.int64))
        return self._standard("Reshape", [x, target], tuple(dims), x.dtype, name=name)

    def flatten(self, x: Value, name: str | None = None) -> Value:
        """Flatten each sample, row-major."""
        name = self._layer_name(name, "flatten")
        return self._standard("Flatten", [x], (math.prod(x.shape),), x.dtype, name=name, axis=1)

    def transpose(self, x: Value, axes: Sequence[int], name: str | None = None) -> Value:
        """Permute the per-sample axes: axis ``i`` of the result is axis ``axes[i]`` of ``x``."""
        name = self._layer_name(name, "transpose")
        order = [int(a) for a in axes]
        require(
            sorted(order) == list(range(len(x.shape))),
            f"layer '{name}': axes must be a permutation of 0..{len(x.shape) - 1}, not {order}",
        )
        shape = tuple(x.shape[a] for a in order)
        return self._standard("Transpose", [x], shape, x.dtype, name=name, perm=[0, *(a + 1 for a in order)])

    def concat(self, values: Sequence[Value], axis: int = -1, name: str | None = None) -> Value:
        """Join values along a per-sample ``axis``."""
        name = self._layer_name(name, "concat")
        require(bool(values), f"layer '{name}': concat must get at least one value")
        first = values[0]
        rank = len(first.shape)
        require(-rank <= axis < rank, f"layer '{name}': axis must be in [{-rank}, {rank}), not {axis}")
        at = axis % rank
        for value in values[1:]:
            fits = len(value.shape) == rank and all(
                a == b for i, (a, b) in enumerate(zip(value.shape, first.shape, strict=True)) if i != at
            )
            require(
                fits and value.dtype == first.dtype,
                f"layer '{name}': '{value.name}' {value.dtype}{list(value.shape)} must match "
                f"'{first.name}' {first.dtype}{list(first.shape)} in all but axis {at}",
            )
        shape = (*first.shape[:at], sum(v.shape[at] for v in values), *first.shape[at + 1 :])
        return self._standard("Concat", list(values), shape, first.dtype, name=name, axis=at + 1)

    def logical_or(self, a: Value, b: Value, name: str | None = None) -> Value:
        """Add ``a OR b``, element by element, of two bool values of one shape."""
        return self._binary("Or", a, b, name)

    def logical_and(self, a: Value, b: Value, name: str | None = None) -> Value:
        """Add ``a AND b``, element by element, of two bool values of one shape."""
        return self._binary("And", a, b, name)

    def logical_xor(self, a: Value, b: Value, name: str | None = None) -> Value:
        """Add ``a XOR b``, element by element, of two bool values of one shape."""
        return self._binary("Xor", a, b, name)

    def logical_not(self, x: Value, name: str | None = None) -> Value:
        """Add ``NOT x`` of a bool value."""
        name = self._layer_name(name, "not")
        require(x.dtype == "bool", f"layer '{name}': the input must be bool, not {x.dtype}")
        return self._standard("Not", [x], x.shape, "bool", name=name)

    def cast(self, x: Value, dtype: str, name: str | None = None) -> Value:
        """Convert to another element type."""
        name = self._layer_name(name, "cast")
        to = dtype_name(dtype, f"layer '{name}'")
        return self._standard("Cast", [x], x.shape, to, name=name, to=onnx_type(to))

    def standard(
        self,
        op_type: str,
        inputs: Sequence[Value | str],
        shape: Sequence[int],
        dtype: str,
        name: str | None = None,
        **attributes: Any,
    ) -> Value:
        """Add any standard operator; ``shape`` and ``dtype`` of the result are the caller's word."""
        return self._standard(op_type, inputs, shape, dtype, name=self._layer_name(name, op_type.lower()), **attributes)

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

    def _binary(self, op_type: str, a: Value, b: Value, name: str | None) -> Value:
        name = self._layer_name(name, op_type.lower())
        require(
            a.dtype == b.dtype == "bool" and a.shape == b.shape,
            f"layer '{name}': both inputs must be bool of one shape, not {a.dtype}{list(a.shape)} "
            f"and {b.dtype}{list(b.shape)}",
        )
        return self._standard(op_type, [a, b], a.shape, "bool", name=name)

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
