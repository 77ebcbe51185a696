"""The pass contract, the registry and the manager that runs passes and verifies after each."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from neuroloom.compiler.errors import GraphError, InputError
from neuroloom.compiler.ir import Graph, verify

PHASES = ("canonicalise", "fold", "quantise", "optimise", "schedule")
"""Order of the phases; frontends hand their graph to the first."""


@dataclass(frozen=True, slots=True)
class Options:
    """What passes may depend on: all of it is recorded in the file.

    ``lut_size``: inputs of the target's lookup tables, 4 or 6 (3..6). ``keep``: values that must survive under their name.
    ``level``: 0 leaves the graph as imported (every source node can be probed), 1 optimises.
    """

    lut_size: int = 4
    keep: tuple[str, ...] = ()
    level: int = 1

    def __post_init__(self) -> None:
        if not 3 <= self.lut_size <= 6:
            raise InputError(f"lut size must be 3 to 6, not {self.lut_size}")


@dataclass(slots=True)
class PassResult:
    """What a pass returns: the graph (a new one when ``changed``) and ``gains``, JSON-able: layer name → [before, after]."""

    graph: Graph
    changed: bool
    gains: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pass:
    """A registered pass. ``requires`` says in words what must hold before; ``order`` places it inside its phase."""

    name: str
    phase: str
    summary: str
    run: Callable[[Graph, Options], PassResult]
    requires: str
    order: int


PASSES: dict[str, Pass] = {}


def register(name: str, phase: str, *, requires: str = "a verified graph", order: int = 0) -> Callable[..., Any]:
    """Register the decorated function ``(graph, options) -> PassResult``; its docstring's first line is the summary.

    The function must not change the graph it is given (copy first) and must compute the same outputs, bit for bit.
    """

    def wrap(run: Callable[[Graph, Options], PassResult]) -> Callable[[Graph, Options], PassResult]:
        if phase not in PHASES:
            raise GraphError(f"phase must be one of {', '.join(PHASES)}, not {phase!r}")
        PASSES[name] = Pass(name, phase, (run.__doc__ or "").strip().splitlines()[0], run, requires, order)
        return run

    return wrap


def all_passes() -> list[Pass]:
    """Every pass of this package in the order in which they run."""
    import neuroloom.compiler.passes as package

    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")
    return sorted(PASSES.values(), key=lambda p: (PHASES.index(p.phase), p.order, p.name))


def run_passes(
    graph: Graph,
    options: Options,
    *,
    passes: Sequence[Pass] | None = None,
    after: Callable[[Pass, Graph, bool], None] | None = None,
) -> Graph:
    """Run passes in order, verifying the graph after each; failures name the pass.

    ``after(pass, graph, changed)`` is called behind every pass (``--dump-after``, progress). The gains of each pass are kept in
    ``graph.records["passes"]``.
    """
    history = []
    for item in all_passes() if passes is None else passes:
        try:
            result = item.run(graph, options)
        except GraphError as e:
            raise GraphError(f"pass {item.name}: {e}") from e
        if result.changed:
            verify(result.graph, f"pass {item.name}")
            missing = [name for name in options.keep if name not in result.graph.values()]
            if missing:
                raise GraphError(f"pass {item.name} must keep %{missing[0]}")
        graph = result.graph
        history.append({"pass": item.name, "changed": result.changed, "gains": result.gains})
        if after:
            after(item, graph, result.changed)
    graph = graph.copy()
    graph.records["passes"] = history
    return graph
