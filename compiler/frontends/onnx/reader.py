"""Reads a model file: its bytes, its initializers, tensors kept outside; bounded, and never outside the model's folder."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from neuroloom.compiler.errors import InputError, UnsupportedError
from onnx import TensorProto, helper, numpy_helper

MAX_CONSTANT_BYTES = 2 << 30
"""Largest stored tensor."""

Source = str | os.PathLike[str] | bytes | onnx.ModelProto


def read_model(source: Source) -> tuple[onnx.ModelProto, Path | None, str]:
    """The model, the folder of its external tensors (None: not from a file), and how messages call it.

    Raises InputError for a missing, truncated or non-ONNX file.
    """
    if isinstance(source, onnx.ModelProto):
        return _checked(source, "the model"), None, "the model"
    if isinstance(source, bytes):
        return _parsed(source, "the model"), None, "the model"
    path = Path(source)
    try:
        data = path.read_bytes()
    except OSError as e:
        raise InputError(f"{path} cannot be read: {e.strerror or e}; give the path of an ONNX file") from e
    return _parsed(data, str(path)), path.resolve().parent, str(path)


def _parsed(data: bytes, name: str) -> onnx.ModelProto:
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except (DecodeError, UnicodeDecodeError, RuntimeError) as e:
        raise InputError(
            f"{name} must be an ONNX model, but its {len(data)} bytes do not parse; it is truncated or another format"
        ) from e
    return _checked(model, name)


def _checked(model: onnx.ModelProto, name: str) -> onnx.ModelProto:
    if not model.HasField("graph") or not (model.graph.node or model.graph.output):
        raise InputError(
            f"{name} must be an ONNX model with a graph, but holds none; it is empty, truncated or another format"
        )
    if not model.opset_import:
        raise InputError(f"{name} must say which operator sets it uses (opset_import); it is incomplete")
    for text in _names(model):
        if not isinstance(text, str):  # protobuf hands out the bytes of a name that is not UTF-8
            raise InputError(f"{name} must have names in UTF-8, not {text!r}; it is damaged")
    return model


def _names(model: onnx.ModelProto) -> Iterator[str | bytes]:
    """Every name in the model that this importer reads."""
    yield from (model.producer_name, model.producer_version, model.graph.name)
    yield from (o.domain for o in model.opset_import)
    for item in (*model.graph.input, *model.graph.output, *model.graph.initializer):
        yield item.name
    for info in (*model.graph.input, *model.graph.output):
        yield from (d.dim_param for d in info.type.tensor_type.shape.dim)
    for tensor in model.graph.initializer:
        yield from (text for entry in tensor.external_data for text in (entry.key, entry.value))
    yield from _node_names(model.graph.node)
    for function in model.functions:
        yield from (function.domain, function.name, function.overload)
        yield from (*function.input, *function.output, *function.attribute)
        yield from (o.domain for o in function.opset_import)
        yield from (a.name for a in function.attribute_proto)
        yield from _node_names(function.node)


def _node_names(nodes: Iterable[onnx.NodeProto]) -> Iterator[str | bytes]:
    for node in nodes:
        yield from (node.name, node.domain, node.op_type, node.overload)
        yield from node.input
        yield from node.output
        for a in node.attribute:
            yield from (a.name, a.ref_attr_name)
            if a.HasField("g"):
                yield from _node_names(a.g.node)


def tensor_array(tensor: TensorProto, folder: Path | None, where: str) -> np.ndarray:
    """A stored tensor as numpy array; raises InputError when its data do not match its shape."""
    name = f"{where} {tensor.name!r}" if tensor.name else where
    dims = list(tensor.dims)
    if any(d < 0 for d in dims):
        raise InputError(f"{name} must not have negative dimensions, not {dims}")
    if tensor.data_type in (TensorProto.UNDEFINED, TensorProto.STRING):
        raise UnsupportedError(f"{name} must be a tensor of numbers, not {TensorProto.DataType.Name(tensor.data_type)}")
    try:
        dtype = np.dtype(helper.tensor_dtype_to_np_dtype(tensor.data_type))
    except (KeyError, ValueError):
        raise InputError(f"{name} must have an element type of ONNX, not {tensor.data_type}") from None
    count = math.prod(dims)
    if count * dtype.itemsize > MAX_CONSTANT_BYTES:
        raise UnsupportedError(f"{name} has {count} elements (shape {dims}); the limit is {MAX_CONSTANT_BYTES} bytes")
    if tensor.data_location == TensorProto.EXTERNAL:
        tensor = _external(tensor, folder, name, count * dtype.itemsize)
    try:
        return numpy_helper.to_array(tensor)
    except (ValueError, TypeError, OverflowError, onnx.checker.ValidationError) as e:
        raise InputError(
            f"{name} must hold {count} elements of {dtype} for its shape {dims}, but its data do not"
        ) from e


def _external(tensor: TensorProto, folder: Path | None, name: str, size: int) -> TensorProto:
    info = {entry.key: entry.value for entry in tensor.external_data}
    location = info.get("location", "")
    if folder is None:
        raise InputError(f"{name} is stored in the file {location!r}; load the model by its path")
    path = folder / location
    inside = path.resolve().is_relative_to(folder) and not Path(location).is_absolute()
    if not location or not inside or any(p.is_symlink() for p in [path, *path.parents] if folder in p.parents):
        raise InputError(f"{name} must be stored in the model's folder or below, not in {location!r}")
    try:
        offset, length = int(info.get("offset") or 0), int(info.get("length") or size)
    except ValueError:
        raise InputError(f"{name} must have a whole number as offset and length in {location!r}") from None
    if offset < 0 or length != size:
        raise InputError(f"{name} must take {size} bytes of {location!r}, not {length} at {offset}")
    try:
        with open(path, "rb") as handle:
            handle.seek(offset)
            data = handle.read(size)
    except OSError as e:
        raise InputError(
            f"{name} is stored in {location!r}, which cannot be read: {e.strerror}; put it beside the model"
        ) from e
    if len(data) != size:
        raise InputError(f"{name} must take {size} bytes of {location!r} at {offset}, but only {len(data)} are there")
    out = TensorProto()
    out.data_type, out.raw_data = tensor.data_type, data
    out.dims.extend(tensor.dims)
    return out
