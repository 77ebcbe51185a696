"""Writes a hardened network as an ONNX file, and reads such a file back into plain integers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from neuroloom.compiler.frontends.export.writer import LogicModelWriter
from onnx import helper, numpy_helper

from examples.training.hardened import Encoder, Hardened, OrPool, Sum, Tables, Trees


def write(network: Hardened, path: Path, *, name: str, input_name: str, input_shape: tuple[int, ...]) -> None:
    """Write ``network`` to ``path``: uint8 ``input_shape`` in, float32 "scores" and int64 "label" out.

    The per-sample input is flattened first, row-major, so ``input_shape`` may be that of the images.
    """
    writer = LogicModelWriter(name, producer="neuroloom examples")
    value = writer.input(input_name, input_shape, "uint8")
    if len(input_shape) > 1:
        value = writer.flatten(value, name="pixels")
    number = 0
    for layer in network.layers:
        if isinstance(layer, Encoder):
            value = writer.thermometer(value, layer.thresholds.astype(np.int64), name="encoder")
            continue
        number += 1
        where = f"layer{number}"
        if isinstance(layer, Tables):
            if len(value.shape) > 1:
                value = writer.flatten(value, name=f"{where}.wires")
            value = writer.lookup_table(value, layer.indices, layer.tables.astype(bool), name=where)
        elif isinstance(layer, Trees):
            if len(value.shape) == 1:
                value = writer.reshape(value, layer.image_shape, name=f"{where}.image")
            value = writer.lookup_table_conv(
                value,
                layer.indices,
                layer.tables.astype(bool),
                tree_depth=layer.depth,
                kernel_shape=layer.kernel,
                strides=layer.strides,
                pads=layer.pads,
                name=where,
            )
        elif isinstance(layer, OrPool):
            value = writer.or_pool(value, layer.kernel, name=where)
        elif isinstance(layer, Sum):
            if len(value.shape) > 1:
                value = writer.flatten(value, name=f"{where}.wires")
            value = writer.group_sum(value, layer.groups, tau=layer.tau, name="sum")
    writer.output(value, "scores")
    writer.output(writer.argmax(value, name="class"), "label")
    writer.save(path)


def read(path: Path) -> Hardened:
    """Read a file written by :func:`write` back into integers, by its nodes and constants alone."""
    model = onnx.load(path)
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    shapes = {
        model.graph.input[0].name: tuple(d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim[1:])
    }
    layers: list = []
    for node in model.graph.node:
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        source = shapes[node.input[0]]
        layer, shape = _READERS[node.op_type](source, attributes, *(constants.get(name) for name in node.input[1:]))
        if layer is not None:
            layers.append(layer)
        shapes[node.output[0]] = shape
    return Hardened(tuple(layers))


def _read_thermometer(shape, attributes, thresholds):
    return Encoder(thresholds + (1 - attributes["inclusive"])), (thresholds.size,)


def _read_tables(shape, attributes, indices, tables):
    return Tables(indices.astype(np.int64), tables.astype(np.uint8)), (len(indices),)


def _read_trees(shape, attributes, indices, tables):
    kernel, strides, pads = (tuple(attributes[name]) for name in ("kernel_shape", "strides", "pads"))
    size = tuple((shape[i] + pads[i] + pads[i + 2] - kernel[i]) // strides[i] + 1 for i in range(2))
    layer = Trees(indices.astype(np.int64), tables.astype(np.uint8), shape, kernel, strides, pads)
    return layer, (*size, len(indices))


def _read_pool(shape, attributes):
    kernel = tuple(attributes["kernel_shape"])
    return OrPool(shape, kernel), (shape[0] // kernel[0], shape[1] // kernel[1], shape[2])


_READERS: dict[str, Callable[..., tuple[Any, tuple[int, ...]]]] = {
    "Thermometer": _read_thermometer,
    "LookupTable": _read_tables,
    "LookupTableConv": _read_trees,
    "OrPool": _read_pool,
    "GroupSum": lambda shape, attributes: (Sum(attributes["groups"], attributes["tau"]), (attributes["groups"],)),
    "Flatten": lambda shape, attributes: (None, (int(np.prod(shape)),)),
    "Reshape": lambda shape, attributes, target: (None, tuple(int(d) for d in target[1:])),
    "ArgMax": lambda shape, attributes: (None, ()),
}
