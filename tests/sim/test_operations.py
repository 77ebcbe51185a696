"""Every operation, in every simulator, against vectors worked out by hand."""

from __future__ import annotations

import numpy as np
from neuroloom.compiler.errors import UnsupportedError
from neuroloom.compiler.ir import Graph
from neuroloom.compiler.ir.ops import REGISTRY
from neuroloom.sim.fast import Engine
from neuroloom.sim.fast.blast import BLASTERS
from neuroloom.sim.ops import FUNCTIONS
from neuroloom.sim.reference import run

LOOPS = ("scan", "carried", "scanned", "step")
INSIDE_INTERPRETER = {"const", "state", "update", "when", "switch", "exit_when", *LOOPS}
STEPWISE = {"state", "update", "when", "switch", "exit_when", *LOOPS}
"""Tested in test_reference.py and test_loops.py: they need more than one node."""

Case = tuple[Graph, dict[str, np.ndarray], list[np.ndarray]]


def test_reference(operation_case: Case) -> None:
    graph, inputs, expected = operation_case
    outputs = run(graph, inputs)
    for place, want in enumerate(expected):
        np.testing.assert_array_equal(outputs[f"y{place}"], want)
        assert outputs[f"y{place}"].dtype == np.int64


def test_fast_engine_has_the_same_bits_or_refuses_by_name(operation_case: Case) -> None:
    graph, inputs, expected = operation_case
    op = graph.nodes[-1].op
    try:
        outputs = Engine(graph).run(inputs)
    except UnsupportedError as e:
        assert op in str(e) and "reference engine" in str(e)
        assert op not in BLASTERS or op == "requantize"
        return
    for place, want in enumerate(expected):
        np.testing.assert_array_equal(outputs[f"y{place}"], want)


def test_every_operation_has_a_function_and_vectors() -> None:
    from_cases = {row.rpartition("-")[0] for row in _names()}
    assert set(REGISTRY) - INSIDE_INTERPRETER == set(FUNCTIONS)
    assert set(REGISTRY) - STEPWISE == from_cases
    assert set(BLASTERS) <= set(REGISTRY)


def _names() -> set[str]:
    from pathlib import Path

    import yaml

    files = (Path(__file__).parents[1] / "golden").glob("operations*.yaml")
    return {f"{op}-0" for path in files for op in yaml.safe_load(path.read_text())}
