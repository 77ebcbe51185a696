"""The onnx package's own node cases for every operator of float models.

The program in float64 must give the expected output to float32's precision (integers exactly); the fixed-point graph must stay
within the bound that :mod:`.budget` works out from its formats. ``node_cases.txt`` lists every case with its verdict. A case
runs as a single sample; where computed parameters are refused, the inputs behind the first are stored as constants.
"""

from __future__ import annotations

import importlib
import pkgutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from neuroloom.compiler.errors import InputError, NeuroloomError, UnsupportedError
from neuroloom.compiler.frontends.onnx import InputRule, load_onnx
from neuroloom.compiler.frontends.onnx.real.importer import REAL
from neuroloom.compiler.frontends.onnx.real.quantised import EXACT
from neuroloom.compiler.quantise import Config, quantise
from neuroloom.compiler.real import Program, evaluate
from neuroloom.sim.dense import Engine
from onnx import numpy_helper

from .budget import Budget
from .conftest import read_program

LIST = Path(__file__).with_name("node_cases.txt")
CONFIG = {"bits": 18, "weight_bits": 16, "table_bits": 12}
Arrays = list[np.ndarray]


IMAGES = frozenset(
    "Conv MaxPool AveragePool GlobalMaxPool GlobalAveragePool BatchNormalization QLinearConv ConvInteger".split()
)
"""Operators whose first axis is the samples'."""


def _program(model: onnx.ModelProto, inputs: Arrays, fixed: bool) -> tuple[Program, dict[str, np.ndarray], bool]:
    """The program, its feeds with samples first, and whether the case is one sample."""
    model = onnx.ModelProto.FromString(model.SerializeToString())
    feeds = dict(zip([i.name for i in model.graph.input], inputs, strict=False))
    images = {n.op_type for n in model.graph.node} <= IMAGES
    if fixed or images:
        for info in list(model.graph.input)[1:]:
            if info.name in feeds:
                model.graph.initializer.append(
                    numpy_helper.from_array(np.ascontiguousarray(feeds.pop(info.name)), info.name)
                )
    rules = {
        n: InputRule(bounds=(int(a.min()), int(a.max()))) for n, a in feeds.items() if a.dtype.kind in "iu" and a.size
    }
    program = read_program(model, 0 if images else "none", rules)
    lead = {v.name: feeds[s] if images else feeds[s][None] for v, s in zip(program.inputs, feeds, strict=True)}
    return program, lead, not images


def _attempt(model: onnx.ModelProto, inputs: Arrays, expected: Arrays, fixed: bool) -> str:
    program, feeds, single = _program(model, inputs, fixed)
    got = evaluate(program, feeds)
    coarse = any(a.dtype == np.float16 for a in [*inputs, *expected])
    tolerance = 2e-3 if coarse else 2e-5
    for output, want in zip(program.outputs, expected, strict=True):
        mine = got[output.name][0] if single else got[output.name]
        assert mine.shape == want.shape, output.name
        if want.dtype.kind == "f":
            np.testing.assert_allclose(mine, want.astype(np.float64), rtol=tolerance, atol=tolerance)
        else:
            np.testing.assert_array_equal(mine, want)
    if not any(v.kind == "real" for v in program.values().values()):
        return "exact"
    if {n.op_type for n in model.graph.node} <= EXACT:
        return _exact(program, feeds, expected, single)
    graph = quantise(program, feeds, Config.read(CONFIG))
    integers = Engine(graph).run({k: v if v.dtype.kind != "f" else v.astype(np.float64) for k, v in feeds.items()})
    for output, (real, bound) in zip(graph.outputs, Budget(program, graph).run(feeds).values(), strict=True):
        mine = output.affine.dequantize(integers[output.name])
        bound = np.broadcast_to(bound, real.shape)
        sure = np.isfinite(bound)
        assert (np.abs(mine - real)[sure] <= bound[sure] + 1e-9).all(), f"{output.name}: {mine} {real} {bound}"
        if sure.any() and real.dtype.kind == "f":  # a bound as large as the values would say nothing
            assert np.median(bound[sure]) <= 0.15 * (1 + np.abs(real).max()), output.name
    return "within its bound"


def _exact(program: Program, feeds: dict[str, np.ndarray], expected: Arrays, single: bool) -> str:
    """A model that is quantised already needs no calibration and gives the expected integers."""
    graph = quantise(program, None)
    got = Engine(graph).run(feeds)
    for output, want in zip(graph.outputs, expected, strict=True):
        mine = output.affine.dequantize(got[output.name]) if want.dtype.kind == "f" else got[output.name]
        mine = mine[0] if single else mine
        assert mine.shape == want.shape and (mine.astype(want.dtype) == want).all(), output.name
    return "exact"


