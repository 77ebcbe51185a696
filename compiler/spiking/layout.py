"""Bits in the pool: state blocks, dense rows, records and headers, packed and read as ``docs/spiking-core.md`` says.

Pool words are kept as uint32 [words, lanes], lane 0 lowest; a *bit address* counts bits from bit 0 of pool word 0.
"""

from __future__ import annotations

import numpy as np
from neuroloom.compiler.errors import DoesNotFitError

from .core import HEADER_BITS, HEADER_START_BITS, SPIKE_WORD, CoreConfig

HEADER_POSITION_BITS, HEADER_WORD_BITS, HEADER_COUNT_BITS = 6, 14, 12
ROW_RECORDS_MAX = (1 << HEADER_COUNT_BITS) - 1
TABLE_WORDS_MAX = 1 << HEADER_WORD_BITS


class Pool:
    """The pool under construction: areas are taken from word 0 upwards."""

    def __init__(self, config: CoreConfig) -> None:
        self.config = config
        self.used = 0
        self._words = np.zeros((256, config.lanes), np.uint32)

    def take(self, words: int) -> int:
        """First word of a new area; raises DoesNotFitError once the addresses are used up."""
        base, self.used = self.used, self.used + words
        if self.used > 1 << 16:
            raise DoesNotFitError(f"pool must hold at most {1 << 16} words on any core, not {self.used}")
        if self.used > len(self._words):
            more = np.zeros((max(self.used, 2 * len(self._words)), self.config.lanes), np.uint32)
            more[: len(self._words)] = self._words
            self._words = more
        return base

    @property
    def words(self) -> np.ndarray:
        """The used words, uint32 [used, lanes]."""
        return self._words[: self.used]


def write_fields(words: np.ndarray, at: np.ndarray, values: np.ndarray, width: int) -> None:
    """Write the low ``width`` (at most 32) bits of ``values`` at bit addresses ``at``; fields must not overlap."""
    flat = words.reshape(-1)
    values = values.astype(np.int64).astype(np.uint64) & np.uint64((1 << width) - 1)
    mask = np.uint64((1 << width) - 1)
    shift = (at & 31).astype(np.uint64)
    for part in range(2):  # a field may go over into the next 32 bits
        unit = (at >> 5) + part
        bits = (values << shift) >> np.uint64(32 * part)
        cover = (mask << shift) >> np.uint64(32 * part)
        bits, cover = (
            (bits & np.uint64(0xFFFFFFFF)).astype(np.uint32),
            (cover & np.uint64(0xFFFFFFFF)).astype(np.uint32),
        )
        some = cover != 0
        np.bitwise_and.at(flat, unit[some], ~cover[some])
        np.bitwise_or.at(flat, unit[some], bits[some])


def read_fields(words: np.ndarray, at: np.ndarray, width: int, *, signed: bool = True) -> np.ndarray:
    """Fields of ``width`` (at most 32) bits at bit addresses ``at``, int64."""
    flat = words.reshape(-1)
    unit = at >> 5
    low = flat[unit].astype(np.uint64)
    over = np.where((at & 31) + width > 32, flat[np.minimum(unit + 1, len(flat) - 1)], 0).astype(np.uint64)
    value = ((low | over << np.uint64(32)) >> (at & 31).astype(np.uint64)).astype(np.int64) & ((1 << width) - 1)
    return value - ((value >> width - 1) << width) if signed else value


def pool_bytes(words: np.ndarray) -> bytes:
    """Pool words as the link carries them, little-endian."""
    return np.ascontiguousarray(words, "<u4").tobytes()


def pool_words(config: CoreConfig, data: bytes) -> np.ndarray:
    """Pool words uint32 [words, lanes] of bytes read from pool address 0."""
    return np.frombuffer(data, "<u4").astype(np.uint32).reshape(-1, config.lanes)


