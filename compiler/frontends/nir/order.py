"""Which neurons act in the same step: feed-forward edges do, and of every loop the edges that lead back act one step later."""

from __future__ import annotations

from .read import NirGraph


def same_step(graph: NirGraph, neurons: tuple[str, ...]) -> dict[str, tuple[int, int]]:
    """For every neuron node (loop number, place in the loop): an edge inside one loop whose source has no smaller place leads back.

    Places in a loop follow the distance from the inputs in nodes, then the order of the file.
    """
    names = list(graph.nodes)
    after = {name: graph.after(name) for name in names}
    distance = {name: 0 for name in names if not graph.before(name)}
    front = list(distance)
    while front:
        front = [b for a in front for b in after[a] if _reach(distance, b, distance[a] + 1)]
    component = _components(names, after)
    ranked = sorted(names, key=lambda n: (distance.get(n, len(names)), names.index(n)))
    place = {name: k for k, name in enumerate(ranked)}
    return {n: (component[n], place[n]) for n in names if graph.nodes[n].type in neurons}


def _reach(distance: dict[str, int], name: str, steps: int) -> bool:
    if name in distance:
        return False
    distance[name] = steps
    return True


def _components(names: list[str], after: dict[str, list[str]]) -> dict[str, int]:
    """Strongly connected components (Kosaraju's two passes, without recursion)."""
    finished: list[str] = []
    seen: set[str] = set()
    for root in names:
        stack = [] if root in seen else [(root, iter(after[root]))]
        seen.add(root)
        while stack:
            name, rest = stack[-1]
            step = next((n for n in rest if n not in seen), None)
            if step is None:
                finished.append(name)
                stack.pop()
            else:
                seen.add(step)
                stack.append((step, iter(after[step])))
    before: dict[str, list[str]] = {name: [] for name in names}
    for name, targets in after.items():
        for target in targets:
            before[target].append(name)
    component: dict[str, int] = {}
    for number, root in enumerate(reversed(finished)):
        stack_of = [root]
        while stack_of:
            name = stack_of.pop()
            if name not in component:
                component[name] = number
                stack_of += before[name]
    return component
