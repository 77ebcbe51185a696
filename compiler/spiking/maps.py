"""How a loaded core is read back by the graph's names: a program's ``maps``, used by ``compiler/spiking/image.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from .isa import assemble, spaced
from .placement import Placement
from .recognise import Projection, Source
from .recognised import Mirror


def maps_of(place: Placement, raster: dict[str, int] | None, sizes: dict[str, int]) -> dict[str, object]:
    """How to read the core back and what may be written; see ``compiler/spiking/image.py``."""
    populations = {name: _source_map(place, name, s) for name, s in place.net.populations.items()}
    inputs = {name: _source_map(place, name, s) for name, s in place.net.inputs.items() if name in place.placed}
    mirrors = {
        name: inputs.pop(name) for name, s in place.net.inputs.items() if isinstance(s, Mirror) and name in inputs
    }
    for name, population in place.net.populations.items():
        code = place.placed[name].code
        assert code is not None
        entry = populations[name]
        entry["watch"] = name in place.watched
        entry["constants"] = sorted(code.constants)
        entry["immediates"] = {
            word: [_immediate(place, name, number, position) for number, position in places]
            for word, places in code.immediates.items()
        }
        for word, state in population.states.items():
            entry["states"][state] = word
    decision = place.net.decision
    return {
        "name": place.net.graph.name,
        "populations": populations,
        "inputs": inputs,
        "mirrors": mirrors,
        "unused": list(place.net.unused),
        "raster": raster,
        "drives": {
            value: (name, word) for name, p in place.net.populations.items() for word, value in p.drives.items()
        },
        "reward": place.net.reward,
        "lfsr": place.net.lfsr,
        "seed": int(place.net.initial(place.net.lfsr)) if place.net.lfsr else None,
        "projections": {name: _projection_map(place, p) for name, p in place.net.projections.items()},
        "decision": decision and {"population": decision.population, "states": decision.states},
        "outputs": dict(place.net.outputs),
        "persistent_states": [n.name for n in place.net.graph.states if n.attrs["lifetime"] == "persistent"],
        "program": sizes,
        "pool_used": place.pool.used,
    }


def _immediate(place: Placement, name: str, number: int, position: int) -> int:
    """Program address of an IMM, or of the instruction that it rides on (the assembler may have put NOPs before it)."""
    placed = place.placed[name]
    assert placed.code is not None
    items = placed.code.passes[number][: position + 1]
    return placed.pcs[number] + len(spaced(items, large=place.config.large)) - 1


def _source_map(place: Placement, name: str, source: Source) -> dict[str, Any]:
    """Place of a source and of its traces."""
    placed = place.placed[name]
    return {
        "first": placed.first,
        "size": source.size,
        "base": placed.base,
        "stride": placed.stride,
        "words": dict(placed.words or {}),
        "states": {state: t.word for state, t in place.trace_words(source).items()},
        "instructions": [len(assemble(p, large=place.config.large)) for p in placed.code.passes] if placed.code else [],
    }


def _projection_map(place: Placement, p: Projection) -> dict[str, Any]:
    """Place of a projection's weights and eligibilities."""
    pieces = place.pieces[p.name]
    none = [np.zeros(0, np.int64)]
    return {
        "source": p.source,
        "target": p.target,
        "synapses": p.size,
        "state": p.state,
        "rows": "dense" if place.dense[p.name] else "records",
        "at": np.concatenate(pieces.at or none),
        "synapse": np.concatenate(pieces.synapse or none),
        "scale": np.concatenate(pieces.scale or none),
        "eligibility": p.learn.eligibility if p.learn else None,
        "eligibility_at": np.concatenate(pieces.eligibility_at or none),
        "eligibility_synapse": np.concatenate(pieces.eligibility_synapse or none),
        "learns": np.flatnonzero(p.learn.node.attrs.get("enable", np.ones(p.size))) if p.learn else none[0],
        "bounds": (p.learn.node.attrs["w_min"], p.learn.node.attrs["w_max"]) if p.learn else None,
    }
