"""What the spiking core of every board holds, and which of them holds a given network."""

from __future__ import annotations

from dataclasses import dataclass

from neuroloom.compiler.errors import DoesNotFitError, UnsupportedError
from neuroloom.compiler.ir import Graph

from . import layout
from .core import CORES, CoreConfig
from .mapper import map_recognised
from .recognise import recognise

PLAIN_WORDS, LEARNING_WORDS = 1, 3
"""State words per neuron: a membrane; with learning also the traces x and y."""


@dataclass(frozen=True)
class Capacity:
    """What a core holds when all its ``neurons`` are used: numbers of synapses of ``weight_bits``, each kind alone in the pool.

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


def capacity(config: CoreConfig, board: str = "") -> Capacity:
    """What a core holds."""

    def dense(words: int) -> int:
        return (config.pool_words - words * blocks) * config.fields

    def records(words: int, eligible: bool = False) -> int:
        area = config.pool_words - words * blocks - layout.header_words(config, config.neurons)
        return min(area, layout.TABLE_WORDS_MAX) * config.records(eligible)

    blocks = -(-config.neurons // config.lanes)
    return Capacity(
        board,
        config.profile,
        config.neurons,
        config.inputs,
        config.weight_bits,
        config.slots - 1,
        dense(PLAIN_WORDS),
        None if config.learning == "none" else dense(LEARNING_WORDS),
        records(PLAIN_WORDS),
        records(LEARNING_WORDS, True) if config.learning == "reward" else None,
    )


def capacity_table() -> list[Capacity]:
    """One row per board and profile, as ``neuroloom boards`` prints them."""
    return [capacity(config, board) for board, cores in CORES.items() for config in cores]


@dataclass(frozen=True)
class Fit:
    """Whether a board's core holds a network: pool and program words that it needs, or the ``refusal`` as one
    sentence.
    """

    board: str
    profile: str
    pool_words: int = 0
    pool_used: int = 0
    program_words: int = 0
    program_used: int = 0
    refusal: str = ""

    @property
    def fits(self) -> bool:
        """Whether the network can run there."""
        return not self.refusal


def capacity_report(graph: Graph) -> list[Fit]:
    """A row per board and profile: what ``graph`` needs there, or why it does not fit."""
    network = recognise(graph)
    out = []
    for board, cores in CORES.items():
        for config in cores:
            try:
                program = map_recognised(network, config)
            except (DoesNotFitError, UnsupportedError) as error:
                out.append(
                    Fit(
                        board, config.profile, config.pool_words, program_words=config.program_words, refusal=str(error)
                    )
                )
                continue
            out.append(
                Fit(
                    board,
                    config.profile,
                    config.pool_words,
                    len(program.pool),
                    config.program_words,
                    len(program.program),
                )
            )
    return out
