"""Fewer different decays: neurons of a layer share a population only when their decays agree, so learned ones are grouped."""

from __future__ import annotations

import numpy as np
from neuroloom.compiler.errors import InputError

from .layers import Layer

ROUNDS = 50


def share_decays(layer: Layer, most: int) -> float:
    """Give the layer at most ``most`` different decays (means of groups of near ones); the largest change of a decay.

    Groups are found by Lloyd's iteration from quantiles, which gives the same result on every machine. Raises InputError
    unless ``most`` is at least 1.
    """
    if not isinstance(most, int) or most < 1:
        raise InputError(f"decay_values must be an integer of at least 1, not {most!r}")
    points = np.stack([layer.beta] if layer.alpha is None else [layer.beta, layer.alpha], 1)
    if len(np.unique(points, axis=0)) <= most:
        return 0.0
    order = np.lexsort(points.T[::-1])
    centres = points[order[(np.arange(most) * 2 + 1) * len(points) // (2 * most)]]
    group = np.zeros(len(points), np.int64)
    for _ in range(ROUNDS):
        nearest = ((points[:, None] - centres[None]) ** 2).sum(2).argmin(1)
        centres = np.stack([points[nearest == k].mean(0) if (nearest == k).any() else centres[k] for k in range(most)])
        if (nearest == group).all():
            break
        group = nearest
    shared = centres[group]
    worst = float(np.abs(shared - points).max())
    layer.beta = shared[:, 0].copy()
    if layer.alpha is not None:
        layer.alpha = shared[:, 1].copy()
    return worst
