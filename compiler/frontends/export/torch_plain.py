"""``export`` of torch modules without logic gates or spikes: by torch's own exporter, which traces the module with its sample."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
import os
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
from neuroloom.compiler.errors import InputError, MissingToolError, UnsupportedError

from .files import write_atomically
from .torch_modules import CONVERTERS
from .torch_registry import LEAF_PACKAGES

OPSET = 20
"""What torch 2.13 translates to without a version conversion."""


def is_plain(module: Any) -> bool:
    """Whether a module holds no layer of logic gates: those are read from their tensors instead."""
    classes = {c for m in module.modules() for c in type(m).__mro__ if c.__module__.split(".")[0] != "torch"}
    return not any(c.__name__ in CONVERTERS or c.__module__.startswith(LEAF_PACKAGES) for c in classes)


def export(
    module: Any,
    sample: Any,
    path: str | os.PathLike[str] | None = None,
    *,
    name: str | None = None,
    dynamic_batch: bool = True,
    input_names: tuple[str, ...] | None = None,
    output_names: tuple[str, ...] | None = None,
) -> onnx.ModelProto:
    """Export a torch module as float ONNX through ``torch.onnx.export``; return the model, and write it where a path is given.

    Args:
        module: Any module that torch can trace; it is put into eval mode and back.
        sample: A batch of inputs ``(samples, ...)``, tensor or array, or a tuple of them for several inputs.
        path: File to write, whole or not at all, weights inside.
        name: Name of the graph; the module's class by default.
        dynamic_batch: Leave axis 0 of every input open.
        input_names, output_names: Names in the file; torch's own by default.

    Raises:
        InputError: a sample that the module does not take.
        UnsupportedError: something that torch cannot translate; the sentence is torch's.
        MissingToolError: torch or onnxscript is not installed.
    """
    torch = _torch()
    given = sample if isinstance(sample, tuple) else (sample,)
    if not given or any(item is None for item in given):
        raise InputError("sample must be a batch of inputs (samples, ...), which the module is traced with; give one")
    inputs = tuple(torch.as_tensor(np.asarray(item)) if not torch.is_tensor(item) else item for item in given)
    if any(item.ndim == 0 or item.shape[0] == 0 for item in inputs):
        raise InputError("sample must hold at least one sample along axis 0; give a batch")
    # A batch of one is taken for a fixed size by torch's tracer.
    traced = tuple(torch.cat([item, item]) if dynamic_batch and item.shape[0] == 1 else item for item in inputs)
    was_training = module.training
    module.eval()
    try:
        with torch.no_grad():
            module(*inputs)
    except Exception as error:  # whatever the user's module raises
        # A torch.cond may be too much for torch outside of tracing; then the exporter says what it cannot take.
        if not type(error).__module__.startswith("torch._dynamo"):
            module.train(was_training)
            raise InputError(
                f"sample must be what {type(module).__name__} takes, but it raised {_first(error)}"
            ) from None
    batch = torch.export.Dim("batch", min=1)
    options: dict[str, Any] = {"dynamic_shapes": tuple({0: batch} for _ in traced)} if dynamic_batch else {}
    try:
        with _quietly():
            program = torch.onnx.export(
                *(module, traced),
                opset_version=OPSET,
                dynamo=True,
                external_data=False,
                input_names=list(input_names) if input_names else None,
                output_names=list(output_names) if output_names else None,
                verbose=False,
                **options,
            )
    except Exception as error:
        raise UnsupportedError(
            f"module {type(module).__name__} cannot be translated by torch.onnx.export: {_first(error)}; write the part it names in"
            " operators that torch exports"
        ) from error
    finally:
        module.train(was_training)
    model: onnx.ModelProto = program.model_proto
    model.graph.name = name or type(module).__name__
    _forget_origins(model)
    if path is not None:
        write_atomically(model.SerializeToString(deterministic=True), path)
    return model


def _torch() -> Any:
    for package, how in (
        ("torch", "`pip install torch==2.13.0` (CPU)"),
        ("onnxscript", "`pip install 'neuroloom[torch]'`"),
    ):
        if importlib.util.find_spec(package) is None:
            raise MissingToolError(f"export of torch modules needs {package}; install it with {how}")
    import torch

    return torch


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Without the progress that torch's exporter prints."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


def _first(error: BaseException) -> str:
    """The sentence at the root of an exception."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _forget_origins(model: onnx.ModelProto) -> None:
    """Drop traces of the source (stack traces with paths of this machine), so that equal modules give equal files anywhere."""

    def clean(graph: onnx.GraphProto) -> None:
        for node in graph.node:
            del node.metadata_props[:]
            for attribute in node.attribute:
                if attribute.HasField("g"):
                    clean(attribute.g)
        for item in (*graph.value_info, *graph.input, *graph.output, *graph.initializer):
            del item.metadata_props[:]
        del graph.metadata_props[:]

    clean(model.graph)
    for function in model.functions:
        for node in function.node:
            del node.metadata_props[:]
        del function.metadata_props[:]
    del model.metadata_props[:]
