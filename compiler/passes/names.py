"""New values for passes that add nodes."""

from __future__ import annotations

from neuroloom.compiler.ir import Graph, Value


class Names:
    """The values of a graph by name, and new ones with names that none of them has."""

    def __init__(self, graph: Graph) -> None:
        self.values = graph.values()

    def new(self, hint: str, like: Value) -> Value:
        """A value of the type and shape of ``like``, called ``hint`` or nearly so."""
        name, count = hint, 0
        while name in self.values:
            count += 1
            name = f"{hint}.{count}"
        self.values[name] = Value(name, like.type, like.shape)
        return self.values[name]
