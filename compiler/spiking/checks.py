"""What a core can do at all: widths, delays, learning and sums that a network must keep to. Part of the mapper."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from neuroloom.compiler.errors import DoesNotFitError, UnsupportedError

from . import rows
from .core import CoreConfig
from .recognised import Network, Population, Projection


def check_network(network: Network, config: CoreConfig) -> None:
    """Refuse widths, delays and learning that this core has not: UnsupportedError or DoesNotFitError, naming the node."""
    for population in network.populations.values():
        type_ = population.node.outputs[1].type
        if type_.width != config.state_bits:
            raise UnsupportedError(
                f"{population.node.where()} must have states of {config.state_bits} bits on this core, not "
                f"{type_.width}; "
                f"compile the network with state_bits {config.state_bits}"
            )
    for p in network.projections.values():
        deepest = int(p.delay.max()) if p.size else 0
        if deepest >= config.slots:
            raise DoesNotFitError(
                f"{p.node.where()} must have delays of at most {config.slots - 1} steps in profile "
                f"{config.profile!r}, not {deepest}"
            )
        if p.learn:
            _check_learning(p, config)
    if network.decision and not config.decision:
        raise DoesNotFitError(
            f"{network.decision.node.where()} must run on a core with DECIDE, not on one of profile {config.profile!r}"
        )
    if network.decision and network.decision.node.attrs.get("margin", 0) >> 32:
        raise UnsupportedError(f"{network.decision.node.where()} must have a margin below 2**32")


def _check_learning(p: Projection, config: CoreConfig) -> None:
    """A learning rule on this core."""
    assert p.learn is not None
    a = p.learn.node.attrs
    where = p.learn.node.where()
    if config.learning == "none" or (a.get("eligibility") and config.learning != "reward"):
        need = "reward" if a.get("eligibility") else "stdp"
        raise DoesNotFitError(f"{where} must run on a core with learning {need!r}, not {config.learning!r}")
    if config.state_bits < 18:
        raise UnsupportedError(
            f"{where} must run on a core of at least 18 state bits, not {config.state_bits}: a trace has 16"
        )
    half = 1 << config.weight_bits - 1
    if not -half <= a["w_min"] <= a["w_max"] < half:
        raise UnsupportedError(
            f"{where} must keep weights in {-half}..{half - 1} on a core of {config.weight_bits} weight bits, not "
            f"{a['w_min']}..{a['w_max']}; narrow w_min and w_max, or use a core built with 16 weight bits"
        )
    on = a.get("enable", np.ones(p.size, np.int64)).astype(bool)
    out = on & ((p.weights < a["w_min"]) | (p.weights > a["w_max"]))
    if out.any():
        raise UnsupportedError(
            f"{where} must start from weights in {a['w_min']}..{a['w_max']}, not {int(p.weights[out][0])} "
            f"(synapse {int(np.flatnonzero(out)[0])}); "
            "clip them or widen w_min and w_max"
        )


def check_current(network: Network, config: CoreConfig, population: Population, dense: Mapping[str, bool]) -> None:
    """No order of deliveries may saturate an accumulator on the way: bound the sums of one sign, planes apart.

    ``dense`` says which projections have dense rows. Raises UnsupportedError.
    """
    most = np.zeros((2, population.size))
    for p in network.projections.values():
        if p.target != population.name or not p.size:
            continue
        if p.state:
            a = p.learn.node.attrs if p.learn else {"w_min": 0, "w_max": 0}
            low, high = np.minimum(p.weights, min(a["w_min"], 0)), np.maximum(p.weights, max(a["w_max"], 0))
            shares = [(low, high)]
        elif rows.planes(config, p) == 2 and dense[p.name]:
            lo = ((p.weights + 128) & 255) - 128
            shares = [(p.weights - lo, p.weights - lo), (lo, lo)]
        else:
            shares = [(p.weights, p.weights)]
        for low, high in shares:
            most[0] += np.bincount(p.post, -np.minimum(low, 0), population.size)
            most[1] += np.bincount(p.post, np.maximum(high, 0), population.size)
    if most.max(initial=0) >= 1 << config.state_bits - 1:
        raise UnsupportedError(
            f"{population.node.where()} must receive at most {(1 << config.state_bits - 1) - 1} from "
            f"its synapses in a step "
            f"({config.state_bits} state bits), not up to {int(most.max())}; use smaller weights or a "
            f"core of more state bits"
        )
