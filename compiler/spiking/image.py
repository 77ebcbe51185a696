"""Reading and writing a loaded core by the graph's names: weights, eligibilities, states, thresholds, what a new sample resets.

Everything works on pool bytes as the link carries them, or on a :class:`CoreProgram` whose pool is copied and changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from neuroloom.compiler.errors import InputError

from . import layout
from .core import CoreConfig, CoreProgram
from .isa import IMM_BITS, RIDES, Op


def weights_from_pool(program: CoreProgram, name: str, data: bytes) -> np.ndarray:
    """Weights of projection ``name``, int64 [synapses] in the graph's order, from pool bytes read from address 0."""
    return read_synapses(program.config, _projection(program, name), layout.pool_words(program.config, data), "weights")


def eligibility_from_pool(program: CoreProgram, name: str, data: bytes) -> np.ndarray:
    """Eligibilities of projection ``name``, int64 [synapses]."""
    words = layout.pool_words(program.config, data)
    return read_synapses(program.config, _projection(program, name), words, "eligibility")


def state_from_pool(program: CoreProgram, state: str, data: bytes) -> np.ndarray:
    """A neuron state of the graph (``NAME.v``), int64 [n]. Traces lag: they are those that the last step's
    learning used.
    """
    at, bits = state_place(program, state)
    words = layout.pool_words(program.config, data)
    return layout.read_fields(words, at, bits)


def read_synapses(config: CoreConfig, place: Mapping[str, Any], words: np.ndarray, kind: str) -> np.ndarray:
    """Weights (``kind`` weights) or eligibilities of a projection's map from pool words."""
    out = np.zeros(place["synapses"], np.int64)
    if kind == "eligibility":
        out[place["eligibility_synapse"]] = layout.read_fields(words, place["eligibility_at"], 8)
        return out
    np.add.at(out, place["synapse"], layout.read_fields(words, place["at"], config.weight_bits) * place["scale"])
    return out


def patch_weights(program: CoreProgram, name: str, weights: np.ndarray) -> CoreProgram:
    """The program with other weights [synapses] in projection ``name``, without mapping again.

    Raises InputError when a weight needs more room than the old one had (a synapse that was 0 and dropped, say).
    """
    place, config = _projection(program, name), program.config
    values = np.asarray(weights, np.int64)
    if values.shape != (place["synapses"],):
        raise InputError(f"weights of {name!r} must be {place['synapses']}, one per synapse, not {list(values.shape)}")
    if place["bounds"] and values.size:
        low, high = place["bounds"]
        enabled = place["learns"]
        if (values[enabled] < low).any() or (values[enabled] > high).any():
            raise InputError(f"weights of {name!r} must be in {low}..{high}, the bounds of its rule; clip them")
    half, left = 1 << config.weight_bits - 1, values.copy()
    share = np.zeros(len(place["at"]), np.int64)
    for scale in (256, 1):
        for piece in _rounds(place["synapse"], np.flatnonzero(place["scale"] == scale)):
            synapse = place["synapse"][piece]
            value = (left[synapse] + 128 >> 8) if scale == 256 else np.clip(left[synapse], -half, half - 1)
            value = np.clip(value, -half, half - 1)
            share[piece] = value
            left[synapse] -= value * scale
    if left.any():
        bad = int(np.flatnonzero(left)[0])
        raise InputError(
            f"weight {int(values[bad])} of synapse {bad} of {name!r} must fit the room that its old weight "
            f"took; map the network again"
        )
    pool = program.pool.copy()
    layout.write_fields(pool, place["at"], share, config.weight_bits)
    return replace(program, pool=pool)


def _rounds(synapse: np.ndarray, pieces: np.ndarray) -> list[np.ndarray]:
    """Pieces in rounds, every synapse at most once in each."""
    out = []
    while len(pieces):
        _, first = np.unique(synapse[pieces], return_index=True)
        out.append(pieces[first])
        pieces = np.delete(pieces, first)
    return out


def patch_parameter(program: CoreProgram, population: str, name: str, values: int | np.ndarray) -> CoreProgram:
    """The program with another ``threshold``, ``bias`` or ``drive`` in a population.

    Parameters per neuron need a state word: ``map_graph(..., keep_words=True)``. Raises InputError otherwise.
    """
    place = _population(program, population)
    array = np.asarray(values, np.int64)
    if name in place["constants"]:
        pool = program.pool.copy()
        at = layout.state_at(program.config, place["base"], place["stride"], place["words"][name], place["size"])
        layout.write_fields(pool, at, np.broadcast_to(array, (place["size"],)), 32)
        return replace(program, pool=pool)
    if name not in place["immediates"]:
        raise InputError(f"parameter of population {population!r} must be one that it was mapped with, not {name!r}")
    half = 1 << IMM_BITS - 1
    if (array != array.flat[0]).any() or not -half <= array.flat[0] < half:
        raise InputError(
            f"{name} of population {population!r} must be one integer of {IMM_BITS} bits; map with "
            f"keep_words=True for one per neuron"
        )
    words = program.program.copy()
    for address in place["immediates"][name]:
        if int(words[address]) >> 26 & 31 != Op.IMM and not int(words[address]) & RIDES:
            raise InputError(f"program word {address} must be an IMM instruction; map the network again")
        words[address] = int(words[address]) & ~((1 << IMM_BITS) - 1) | int(array.flat[0]) & (1 << IMM_BITS) - 1
    return replace(program, program=words)


