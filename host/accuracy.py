"""Accuracy of classifiers: which output is the class, how many are right, where two rungs part."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from neuroloom.compiler.errors import InputError, MissingToolError
from neuroloom.compiler.ir import Graph


@dataclass(frozen=True)
class Score:
    """Answers of one rung on labelled samples: the classes int64[N] and how many equal the labels."""

    classes: np.ndarray
    correct: int

    @property
    def count(self) -> int:
        """Samples."""
        return len(self.classes)

    @property
    def accuracy(self) -> float:
        """Share of right answers, 0 to 1."""
        return self.correct / self.count

    def to_json(self) -> dict[str, Any]:
        """Plain form."""
        return {"accuracy": self.accuracy, "correct": self.correct, "samples": self.count}


def class_output(graph: Graph, name: str | None = None) -> str:
    """The output that says the class: ``name``, else the one scalar output, else the only vector of scores."""
    values = graph.values()
    names = [o.name for o in graph.outputs]
    if name is not None:
        if name not in names:
            raise InputError(f"--output-name must be one of {', '.join(names)}, not {name!r}")
        return name
    for size_test in (lambda s: s == 1, lambda s: s > 1):
        found = [o.name for o in graph.outputs if size_test(values[o.value].size)]
        if len(found) == 1:
            return found[0]
    raise InputError(f"the class output must be named with --output-name: one of {', '.join(names)}")


def classes_of(array: np.ndarray) -> np.ndarray:
    """Class numbers from an output: scores [N, C] by the first largest, or the numbers themselves."""
    flat = array.reshape(len(array), -1)
    return flat[:, 0].astype(np.int64) if flat.shape[1] == 1 else flat.argmax(axis=1)


def score(array: np.ndarray, labels: np.ndarray) -> Score:
    """Score of an output's integers against labels."""
    classes = classes_of(array)
    return Score(classes, int((classes == labels).sum()))


def confusion(classes: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """matrix[true, answered], int64[C, C]."""
    size = int(max(classes.max(), labels.max())) + 1
    matrix = np.zeros((size, size), np.int64)
    np.add.at(matrix, (labels.astype(np.int64), classes), 1)
    return matrix


_INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")


def run_source(path: str | os.PathLike[str], inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The ONNX source's outputs from onnxruntime, in parts of 256 samples (its table operators need much memory)."""
    try:
        import onnxruntime as ort
    except ImportError:
        raise MissingToolError(
            "comparing with the source needs onnxruntime; run: pip install 'neuroloom[oracle]'"
        ) from None
    options = ort.SessionOptions()
    options.log_severity_level = 3
    try:
        session = ort.InferenceSession(os.fspath(path), options, providers=["CPUExecutionProvider"])
    except Exception as e:
        raise InputError(f"onnxruntime cannot run {path}: {str(e).splitlines()[0]}") from e
    names = [o.name for o in session.get_outputs()]
    kinds = {f"tensor({t})": np.dtype(t) for t in _INTEGERS}
    kinds |= {
        "tensor(bool)": np.dtype(bool),
        "tensor(float)": np.dtype("float32"),
        "tensor(double)": np.dtype("float64"),
    }
    feeds, chunk, fixed = {}, 256, False
    for item in session.get_inputs():
        if item.name not in inputs:
            raise InputError(f"{path} needs an input {item.name!r}, given are {', '.join(inputs)}")
        array: np.ndarray = np.asarray(inputs[item.name]).astype(kinds[item.type])
        tail = item.shape[1:]
        if array.ndim != len(item.shape) and all(isinstance(s, int) for s in tail):
            array = array.reshape(len(array), *tail)
        feeds[item.name] = array
        if item.shape and isinstance(item.shape[0], int):
            chunk, fixed = item.shape[0], True
    count = len(next(iter(feeds.values())))
    parts = []
    for start in range(0, count, chunk):
        part = {k: v[start : start + chunk] for k, v in feeds.items()}
        missing = max(start + chunk - count, 0)
        if fixed and missing:  # a model for so many samples gets so many
            part = {k: np.concatenate([v, np.repeat(v[-1:], missing, axis=0)]) for k, v in part.items()}
        try:
            parts.append(session.run(names, part))
        except Exception as e:
            raise InputError(f"onnxruntime cannot run {path}: {str(e).splitlines()[0]}") from e
    return {name: np.concatenate([p[i] for p in parts])[:count] for i, name in enumerate(names)}


def source_classes(path: str | os.PathLike[str], graph: Graph, inputs: Any, labels: np.ndarray, name: str) -> Score:
    """Score of the ONNX source on the same samples."""
    first = graph.inputs[0]
    named = dict(inputs) if isinstance(inputs, Mapping) else {first.source or first.name: inputs}
    named = {k: v[: len(labels)] for k, v in named.items()}
    outputs = run_source(path, named)
    return score(outputs.get(name, next(iter(outputs.values()))), labels)
