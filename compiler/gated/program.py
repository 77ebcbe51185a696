"""A compiled network for a gated engine: program, weights, tables and constants, and how they are loaded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from neuroloom.compiler.errors import DoesNotFitError
from neuroloom.compiler.ir import Graph
from neuroloom.compiler.ir.ops.loops import PARAMETERS

from . import ops_arith, ops_control, ops_delta, ops_shape
from .assemble import Assembler
from .commands import Command, Memory, header
from .core import GatedConfig
from .isa import Op
from .locate import Space
from .lower import HANDLERS, Lowering
from .machine import Machine
from .naming import longest
from .reuse import Lives, place

_FAMILIES = (ops_arith, ops_control, ops_delta, ops_shape)  # importing them fills the registry

SUPPORTED = frozenset(HANDLERS) | frozenset(PARAMETERS)
"""Operations that the engine runs."""

STAMP_BYTES = 8
"""The last words of the vector memory tell which network is loaded; programs leave them free."""

CHUNK = 1024
"""Most words of one LOAD."""


@dataclass(frozen=True)
class Program:
    """Everything that is loaded into an engine for one network.

    ``words``: the program; ``weights`` int64[rows, lanes]; ``tables``: words; ``image``: words of the vector memory by address.
    ``layers``: (source node, weight rows) in order. ``used``: words of the vector memory.
    """

    config: GatedConfig
    words: tuple[int, ...]
    weights: np.ndarray
    tables: tuple[int, ...]
    image: dict[int, int]
    layers: tuple[tuple[str, int], ...]
    used: int
    cycles: tuple[int, int]
    """Least and greatest number of cycles of a run, streams left out, over all ways through its choices."""
    remarks: tuple[str, ...] = field(default=())

    @property
    def keeps_sums(self) -> bool:
        """Whether sums stay in banks from run to run; the first run must be a fresh one, which fills them."""
        return any(word & 15 == Op.CMAC for word in self.words)

    def loads(self) -> Iterator[tuple[Memory, int, bytes, int]]:
        """(memory, first address, data, words) of every LOAD that brings the network onto an engine."""
        sizes = self.config.word_bytes
        yield from _chunks(Memory.PROGRAM, 0, [w.to_bytes(sizes[0], "little") for w in self.words], 1)
        columns, per, bits = self.config.columns, self.config.column, self.config.weight
        packed: list[bytes] = []
        for row in self.weights.tolist():
            for column in range(columns):
                value = 0
                for spot, weight in enumerate(row[column * per : (column + 1) * per]):
                    value |= (weight & (1 << bits) - 1) << spot * bits
                packed.append(value.to_bytes(sizes[1], "little"))
        yield from _chunks(Memory.WEIGHTS, 0, packed, columns)
        mask = (1 << self.config.word) - 1
        yield from _chunks(Memory.TABLES, 0, [(w & mask).to_bytes(sizes[2], "little") for w in self.tables], 1)
        addresses = sorted(self.image)
        at = 0
        while at < len(addresses):
            end = at + 1
            while end < len(addresses) and addresses[end] == addresses[end - 1] + 1:
                end += 1
            words = [(self.image[a] & mask).to_bytes(sizes[3], "little") for a in addresses[at:end]]
            yield from _chunks(Memory.VECTOR, addresses[at], words, 1)
            at = end

    def load_bytes(self) -> bytes:
        """All LOADs one behind the other, as the engine takes them."""
        return b"".join(header(Command.LOAD, m, a, n) + d for m, a, d, n in self.loads())


def _chunks(memory: Memory, first: int, words: list[bytes], per: int) -> Iterator[tuple[Memory, int, bytes, int]]:
    step = max(CHUNK // per, 1) * per
    for at in range(0, len(words), step):
        part = words[at : at + step]
        yield memory, first + at // per, b"".join(part), len(part)


def compile_program(graph: Graph, config: GatedConfig) -> Program:
    """Lower and schedule a graph; raises DoesNotFitError with the numbers, or UnsupportedError naming node, reason and remedy.

    Every value has memory of its own, so that nothing waits for memory; where there is too little, values share it.
    """
    try:
        return _compile(graph, config, Space(config))
    except DoesNotFitError as error:
        if "vector memory" not in str(error):
            raise
        return _compile(graph, config, _shared(graph, config, error))


def _shared(graph: Graph, config: GatedConfig, error: DoesNotFitError) -> Space:
    """Memory in which values that are never needed at once have the same place."""
    free = Space(config, bounded=False)
    machine = Machine(config, free)
    items = Lowering(graph, machine).run()
    lives = Lives(items, free.blocks, config.ports).of
    fixed = set(free.image)
    kept = {n for n, (at, words) in enumerate(free.blocks) if not fixed.isdisjoint(range(at, at + words))}
    limit = Space(config).limit
    for spread in (True, False):
        places = place(free.blocks, lives, kept, config.ports, limit, spread=spread)
        if places is not None:
            return Space(config, places)
    raise DoesNotFitError(f"{error}, also when values share memory; make that smaller, or take a larger board")


def _compile(graph: Graph, config: GatedConfig, space: Space) -> Program:
    machine = Machine(config, space)
    lowering = Lowering(graph, machine)
    items = lowering.run()
    for overlaps in (True, False):
        assembler = Assembler(config.timing, config.ports, overlaps)
        assembler.program(items)
        words = assembler.encoded()
        if len(words) <= config.program_words:
            break
    _check_rows(machine, config)
    if len(words) > config.program_words:
        source, most = longest(items)
        raise DoesNotFitError(
            f"the program of {graph.name!r} takes {len(words):,} words and profile {config.profile!r} has "
            f"{config.program_words:,}; most of them, {most:,}, are of {source or 'moves'}: make that regular or smaller, or "
            "take a larger board"
        )
    rows = np.stack(machine.weights.rows) if machine.weights.rows else np.zeros((0, config.lanes), np.int64)
    return Program(
        config,
        tuple(words),
        rows,
        tuple(machine.tables),
        dict(space.image),
        tuple(machine.weights.owners),
        space.top,
        assembler.cycles,
        tuple(lowering.remarks),
    )


def _check_rows(machine: Machine, config: GatedConfig) -> None:
    total, over = len(machine.weights.rows), 0
    if total <= config.weight_rows:
        return
    for source, rows in machine.weights.owners:
        over += rows
        if over > config.weight_rows:
            per = config.lanes * config.weight
            raise DoesNotFitError(
                f"weights take {total:,} rows of {config.lanes} x {config.weight} bits and profile {config.profile!r} has "
                f"{config.weight_rows:,}: {source} is the first layer beyond, and {(total - config.weight_rows) * per:,} bits are "
                "missing; take fewer or narrower weights, or a larger board"
            )
