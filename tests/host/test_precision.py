"""Widths for a budget: the least memory that keeps it, measured as a whole, and which width loses the accuracy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from neuroloom.boards.registry import load_board
from neuroloom.compiler.errors import DoesNotFitError, InputError, UnsupportedError
from neuroloom.compiler.frontends.onnx import Prepared
from neuroloom.compiler.gated.program import compile_program
from neuroloom.compiler.passes.manager import Options
from neuroloom.compiler.pipeline import compile_graph
from neuroloom.compiler.real import ProgramBuilder
from neuroloom.host.fastest import FastSearch
from neuroloom.host.gated.choose import choose_config
from neuroloom.host.precision import Search, share_of

RNG = np.random.default_rng(0)
X = RNG.normal(size=(200, 6))


def ready() -> Prepared:
    """A layer whose result hardly matters and one that does, then scores."""
    rng = np.random.default_rng(1)
    b = ProgramBuilder("net")
    x = b.input("x", (6,))
    loud = b.node("linear", [x], name="loud", source="loud", weights=rng.normal(size=(4, 6)))
    quiet = b.node("linear", [x], name="quiet", source="quiet", weights=rng.normal(size=(4, 6)) * 0.01)
    total = b.node("add", [loud, quiet], name="total", source="total")
    h = b.node("function", [total], name="gate", source="gate", function="sigmoid")
    b.output("scores", b.node("linear", [h], name="scores", source="scores", weights=rng.normal(size=(3, 4))))
    return Prepared(b.program, {"x": X}, {})


def quietly(_: str) -> None:
    """No progress."""


def test_an_error_budget_is_met_with_less_memory_than_the_widest() -> None:
    search = Search(ready(), {})
    assert {(k.rule, k.node) for k in search.knobs} == {
        ("weight_bits", "loud"), ("weight_bits", "quiet"), ("weight_bits", "scores"), ("table_bits", "gate"),
    }  # fmt: skip
    loose, tight = search.within_error(0.05, quietly), search.within_error(0.005, quietly)
    assert loose.error <= 0.05 and tight.error <= 0.005
    assert loose.memory < tight.memory < tight.memory_widest
    nodes = loose.config["nodes"]
    assert nodes["quiet"]["weight_bits"] < nodes["loud"]["weight_bits"]
    mine = search.ready.graph(loose.config)
    assert mine.records["fixed_point"]["rules"]["nodes"]["gate"]["table_bits"] == nodes["gate"]["table_bits"]


def test_an_accuracy_budget_is_met() -> None:
    net = ready()
    labels = Search(net, {}).real["scores"].argmax(axis=1)
    search = Search(net, {}, labels)
    found = search.within_drop(0.02, quietly)
    assert found.accuracy_float == 1.0 and found.accuracy is not None and found.accuracy >= 0.98
    assert found.memory < found.memory_widest / 4


def test_the_fewest_cycles_within_a_budget() -> None:
    """Cycles are those of the program that comes of it; a wider budget never costs cycles."""
    board = load_board("icebreaker")
    found = {}
    for most in (1e-3, 0.05):
        search = FastSearch(ready(), {}, board=board)
        found[most] = out = search.within_error(most, quietly)
        graph = search.ready.graph(out.config)
        graph.records["gated"] = {}
        graph = compile_graph(graph, Options())
        assert out.cycles == compile_program(graph, choose_config(graph, board)).cycles[1]
        assert out.error <= most and out.cycles_widest is None, "tables of 13 bits are more than the iCEBreaker has"
    cycles = [f.cycles for f in found.values()]
    assert cycles == sorted(cycles, reverse=True) and cycles[0] > cycles[-1]
    light = Search(ready(), {}).within_error(0.05, quietly)
    assert light.memory <= found[0.05].memory and "cycles" not in light.to_json()


def test_an_accuracy_budget_with_the_fewest_cycles() -> None:
    net, board = ready(), load_board("icebreaker")
    labels = Search(net, {}).real["scores"].argmax(axis=1)
    found = FastSearch(net, {}, labels, board=board).within_drop(0.02, quietly)
    assert found.accuracy is not None and found.accuracy >= 0.98
    assert found.cycles is not None and found.cycles < 100


def test_a_budget_that_no_engine_holds() -> None:
    with pytest.raises(
        DoesNotFitError, match="no widths within the budget fit: tables of profile .* allow a larger error, or"
    ):
        FastSearch(ready(), {"nodes": {"gate": {"table_bits": 13}}}, board=load_board("icebreaker")).within_error(
            0.05, quietly
        )


def test_rules_that_are_given_stay() -> None:
    search = Search(ready(), {"bits": 12, "nodes": {"loud": {"weight_bits": 11}}})
    assert ("weight_bits", "loud") not in {(k.rule, k.node) for k in search.knobs}
    assert search.within_error(0.05, quietly).config["nodes"]["loud"]["weight_bits"] == 11


def test_blame_names_the_narrowest() -> None:
    search = Search(ready(), {"nodes": {}, "weight_bits": 12, "table_bits": 5})
    (knob, width, now, wide), *_ = search.blame()
    assert (knob.node, knob.rule, width) == ("gate", "table_bits", 5) and wide < now / 4


def test_budgets_that_cannot_be_met() -> None:
    search = Search(ready(), {"bits": 4})
    with pytest.raises(UnsupportedError, match="the error budget must be at least .* raise bits"):
        search.within_error(1e-6, quietly)
    with pytest.raises(InputError, match="one class number per calibration sample"):
        search.within_drop(0.1, quietly)


@pytest.mark.parametrize(("text", "value"), [("0.5%", 0.005), ("0.02", 0.02), ("0", 0.0)])
def test_shares(text: str, value: Any) -> None:
    assert share_of(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["half", "100%", "-1%"])
def test_shares_refused(text: str) -> None:
    with pytest.raises(InputError, match="--max-accuracy-drop must be a share"):
        share_of(text)