def patch_state(program: CoreProgram, state: str, values: int | np.ndarray) -> CoreProgram:
    """The program with another initial value of a neuron state of the graph."""
    at, _ = state_place(program, state)
    half = 1 << program.config.state_bits - 1
    array = np.broadcast_to(np.asarray(values, np.int64), (len(at),))
    if array.size and not -half <= int(array.min()) <= int(array.max()) < half:
        raise InputError(f"state {state!r} must be in {-half}..{half - 1}, not {int(array.min())}..{int(array.max())}")
    pool = program.pool.copy()
    layout.write_fields(pool, at, array, 32)
    return replace(program, pool=pool)


def _places(program: CoreProgram) -> dict[str, Any]:
    maps: Any = program.maps
    return {**maps["inputs"], **maps["mirrors"], **maps["populations"]}


def _population(program: CoreProgram, name: str) -> Mapping[str, Any]:
    maps: Any = program.maps
    if name not in maps["populations"]:
        raise InputError(f"population must be one of {', '.join(maps['populations'])}, not {name!r}")
    return maps["populations"][name]


def _projection(program: CoreProgram, name: str) -> Mapping[str, Any]:
    maps: Any = program.maps
    if name not in maps["projections"]:
        raise InputError(f"projection must be one of {', '.join(maps['projections'])}, not {name!r}")
    return maps["projections"][name]


def state_place(program: CoreProgram, state: str) -> tuple[np.ndarray, int]:
    """Bit addresses and width of a graph's state of neurons."""
    known = []
    for place in _places(program).values():
        known += list(place["states"])
        if state in place["states"]:
            k = place["words"][place["states"][state]]
            return layout.state_at(
                program.config, place["base"], place["stride"], k, place["size"]
            ), program.config.state_bits
    raise InputError(f"state must be one of {', '.join(known)}, not {state!r}")


def sample_reset(program: CoreProgram) -> list[tuple[int, np.ndarray]]:
    """What a new sample writes after ``Z``: (pool word, uint32 [words, lanes]) of every state whose lifetime is a sample.

    Weights, persistent states, and the eligibilities of records (which share words with weights) are not among them;
    see :func:`reset_eligibility`.
    """
    maps: Any = program.maps
    lasting = set(maps["persistent_states"])
    words = set()
    for place in _places(program).values():
        keep = {place["words"][word] for state, word in place["states"].items() if state in lasting}
        groups = -(-place["size"] // program.config.lanes)
        words |= {
            place["base"] + g * place["stride"] + k
            for g in range(groups)
            for k in range(place["stride"])
            if k not in keep
        }
    out: list[tuple[int, np.ndarray]] = []
    for word in sorted(words):
        if out and out[-1][0] + len(out[-1][1]) == word:
            out[-1] = (out[-1][0], np.concatenate([out[-1][1], program.pool[word : word + 1]]))
        else:
            out.append((word, program.pool[word : word + 1].copy()))
    return out


def reset_eligibility(program: CoreProgram, words: np.ndarray) -> np.ndarray:
    """``words`` (uint32 [words, lanes] as read from the pool) with every eligibility as it was at first."""
    maps: Any = program.maps
    out = words.copy()
    for place in maps["projections"].values():
        at = place["eligibility_at"]
        if len(at):
            first = layout.read_fields(program.pool, at, 8)
            width = program.config.weight_bits if place["rows"] == "dense" else 8
            layout.write_fields(out, at, first, width)
    return out


def input_spikes(program: CoreProgram, inputs: Mapping[str, np.ndarray], t: int) -> np.ndarray:
    """Spikes of step ``t`` as the core numbers its inputs, bool [inputs]; ``inputs`` by the graph's names, [steps,
    n].
    """
    maps: Any = program.maps
    out = np.zeros(program.config.inputs, bool)
    for name, place in maps["inputs"].items():
        first = place["first"] - program.config.neurons
        out[first : first + place["size"]] = inputs[name][t].astype(bool)
    return out


def write_raster(program: CoreProgram, inputs: Mapping[str, np.ndarray]) -> tuple[int, np.ndarray]:
    """First pool word and words (uint32 [words, lanes]) of a raster of ``inputs`` by name, [steps, n] each.

    Raises InputError when the pool has no room for so many steps.
    """
    maps: Any = program.maps
    raster = maps["raster"]
    if raster is None:
        raise InputError(f"network {maps['name']!r} must have spike inputs to play a raster")
    steps = len(next(iter(inputs.values())))
    if steps > raster["capacity"]:
        raise InputError(
            f"raster must have at most {raster['capacity']} steps in this pool, not {steps}; play it in parts"
        )
    bits = np.zeros((steps, raster["words"] * program.config.word_bits), np.uint8)
    for t in range(steps):
        row = input_spikes(program, inputs, t)[: bits.shape[1]]
        bits[t, : len(row)] = row
    return raster["base"], np.packbits(bits, axis=1, bitorder="little").view("<u4").astype(np.uint32).reshape(
        -1, program.config.lanes
    )
