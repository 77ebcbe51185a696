"""The table of operation functions, and helpers that every family needs.

A function takes the node, its input arrays int64[N, *shape] (N samples), and returns its output arrays. It is written to
be read beside the operation's rule in :mod:`neuroloom.compiler.ir.ops`, not to be fast.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from neuroloom.compiler.ir import Node

Function = Callable[..., np.ndarray | Sequence[np.ndarray]]

FUNCTIONS: dict[str, Function] = {}


def function(name: str) -> Callable[[Function], Function]:
    """Register the decorated function as the meaning of operation ``name``."""

    def register(run: Function) -> Function:
        FUNCTIONS[name] = run
        return run

    return register


def flat(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """All elements of all inputs, flattened and concatenated: [N, total]."""
    return np.concatenate([a.reshape(len(a), -1) for a in arrays], axis=1)


def shaped(node: Node, result: np.ndarray) -> np.ndarray:
    """``result`` [N, count] in the node's output shape."""
    return result.reshape(len(result), *node.outputs[0].shape)


def aligned(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Insert axes behind the batch axis so that numpy broadcasts the shapes and not the batch."""
    ndim = max(a.ndim for a in arrays)
    return [a.reshape(len(a), *[1] * (ndim - a.ndim), *a.shape[1:]) for a in arrays]
