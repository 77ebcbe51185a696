"""Refusals name a node: the one in work where whoever refuses does not know it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from neuroloom.compiler.errors import DoesNotFitError, UnsupportedError
from neuroloom.compiler.ir import Node

from .code import Item, Job, Loop


@contextmanager
def named(node: Node) -> Iterator[None]:
    """Put the node's name in front of a refusal that names none."""
    try:
        yield
    except (UnsupportedError, DoesNotFitError) as error:
        if "node " in str(error):
            raise
        raise type(error)(f"{node.where()}: {error}") from error


def longest(items: Iterable[Item]) -> tuple[str, int]:
    """The node whose instructions take the most words of a program, and how many."""
    words: Counter[str] = Counter()

    def count(some: Iterable[Item]) -> None:
        for item in some:
            if isinstance(item, Job):
                words[item.source] += sum(len(part.words) for part in item.parts)
            for body in [item.body] if isinstance(item, Loop) else getattr(item, "bodies", ()):
                count(body)

    count(items)
    (found,) = words.most_common(1) or [("", 0)]
    return found