def _verdict(case: Any) -> str:
    inputs, expected = case.data_sets[0]
    if not all(isinstance(a, (np.ndarray, np.generic, onnx.TensorProto)) for a in [*inputs, *expected]):
        return "refused: input or output is not a dense tensor"
    inputs, expected = (
        [numpy_helper.to_array(a) if isinstance(a, onnx.TensorProto) else np.asarray(a) for a in group]
        for group in (inputs, expected)
    )
    if any(a.dtype.kind not in "buif" or a.dtype.kind == "f" and a.dtype.itemsize < 2 for a in [*inputs, *expected]):
        return "refused: element type"
    if any(a.dtype.kind == "f" and not np.isfinite(a).all() for a in inputs):
        return "refused: inputs that are not finite"
    reason = ""
    for suffix, fixed in (("", False), (", parameters constant", True)):
        try:
            return _attempt(case.model, inputs, expected, fixed) + suffix
        except (InputError, UnsupportedError) as e:
            reason = f"refused: {e}"
    return reason


DEFINED = frozenset(
    (
        "LinearAttention SwiGLU GroupNormalization RMSNormalization MeanVarianceNormalization Shrink ReduceLogSum "
        "ReduceLogSumExp"
    ).split()
)
"""Operators that are read by the function bodies with which ONNX defines them (others are, too; these are the ones tested)."""


def cases() -> Iterator[Any]:
    """Every case all of whose operators a float model may have."""
    import onnx.backend.test.case.node as package

    known = {name for domain, name in REAL if not domain} | {"Constant", "ConstantOfShape"} | DEFINED
    files = {name.lower() for name in known}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for module in pkgutil.iter_modules(package.__path__):
            if module.name.replace("_", "") in files:
                importlib.import_module(f"{package.__name__}.{module.name}")
    for case in package._NodeTestCases:
        ops = {n.op_type for n in case.model.graph.node}
        if len(case.model.graph.node) == 1 and ops <= known:
            yield case


@pytest.fixture(scope="module")
def verdicts() -> dict[str, str]:
    """Every case with its verdict; a wrong result raises."""
    out = {}
    for case in cases():
        try:
            out[case.name] = _verdict(case)
        except AssertionError as e:
            raise AssertionError(f"{case.name}: {e}") from e
    return out


def test_every_case_gives_its_recorded_verdict(
    verdicts: dict[str, str], update_golden: Callable[[Path, str], None]
) -> None:
    lines = [f"onnx {onnx.__version__}", *(f"{name}: {verdict}" for name, verdict in sorted(verdicts.items()))]
    update_golden(LIST, "\n".join(lines) + "\n")
    recorded = LIST.read_text().splitlines()
    if recorded[0] == lines[0]:
        assert lines == recorded
    else:  # another onnx package has other cases; none may give a wrong result (that raises), and most must still run
        assert sum(not v.startswith("refused") for v in verdicts.values()) > 300


def _damaged(case: Any, rng: np.random.Generator) -> tuple[onnx.ModelProto, dict[str, np.ndarray]] | None:
    """A case with some attributes, constants or inputs made wrong, and feeds for what is left of its inputs."""
    arrays = case.data_sets[0][0]
    if not all(isinstance(a, (np.ndarray, np.generic)) and np.asarray(a).dtype.kind in "buif" for a in arrays):
        return None
    model = onnx.ModelProto.FromString(case.model.SerializeToString())
    feeds = dict(zip([i.name for i in model.graph.input], map(np.asarray, arrays), strict=False))
    for info in list(model.graph.input)[1:]:
        if info.name not in feeds or rng.random() > 0.7:
            continue
        a, what = feeds.pop(info.name), rng.random()
        if what < 0.15 and a.size:
            a = a.reshape(-1)[: max(1, a.size // 2)]
        elif what < 0.25:
            a = a[..., None]
        elif what < 0.35 and a.dtype.kind == "i":
            a = a * 0 - int(rng.integers(9))
        elif what < 0.4 and a.dtype.kind == "f":
            a = a * np.nan
        model.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(a), info.name))
    node = model.graph.node[0]
    for a in node.attribute:
        if rng.random() < 0.3:
            a.i = int(rng.choice([-9, -1, 0, 1, 2, 7, 1 << 40]))
            a.f = float(rng.choice([0, -1, 1e30, np.nan]))
            a.s = b"what"
            if len(a.ints):
                a.ints[int(rng.integers(len(a.ints)))] = int(rng.choice([-3, -1, 0, 1, 2, 99]))
    if rng.random() < 0.2 and len(node.input) > 1:
        del node.input[int(rng.integers(len(node.input))) :]
    return model, {i.name: feeds[i.name] for i in model.graph.input if i.name in feeds}


@pytest.mark.campaign
def test_damaged_models_give_typed_errors_or_graphs() -> None:
    rng, known = np.random.default_rng(0), list(cases())
    for _ in range(20000):
        case = known[int(rng.integers(len(known)))]
        damaged = _damaged(case, rng)
        if damaged is None:
            continue
        try:
            load_onnx(damaged[0], batch_axis="none", calibrate=damaged[1], quantise=True)
        except NeuroloomError as e:
            assert "\n" not in str(e), case.name
