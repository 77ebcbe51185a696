"""The onnx package's own node cases for every operator that the importer knows, compared exactly.

A case runs as a single sample (``batch_axis="none"``). It is tried first with every input free; where the importer refuses
computed shapes, indices or shift amounts, the inputs behind the first are stored as constants, as real models have them. Float
data lie on no integer grid; for operators that only move or compare, every float of a case is replaced by its signed rank (an
order isomorphism that keeps 0), inputs and expected outputs alike. What then remains is refused, and
``conformance.txt`` beside this file lists every case with its verdict.
"""

from __future__ import annotations

import importlib
import pkgutil
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from neuroloom.compiler.errors import InputError, UnsupportedError
from neuroloom.compiler.frontends.onnx import InputRule, load_onnx
from neuroloom.compiler.frontends.onnx.registry import HANDLERS
from neuroloom.sim.reference import run
from onnx import numpy_helper

LIST = Path(__file__).with_name("conformance.txt")

ORDER_ONLY = frozenset(
    """ArgMax ArgMin CastLike Clip Compress Concat DepthToSpace Dropout Equal Expand Flatten Gather GatherElements
    GatherND Greater GreaterOrEqual Identity Less LessOrEqual Max MaxPool Min Pad ReduceMax ReduceMin Relu Reshape
    Shape Sign Size Slice SpaceToDepth Split Squeeze Tile TopK Transpose Trilu Unsqueeze Where""".split()
)
"""Operators that commute with any order-preserving map that keeps 0."""

Arrays = list[np.ndarray]


def _signed_ranks(arrays: list[Arrays]) -> list[Arrays]:
    """Replace every finite float by its signed rank among all floats of the case."""
    floats = [a for group in arrays for a in group if isinstance(a, np.ndarray) and a.dtype.kind == "f"]
    values = np.unique(np.concatenate([a.ravel().astype(np.float64) for a in floats]) + 0.0)
    below = int((values < 0).sum())
    codes = np.arange(len(values)) - below + (0 if 0.0 in values else (values > 0))

    def code(a: np.ndarray) -> np.ndarray:
        if a.dtype.kind != "f":
            return a
        return codes[np.searchsorted(values, a.astype(np.float64))].astype(a.dtype)

    return [[code(a) for a in group] for group in arrays]


def _attempt(model: onnx.ModelProto, inputs: Arrays, expected: Arrays, fixed: bool) -> None:
    """Import, run and compare; raises the importer's error when it refuses."""
    model = onnx.ModelProto.FromString(model.SerializeToString())
    feeds = dict(zip([i.name for i in model.graph.input], inputs, strict=False))
    if fixed:
        for info in list(model.graph.input)[1:]:
            if info.name in feeds:
                model.graph.initializer.append(
                    numpy_helper.from_array(np.ascontiguousarray(feeds.pop(info.name)), info.name)
                )
    rules, samples = {}, {}
    for name, array in feeds.items():
        if array.dtype.name in ("int64", "uint64") and array.size:
            rules[name] = InputRule(bounds=(int(array.min()), int(array.max())))
        elif array.dtype.kind == "f":
            samples[name] = array
    graph = load_onnx(model, batch_axis="none", input_rules=rules, calibrate=samples, quantise=False)
    for name, record in graph.records.get("calibration", {}).items():
        if record["largest_error"] != "0.0":
            raise UnsupportedError(f"input {name!r} holds {feeds[name].dtype} values that lie on no integer grid")
    given = {}
    for item in graph.inputs:
        array = feeds[item.source]
        given[item.name] = (array.astype(np.float64) if array.dtype.kind == "f" else array)[None]
    result = run(graph, given)
    for output, want in zip(graph.outputs, expected, strict=True):
        got = result[output.name][0]
        if want.dtype.kind == "f":
            got = output.affine.dequantize(got[None])[0].astype(want.dtype)
        assert got.shape == want.shape, output.name
        assert (got == want).all(), output.name


def _array(data: np.ndarray | np.generic | onnx.TensorProto) -> np.ndarray:
    return numpy_helper.to_array(data) if isinstance(data, onnx.TensorProto) else np.asarray(data)


def _verdict(case: onnx.backend.test.case.test_case.TestCase) -> str:
    """ "exact", how the case had to be put, or the reason of the refusal; raises AssertionError on a wrong result."""
    inputs, expected = case.data_sets[0]
    if not all(isinstance(a, (np.ndarray, np.generic, onnx.TensorProto)) for a in [*inputs, *expected]):
        return "refused: input or output is not a dense tensor"
    inputs, expected = [_array(a) for a in inputs], [_array(a) for a in expected]
    if any(a.dtype.kind not in "buif" or a.dtype.kind == "f" and a.dtype.itemsize < 2 for a in [*inputs, *expected]):
        return "refused: element type"
    reason = ""
    ops = {n.op_type for n in case.model.graph.node}
    ways: list[tuple[str, Arrays, Arrays, bool]] = [
        ("exact", inputs, expected, False),
        ("exact, parameters constant", inputs, expected, True),
    ]
    finite = all(np.isfinite(a).all() for a in [*inputs, *expected] if a.dtype.kind == "f")
    if ops <= ORDER_ONLY and finite and any(a.dtype.kind == "f" for a in inputs):
        ranked_inputs, ranked_expected = _signed_ranks([inputs, expected])
        ways.append(("exact on ranks", ranked_inputs, ranked_expected, False))
        ways.append(("exact on ranks, parameters constant", ranked_inputs, ranked_expected, True))
    for text, given, wanted, fixed in ways:
        try:
            _attempt(case.model, given, wanted, fixed)
            return text
        except (InputError, UnsupportedError) as e:
            reason = f"refused: {e}"
    return reason


@pytest.fixture(scope="module")
def verdicts() -> dict[str, str]:
    """Every case of a known operator with its verdict."""
    import onnx.backend.test.case.node as package

    known = {name for domain, name in HANDLERS if not domain}
    files = {name.lower() for name in known}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # importing a file registers its cases; collect_testcases would import all, which takes twice as long
        for module in pkgutil.iter_modules(package.__path__):
            if module.name.replace("_", "") in files:
                importlib.import_module(f"{package.__name__}.{module.name}")
        cases = package._NodeTestCases
    chosen = [c for c in cases if len(c.model.graph.node) == 1 and c.model.graph.node[0].op_type in known]
    return {c.name: _verdict(c) for c in chosen}


def test_every_case_gives_its_recorded_verdict(
    verdicts: dict[str, str], update_golden: Callable[[Path, str], None]
) -> None:
    lines = [f"onnx {onnx.__version__}", *(f"{name}: {verdict}" for name, verdict in sorted(verdicts.items()))]
    update_golden(LIST, "\n".join(lines) + "\n")
    recorded = LIST.read_text().splitlines()
    if recorded[0] == lines[0]:
        assert lines == recorded
    else:  # another onnx package has other cases; none may give a wrong result (that raises), and most must still run
        assert sum(v.startswith("exact") for v in verdicts.values()) > 250


def test_counts() -> None:
    recorded = LIST.read_text().splitlines()[1:]
    exact = sum(": exact" in line for line in recorded)
    refused = sum(": refused: " in line for line in recorded)
    assert (exact, refused, len(recorded)) == (410, 303, 713)
