"""Writes logic networks as ONNX files that stock runtimes run unchanged.

The custom operators and their exact meaning are in :mod:`neuroloom.compiler.frontends.export.functions`; a written file
carries the functions that it uses.  Same calls, same bytes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .checks import TABLE_TYPES, UNSIGNED, index_array, require, table_array, threshold_array
from .functions import LNN_DOMAIN, NL_DOMAIN
from .geometry import table_shape, window_output
from .model_under_way import Value
from .standard_layers import StandardLayers

_RELATIONS = {">=": 1, ">": 0}


class LogicModelWriter(StandardLayers):
    """Builds one ONNX model, layer by layer.

    Every method that adds a layer takes the per-sample view (no batch axis), returns a :class:`Value`, and raises
    :class:`InputError` when a shape, type or index does not fit, naming the layer.

    ``name`` becomes the graph's name, ``producer`` the file's producer name.
    """

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
