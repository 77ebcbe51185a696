"""What every step command costs, in cycles of the core: exactly what ``rtl/spiking`` takes, held to it by tests.

A command costs one cycle to ask for its first word, one for each program word that is read, and its unit's cycles. Stalls (a
full event FIFO) come on top and are counted apart by the core.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from neuroloom.compiler.spiking.core import SPIKE_WORD, CoreConfig
from neuroloom.compiler.spiking.isa import END_BIT, FIELDS, Op, Step

BARRIER_CYCLES = 2
"""From the cycle in which the last of several cores comes to EXCHANGE or END until all of them leave it."""


def acc_banks(config: CoreConfig) -> int:
    """Banks of accumulators: weights that the core adds in one cycle.

    Large cores add all fields of a pool word at once; small ones have one bank per lane, to save adders and block RAM.
    """
    return config.fields if config.lanes > 4 else config.lanes


def fetched_words(command: Step) -> int:
    """Program words that are read for a command: up to the last one with a field."""
    return max((place.word for place in FIELDS[command].values()), default=0) + 1


def fetch_cycles(config: CoreConfig, command: Step) -> int:
    """What a command costs before its unit starts; large cores read four words at once."""
    words = fetched_words(command)
    return 1 + (-(-words // 4) if config.large else words)


def end_cycles(config: CoreConfig) -> int:
    """END, from the last core's coming on where there are several; so long takes a step of an empty program. Large cores look at a
    command one cycle after they read it.
    """
    return 2 + config.large + (BARRIER_CYCLES if config.cores > 1 else 0)


def exchange_cycles(words: int) -> int:
    """EXCHANGE of ``words`` spike words from the cycle on in which the last core has fetched and started it."""
    return BARRIER_CYCLES + 2 + words


def inputs_cycles(config: CoreConfig, words: int, *, raster: bool) -> int:
    """INPUTS of ``words`` spike words, with or without a raster in the pool."""
    drawn = -(-words // (config.word_bits // SPIKE_WORD))  # pool words
    more = config.pool_cycles * (drawn - 1) if raster else 0
    return fetch_cycles(config, Step.INPUTS) + 2 + config.large + words + more


def microcode_cycles(config: CoreConfig, microcode: Sequence[int]) -> int:
    """Cycles in which a microprogram executes for one group: one per instruction, BST one per lane, MUL and SQR as the core says.

    ``microcode``: its words; those behind the END bit are not looked at.
    """
    more: dict[int, int] = {Op.BST: config.lanes, Op.MUL: config.multiply_cycles, Op.SQR: config.multiply_cycles}
    total = 0
    for word in microcode:
        total += more.get(word >> 26 & 31, 1)
        if word & END_BIT:
            break
    return total


def scan_cycles(config: CoreConfig, neurons: int, microcode: Sequence[int], events: int) -> int:
    """SCAN of ``neurons`` neurons with a microprogram; ``events`` are its spikes if it watches them, else 0."""
    groups = -(-neurons // config.lanes)
    between, begin = (
        (1, 5) if config.large else (3, 1)
    )  # cycles behind each group; from the command to the first instruction
    return fetch_cycles(config, Step.SCAN) + begin + groups * (between + microcode_cycles(config, microcode)) + events


def dense_cycles(config: CoreConfig, words: int, row_words: int, spikes: int) -> int:
    """DENSE over ``words`` spike words with ``spikes`` spikes of the delay in them."""
    return (
        fetch_cycles(config, Step.DENSE)
        + 3
        + config.large
        + words
        + spikes * row_words * (config.fields // acc_banks(config))
    )


def sparse_row_cycles(config: CoreConfig, delay: int, *, records: int = 0, seeks: int = 0, repeats: int = 0) -> int:
    """One spike of SPARSE: ``records`` of this delay in its row, 0 when it has none.

    ``seeks``: 0 when the delay is the row's first one; else 1 for the pool word in which the group before it ends and 1 for
    every word of the row in front of that one; each takes two cycles, six on large cores. ``repeats``, records with the
    target of the record before them, cost nothing: what is being written is added to at once.
    """
    header = {1: 4, 2: 3}.get(config.lanes, 4) + (config.lanes <= 2 and delay >= 32)
    if not records:
        return header + 4 * config.large
    return header + config.pool_cycles + 4 * config.large + (6 if config.large else 2) * seeks + records


def sparse_cycles(config: CoreConfig, words: int, rows: Mapping[int, Iterable[int]]) -> int:
    """SPARSE over ``words`` spike words; ``rows`` has the cycles of every spike's row for each delay in the command's set."""
    passed = max(rows, default=-1) + 2
    each = 4 if config.large else 2
    return fetch_cycles(config, Step.SPARSE) + 1 + passed + sum(each + words + sum(cycles) for cycles in rows.values())
