"""``export``: from a trained torch module of logic gates to an ONNX model of lookup tables."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import onnx
from neuroloom.compiler.errors import InputError, MismatchError, MissingToolError, UnsupportedError

from . import torch_binarization, torch_difflogic, torch_standard, torch_torchlogix
from .evaluate import evaluate
from .torch_registry import CONVERTERS, BitsNeededError, Context, Tensor, lookup
from .torch_trace import trace
from .writer import LogicModelWriter

__all__ = ["CONVERTERS", "export"]

_READERS = (torch_standard, torch_difflogic, torch_torchlogix, torch_binarization)
"""Importing them fills the registry."""

SAMPLE_TYPES = ("bool", "uint8", "int8", "int16", "float32", "float64")
"""Element types a sample may have; wider integers would be rounded by torch when compared with float thresholds."""

CHECK_SAMPLES = 32
"""Samples compared with the module before a file is written, and as many random ones."""

CHECK_CHUNK = 8
"""Samples compared at a time; a convolution's trees need memory for every leaf at every position."""


def export(
    module: Any,
    sample: Any,
    path: str | os.PathLike[str] | None = None,
    *,
    label: bool = False,
    check: bool = True,
    name: str | None = None,
) -> onnx.ModelProto:
    """Export a trained module of logic gates as ONNX lookup tables; return the model, and write it to ``path`` if given.

    Args:
        module: A torch module made of torchlogix or difflogic layers and plain containers, in any mode: what is exported is
            what it computes in eval mode, with hard gates.
        sample: A batch of inputs, ``(samples, ...)``, tensor or array.  It fixes the per-sample shape and the element type.
            Where the first layer takes bits, the file's input is bool, and the sample must hold only 0 and 1.
        path: File to write, whole or not at all.
        label: Add a second output ``label``, the arg-max of the scores.
        check: Run the module in eval mode on the sample and on random inputs and compare every output with a plain numpy
            reading of the exported model; a difference raises.
        name: Name of the graph; the module's class by default.

    Returns:
        The model.  Input ``input``; output ``output``: bool where the module ends in bits (torch's 0.0 and 1.0), float32
        scores where it ends in a group sum.

    Raises:
        UnsupportedError: a module that cannot be carried exactly, named by its path, with the reason.
        InputError: an unusable sample.
        MismatchError: the check found a difference.
        MissingToolError: torch is not installed.
    """
    torch = _torch()
    batch = _batch(sample)
    name = name or type(module).__name__
    try:
        model = _build(module, batch.shape[1:], batch.dtype.name, name, label)
        bits = batch.dtype == np.bool_
    except BitsNeededError as error:
        if not np.isin(batch, (0, 1)).all():
            raise UnsupportedError(f"{error}, or give a sample of only 0 and 1") from None
        model = _build(module, batch.shape[1:], "bool", name, label)
        bits = True
    if check:
        _compare(torch, module, model, batch, bits)
    if path is not None:
        LogicModelWriter.write(model, path)
    return model


def _torch() -> Any:
    try:
        import torch
    except ImportError:
        raise MissingToolError(
            "torch is not installed, and neuroloom.export reads torch modules; run: pip install torch==2.13.0"
        ) from None
    return torch


def _batch(sample: Any) -> np.ndarray:
    batch = np.asarray(sample.detach().cpu().numpy() if hasattr(sample, "detach") else sample)
    if batch.dtype.name not in SAMPLE_TYPES:
        raise InputError(
            f"the sample must be one of {', '.join(SAMPLE_TYPES)}, not {batch.dtype.name}; convert it first"
        )
    if batch.ndim < 2 or 0 in batch.shape:
        raise InputError(
            f"the sample must be a batch (samples, ...) with at least one sample, not of shape {batch.shape}"
        )
    return batch


def _build(module: Any, shape: tuple[int, ...], dtype: str, name: str, label: bool) -> onnx.ModelProto:
    writer = LogicModelWriter(name)
    source = writer.input("input", shape, dtype)
    context = Context(writer, trace)
    entry = lookup(module)
    # Layers are named by their path; a module that is itself one layer has none, and takes its class's name.
    root = "" if entry is None or entry.container else type(module).__name__
    result = context.convert(module, Tensor(source), root)
    value = context.torch_order(result, "output")
    if label:
        if value.dtype != "float32" or len(value.shape) != 1:
            raise InputError("label=True must come with a module that ends in a group sum; it ends in bits")
        writer.output(writer.argmax(value, name="argmax"), "label")
    writer.output(value, "output")
    model = writer.model()
    # Users look at the first output; keep the module's own one there.
    model.graph.output.sort(key=lambda output: output.name != "output")
    return model


def _compare(torch: Any, module: Any, model: onnx.ModelProto, batch: np.ndarray, bits: bool) -> None:
    """Raise MismatchError unless module and model agree on the sample and on random inputs, bit for bit."""
    inputs = _check_inputs(batch, bits)
    chunks = [inputs[start : start + CHECK_CHUNK] for start in range(0, len(inputs), CHECK_CHUNK)]
    states = [(inner, inner.training) for inner in module.modules()]
    module.eval()
    try:
        with torch.no_grad():
            tensors = [torch.from_numpy(chunk.astype(np.float32) if bits else chunk) for chunk in chunks]
            expected = [module(tensor.to(_device(module))).detach().cpu().numpy() for tensor in tensors]
    except Exception as error:  # whatever the user's module raises
        raise InputError(
            f"the module must run on the sample, not fail with {type(error).__name__}: {error}; "
            "correct the sample, or pass check=False to export without comparing"
        ) from error
    finally:
        for inner, training in states:
            inner.training = training
    feed = [chunk.astype(np.bool_) if bits else chunk for chunk in chunks]
    got = np.concatenate([evaluate(model, {"input": chunk})["output"] for chunk in feed])
    want = np.concatenate(expected)
    same = want.shape == got.shape and np.array_equal(want, got.astype(want.dtype))
    if not same:
        at = tuple(int(i) for i in np.argwhere(want != got)[0]) if want.shape == got.shape else None
        detail = f"output{list(at)} is {got[at]}, torch says {want[at]}" if at else f"{got.shape} is not {want.shape}"
        raise MismatchError(
            f"the exported model must compute what the module computes, but {detail}; "
            "the module's library may be of a version this reader does not know: please report it"
        )


def _check_inputs(batch: np.ndarray, bits: bool) -> np.ndarray:
    """The sample, cut short, and random inputs of the same kind."""
    head = batch[:CHECK_SAMPLES]
    shape = (CHECK_SAMPLES, *batch.shape[1:])
    rng = np.random.default_rng(0)
    extra: np.ndarray
    if bits:
        extra = rng.integers(0, 2, shape)
    elif batch.dtype.kind == "f":
        extra = rng.uniform(batch.min(), np.nextafter(batch.max(), np.inf), shape)
    else:
        extra = rng.integers(int(batch.min()), int(batch.max()) + 1, shape)
    return np.concatenate([head, extra.astype(batch.dtype)])


def _device(module: Any) -> Any:
    for tensor in [*module.parameters(), *module.buffers()]:
        return tensor.device
    return "cpu"
