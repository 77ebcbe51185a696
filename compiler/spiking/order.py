"""The order in which populations are computed inside a step: along the synapses without delay."""

from __future__ import annotations

import heapq

from neuroloom.compiler.errors import InputError

from .network import Network


def evaluation_order(network: Network) -> list[str]:
    """Population names so that every synapse of delay 0 comes from an input or an earlier population; else as they were added.

    Raises InputError naming the loop when there is one without delay.
    """
    number = {name: k for k, name in enumerate(network.populations)}
    after: dict[str, set[str]] = {name: set() for name in number}
    waits = dict.fromkeys(number, 0)
    for p in network.projections.values():
        if p.size and p.source in number and int(p.delay.min()) == 0 and p.target not in after[p.source]:
            after[p.source].add(p.target)
            waits[p.target] += 1
    ready = [number[n] for n, w in waits.items() if not w]
    heapq.heapify(ready)
    names, order = list(number), []
    while ready:
        name = names[heapq.heappop(ready)]
        order.append(name)
        for target in after[name]:
            waits[target] -= 1
            if not waits[target]:
                heapq.heappush(ready, number[target])
    if len(order) < len(number):
        raise InputError(
            f"loop {' -> '.join(_loop(after, set(number) - set(order)))} must have a delay of at least 1 step"
        )
    return order


def _loop(after: dict[str, set[str]], left: set[str]) -> list[str]:
    """One cycle among the populations that could not be ordered, its first name repeated at the end."""
    before = {n: sorted(m for m in left if n in after[m]) for n in left}
    path = [min(left)]
    while path[-1] not in path[:-1]:  # everything left has a predecessor left
        path.append(before[path[-1]][0])
    start = path.index(path[-1])
    return path[start:][::-1]