def state_at(config: CoreConfig, base: int, stride: int, k: int, size: int) -> np.ndarray:
    """Bit addresses of state word ``k`` of ``size`` neurons of a block."""
    n = np.arange(size)
    return (base + n // config.lanes * stride + k) * config.word_bits + n % config.lanes * 32


def dense_at(config: CoreConfig, base: int, row_words: int, pre: np.ndarray, post: np.ndarray) -> np.ndarray:
    """Bit addresses of weights in dense rows."""
    return (base + pre * row_words) * config.word_bits + post * config.weight_bits


def record_at(config: CoreConfig, base: int, number: np.ndarray, eligible: bool = False) -> np.ndarray:
    """Bit addresses of records of a table, ``eligible``: one with eligibilities."""
    per = config.records(eligible)
    return (base + number // per) * config.word_bits + number % per * config.record_bits(eligible)


def header_words(config: CoreConfig, sources: int) -> int:
    """Pool words of the headers of ``sources`` rows."""
    if not config.large:
        return -(-4 * sources // config.lanes)
    return int(header_at(config, 0, np.array([max(sources - 1, 0)]))[0]) // config.word_bits + 1 if sources else 0


def header_stride(config: CoreConfig) -> int:
    """Pool words of the packed headers of a spike word's sources."""
    return -(-SPIKE_WORD // config.headers)


def header_place(config: CoreConfig, number: int) -> tuple[int, int]:
    """Word and place in it of the packed header of source ``number`` of a spike word: shared out evenly over the words."""
    stride = header_stride(config)
    word = number * stride // SPIKE_WORD
    return word, number - -(-word * SPIKE_WORD // stride)


def header_at(config: CoreConfig, base: int, source: np.ndarray) -> np.ndarray:
    """Bit addresses of row headers: packed ones, or three units of 32 bits each."""
    if not config.large:
        return base * config.word_bits + source * 128
    places = np.array([header_place(config, number) for number in range(SPIKE_WORD)])
    word, place = places[source % SPIKE_WORD].T
    return (base + source // SPIKE_WORD * header_stride(config) + word) * config.word_bits + place * HEADER_BITS


def write_headers(
    config: CoreConfig, words: np.ndarray, base: int, start: np.ndarray, counts: np.ndarray, masks: np.ndarray, per: int
) -> None:
    """Headers of all rows from word ``base`` on: first record, records and mask (uint64) of each; ``per`` records in a word."""
    at = header_at(config, base, np.arange(len(start)))
    where = np.where(counts == 0, 0, start % per | start // per << HEADER_POSITION_BITS)
    if config.large:
        write_fields(words, at, where, HEADER_START_BITS)
    else:
        write_fields(words, at, where | counts << HEADER_START_BITS, 32)
    at = at + (HEADER_START_BITS if config.large else 32)
    write_fields(words, at, (masks & np.uint64(0xFFFFFFFF)).astype(np.int64), 32)
    write_fields(words, at + 32, (masks >> np.uint64(32)).astype(np.int64), 32)


def read_header(config: CoreConfig, words: np.ndarray, base: int, source: int, per: int) -> tuple[int, int]:
    """First record and mask of a row; ``per`` records stand in a word."""
    at = header_at(config, base, np.array([source]))
    where = int(read_fields(words, at, HEADER_START_BITS, signed=False)[0])
    at = at + (HEADER_START_BITS if config.large else 32)
    low, high = (int(read_fields(words, at + shift, 32, signed=False)[0]) for shift in (0, 32))
    return (where >> HEADER_POSITION_BITS) * per + (where & 63), low | high << 32


def record_words(config: CoreConfig, records: int, eligible: bool = False) -> int:
    """Pool words of a table of records."""
    return -(-records // config.records(eligible))


def row_words(config: CoreConfig, targets: int) -> int:
    """Pool words of a dense row."""
    return -(-targets // config.fields)


def align(value: int, to: int) -> int:
    """``value`` rounded up to a multiple of ``to``."""
    return -(-value // to) * to
