"""What every builder of a node list shares: unique names, regions, and the loop; for integer graphs and real programs alike."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

V = TypeVar("V")
N = TypeVar("N")
R = TypeVar("R")


def clean_name(name: str) -> str:
    """A legal value name: letters, digits, and ``_ . / -``; never empty."""
    return re.sub(r"[^A-Za-z0-9_./-]+", "_", name) or "v"


class StructuredBuilder(ABC, Generic[V, N, R]):
    """Appends nodes ``N`` to a list and keeps their values ``V`` by name; regions ``R`` collect what a function appends.

    ``self[name]`` gives the value. Names are made legal and unique.
    """

    def __init__(self, nodes: list[N]) -> None:
        self.values: dict[str, V] = {}
        self._nodes = nodes
        self._taken: dict[str, int] = {}

    def __getitem__(self, name: str) -> V:
        return self.values[name]

    def unique(self, hint: str) -> str:
        """A legal name not used so far, close to ``hint``."""
        base = clean_name(hint)
        name, count = base, self._taken.get(base, 0)
        while name in self._taken:
            count += 1
            name = f"{base}.{count}"
        self._taken[base] = count
        self._taken.setdefault(name, 0)
        return name

    @abstractmethod
    def nodes(self, op: str, inputs: Sequence[str] = (), **kwargs: Any) -> list[str]:
        """Append a node with any number of outputs; returns their value names."""

    @abstractmethod
    def _region(self, nodes: list[N], results: tuple[str, ...]) -> R:
        """The region of these nodes, which shows these values."""

    @abstractmethod
    def _carried(self, value: V, loop: str, source: str) -> dict[str, Any]:
        """Name and attributes, besides its index, of the node that stands for the carried ``value`` of a loop."""

    @abstractmethod
    def _scanned(self, value: V, source: str) -> dict[str, Any]:
        """Name and attributes, besides its index, of the node that stands for one step's element of a sequence."""

    def node(self, op: str, inputs: Sequence[str] = (), **kwargs: Any) -> str:
        """Append a node with one output; returns its value name."""
        (out,) = self.nodes(op, inputs, **kwargs)
        return out

    def region(self, body: Callable[[], Sequence[str]]) -> R:
        """Run ``body``, which appends nodes and returns result names, and collect them as a control region."""
        outer = self._nodes
        self._nodes = []
        try:
            results = tuple(body())
            return self._region(self._nodes, results)
        finally:
            self._nodes = outer

    def scan(
        self,
        count: int,
        initial: Sequence[str],
        sequences: Sequence[str],
        body: Callable[[list[str], list[str]], tuple[Sequence[str], Sequence[str]]],
        *,
        reverse: Sequence[int] = (),
        name: str = "",
        source: str = "",
        names: Sequence[str] = (),
    ) -> list[str]:
        """Append a loop of ``count`` steps; returns the final carried values, then the stacked outputs.

        ``body(carried, elements)`` appends the step's nodes and returns the new carried values and the values to stack.
        ``reverse`` as in the operation; empty: all steps forward. ``names`` are hints for the first of the carried values.
        """
        stacked = 0

        def steps() -> Sequence[str]:
            nonlocal stacked
            carried, elements = [], []
            for number, key in enumerate(initial):
                attrs = self._carried(self[key], name, source)
                if number < len(names):
                    attrs["name"] = names[number]
                carried.append(self.node("carried", index=number, **attrs))
            for number, key in enumerate(sequences):
                elements.append(self.node("scanned", index=number, **self._scanned(self[key], source)))
            new, stack = body(carried, elements)
            stacked = len(stack)
            return [*new, *stack]

        region = self.region(steps)
        return self.nodes(
            "scan",
            [*initial, *sequences],
            name=name,
            source=source,
            regions=[region],
            count=count,
            carried=len(initial),
            reverse=tuple(reverse) or (0,) * (len(sequences) + stacked),
        )
