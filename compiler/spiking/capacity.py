"""What the spiking core of every board holds, and which of them holds a given network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from neuroloom.compiler.errors import DoesNotFitError, UnsupportedError
from neuroloom.compiler.ir import Graph

from . import layout
from .cluster import ClusterProgram
from .core import CORES, CoreConfig, CoreProgram
from .mapper import map_recognised
from .recognise import recognise

PLAIN_WORDS, LEARNING_WORDS = 1, 3
"""State words per neuron: a membrane; with learning also the traces x and y."""


@dataclass(frozen=True)
class Capacity:
    """What a build holds when all its ``neurons`` are used: numbers of synapses of ``weight_bits``, each kind alone in the pool.

    Of ``cores`` together; ``inputs`` are those of each, which also takes the neurons of others whose spikes it needs.

    ``dense``: all-to-all rows without learning. ``plastic``: the same with STDP, None without it. ``compressed``:
    records without learning, with delays up to ``delay`` steps. ``eligible``: records with learning, delays and
    eligibility; None without them.
    """

    board: str
    profile: str
    neurons: int
    inputs: int
    weight_bits: int
    delay: int
    dense: int
    plastic: int | None
    compressed: int
    eligible: int | None
    cores: int = 1


def capacity(config: CoreConfig, board: str = "") -> Capacity:
    """What a core holds."""

    def dense(words: int) -> int:
        return config.cores * (config.pool_words - words * blocks) * config.fields

    def records(words: int, eligible: bool = False) -> int:
        area = config.pool_words - words * blocks - layout.header_words(config, config.neurons)
        return config.cores * min(area, layout.TABLE_WORDS_MAX) * config.records(eligible)

    blocks = -(-config.neurons // config.lanes)
    return Capacity(
        board,
        config.profile,
        config.cores * config.neurons,
        config.inputs,
        config.weight_bits,
        config.slots - 1,
        dense(PLAIN_WORDS),
        None if config.learning == "none" else dense(LEARNING_WORDS),
        records(PLAIN_WORDS),
        records(LEARNING_WORDS, True) if config.learning == "reward" else None,
        config.cores,
    )


def capacity_table() -> list[Capacity]:
    """One row per board and profile, as ``neuroloom boards`` prints them."""
    return [capacity(config, board) for board, cores in CORES.items() for config in cores]


@dataclass(frozen=True)
class Share:
    """What one of several cores has of a network: ``neurons`` by population, ``remote`` neurons whose spikes it gets, and words."""

    core: int
    neurons: Mapping[str, int]
    remote: int
    pool_used: int
    program_used: int


def partition_of(program: CoreProgram | ClusterProgram) -> tuple[Share, ...]:
    """How a network is shared out; nothing for a core alone."""
    if not isinstance(program, ClusterProgram):
        return ()
    out = []
    for core, part in enumerate(program.parts):
        maps: Any = part.maps
        if maps["populations"]:
            remote = sum(place["size"] for place in maps["mirrors"].values())
            neurons = {name: place["size"] for name, place in maps["populations"].items()}
            out.append(Share(core, neurons, remote, len(part.pool), len(part.program)))
    return tuple(out)


@dataclass(frozen=True)
class Fit:
    """Whether a board's core holds a network: pool and program words that it needs, or the ``refusal`` as one
    sentence.

    Of several ``cores``, those of the fullest; ``partition`` is then the part of each that has neurons.
    """

    board: str
    profile: str
    pool_words: int = 0
    pool_used: int = 0
    program_words: int = 0
    program_used: int = 0
    refusal: str = ""
    cores: int = 1
    partition: tuple[Share, ...] = ()

    @property
    def fits(self) -> bool:
        """Whether the network can run there."""
        return not self.refusal


def capacity_report(graph: Graph, board: str | None = None) -> list[Fit]:
    """A row per board (or of one) and profile: what ``graph`` needs there, or why it does not fit."""
    network = recognise(graph)
    out = []
    for name, cores in CORES.items():
        for config in cores if board in (None, name) else ():
            try:
                program = map_recognised(network, config)
            except (DoesNotFitError, UnsupportedError) as error:
                out.append(
                    Fit(
                        *(name, config.profile, config.pool_words),
                        program_words=config.program_words,
                        refusal=str(error),
                        cores=config.cores,
                    )
                )
                continue
            out.append(
                Fit(
                    name,
                    config.profile,
                    config.pool_words,
                    program.pool_used,
                    config.program_words,
                    program.program_used,
                    cores=config.cores,
                    partition=partition_of(program),
                )
            )
    return out
