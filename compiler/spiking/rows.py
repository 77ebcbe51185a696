"""Synapses of one projection as dense rows or as records, written into the pool.

A projection becomes *parts*, each of which one delivery command (and one learning command) works on. A *piece* is a
field in the pool that holds a weight or a share of it: the weight of synapse k is the sum of scale · field over its
pieces.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from neuroloom.compiler.errors import DoesNotFitError, UnsupportedError

from . import layout
from .core import CoreConfig
from .cycles import acc_banks
from .isa import Step
from .layout import Pool
from .recognise import Projection


@dataclass
class Pieces:
    """Where a projection's weights stand: bit address, synapse and scale (1 or 256) of every piece; eligibility
    likewise.
    """

    at: list[np.ndarray] = field(default_factory=list)
    synapse: list[np.ndarray] = field(default_factory=list)
    scale: list[np.ndarray] = field(default_factory=list)
    eligibility_at: list[np.ndarray] = field(default_factory=list)
    eligibility_synapse: list[np.ndarray] = field(default_factory=list)

    def add(self, at: np.ndarray, synapse: np.ndarray, scale: int = 1) -> None:
        """Remember pieces."""
        self.at.append(at)
        self.synapse.append(synapse)
        self.scale.append(np.full(len(at), scale, np.int64))


@dataclass
class Part:
    """One delivery: the command and its fields without the source words and the target; ``learns``: LEARN fields
    likewise.
    """

    step: Step
    fields: dict[str, int]
    learns: dict[str, int] | None = None


def planes(config: CoreConfig, projection: Projection) -> int:
    """Weight fields that every weight of the projection needs: 1, or 2 for wide static weights."""
    half = 1 << config.weight_bits - 1
    low, high = int(projection.weights.min()), int(projection.weights.max())
    if -half <= low and high < half:
        return 1
    if projection.learn:
        raise UnsupportedError(
            f"{projection.node.where()} must have plastic weights in {-half}..{half - 1} on a core of "
            f"{config.weight_bits} weight bits, "
            f"not {low}..{high}; quantise to {config.weight_bits} bits, or use a core built with 16 weight bits"
        )
    if config.weight_bits != 8 or not -32768 - 0 <= low or high > 127 * 256 + 127:
        raise UnsupportedError(
            f"{projection.node.where()} must have weights in -32768..32639 (two 8-bit planes) or fit "
            f"{config.weight_bits} bits, "
            f"not {low}..{high}; quantise to fewer bits, or use a core built with 16 weight bits"
        )
    return 2


def dense_words(config: CoreConfig, projection: Projection, sources: int, targets: int) -> int | None:
    """Pool words of the projection as dense rows; None when synapses share source, target and delay, which these cannot hold."""
    if projection.doubled:
        return None
    rows = sources * layout.row_words(config, targets)
    each = planes(config, projection)
    if projection.learn:
        a = projection.learn.node.attrs
        _, counts = np.unique(projection.delay, return_counts=True)
        full = bool((counts == sources * targets).all())
        each += bool(a.get("eligibility")) + (not _all_enabled(projection) or not full)
    return rows * each * len(projection.delays)


def _all_enabled(projection: Projection) -> bool:
    assert projection.learn is not None
    return bool(projection.learn.node.attrs.get("enable", np.ones(1)).all())


def sparse_words(config: CoreConfig, projection: Projection, sources: int) -> int:
    """Pool words of the projection as records with headers."""
    total = 0
    for rows in _split(config, projection):
        if len(rows[0]):
            eligible = _eligible(projection, rows[2])
            total += layout.header_words(config, sources) + layout.record_words(config, len(rows[0]), eligible)
    return total


def dense_is_faster(config: CoreConfig, projection: Projection, sources: int, targets: int) -> bool:
    """Whether dense rows take no more cycles than compressed ones: per spike, or when learning, which walks row words or single
    records."""
    if projection.learn:
        return sources * layout.row_words(config, targets) * len(projection.delays) <= projection.size
    rows = int(np.count_nonzero(np.bincount(projection.pre * 64 + projection.delay)))
    dense = layout.row_words(config, targets) * (config.fields // acc_banks(config)) * planes(config, projection)
    return dense <= 4 + len(_split(config, projection)[0][0]) / rows


def _eligible(projection: Projection, learns: bool) -> bool:
    """Whether a table's records carry eligibilities: it learns by them."""
    return learns and projection.learn is not None and bool(projection.learn.node.attrs.get("eligibility"))


def _split(config: CoreConfig, projection: Projection) -> list[tuple[np.ndarray, np.ndarray, bool]]:
    """Tables of the projection: (synapse, weight, learns) of each record."""
    index = np.arange(projection.size)
    if projection.learn and not _all_enabled(projection):
        on = projection.learn.node.attrs["enable"].astype(bool)
        fixed = index[~on & (projection.weights != 0)]
        return [(index[on], projection.weights[on], True), (fixed, projection.weights[fixed], False)]
    if projection.learn:
        return [(index, projection.weights, True)]
    kept = index[projection.weights != 0]
    most = (1 << config.weight_bits - 1) - 1
    count = np.maximum(-(-np.abs(projection.weights[kept]) // most), 1)
    count[projection.weights[kept] == -most - 1] = 1
    synapse = np.repeat(kept, count)
    first = np.cumsum(count) - count
    number = np.arange(len(synapse)) - np.repeat(first, count)
    weight = projection.weights[synapse]
    times = np.repeat(count, count)
    share = np.sign(weight) * (np.abs(weight) // times + (number < np.abs(weight) % times))
    return [(synapse, share, False)]


def write_dense(pool: Pool, projection: Projection, sources: int, targets: int, pieces: Pieces) -> list[Part]:
    """Dense rows of the projection, a part per delay and plane."""
    config, parts = pool.config, []
    width = layout.row_words(config, targets)
    wide = planes(config, projection) == 2
    for delay in projection.delays.tolist():
        index = np.flatnonzero(projection.delay == delay)
        pre, post, weight = projection.pre[index], projection.post[index], projection.weights[index]
        low = ((weight + 128) & 255) - 128 if wide else weight
        full = len(index) == sources * targets
        shares = [((weight - low) >> 8, 256), (low, 1)] if wide else [(weight, 1)]
        for share, scale in shares:
            base = pool.take(sources * width)
            at = layout.dense_at(config, base, width, pre, post)
            layout.write_fields(pool.words, at, share, config.weight_bits)
            pieces.add(at, index, scale)
            fields = {"base": base, "row_words": width, "delay": delay, "shift8": int(scale == 256)}
            part = Part(Step.DENSE, fields)
            if projection.learn:
                part.learns = {"base": base, "row_words": width}
                if projection.learn.node.attrs.get("eligibility"):
                    plane = pool.take(sources * width)
                    pieces.eligibility_at.append(at + (plane - base) * config.word_bits)
                    pieces.eligibility_synapse.append(index)
                    part.learns["e_base"] = plane
                if not _all_enabled(projection) or not full:
                    plane = pool.take(sources * width)
                    on = projection.learn.node.attrs.get("enable", np.ones(projection.size, np.int64))[index].astype(
                        bool
                    )
                    bit = (plane + pre * width + post // config.fields) * config.word_bits + post % config.fields
                    layout.write_fields(pool.words, bit[on], np.ones(int(on.sum()), np.int64), 1)
                    part.learns |= {"enable_base": plane, "enables": 1}
            parts.append(part)
    return parts


def write_sparse(pool: Pool, projection: Projection, sources: int, first: int, pieces: Pieces) -> list[Part]:
    """Records and headers of the projection; ``first`` is the core's number of the target population's first neuron."""
    config, parts = pool.config, []
    for synapse, weight, learns in _split(config, projection):
        if not len(synapse):
            continue
        pre, post, delay = projection.pre[synapse], projection.post[synapse], projection.delay[synapse]
        order = np.lexsort((synapse, post, delay, pre))
        synapse, weight, pre, post, delay = (v[order] for v in (synapse, weight, pre, post, delay))
        counts = np.bincount(pre, minlength=sources)
        if counts.max() > layout.ROW_RECORDS_MAX and not config.large:
            raise DoesNotFitError(
                f"{projection.node.where()} must have at most {layout.ROW_RECORDS_MAX} synapses per source in "
                f"compressed rows, "
                f"not {counts.max()}; share them out over two populations, or use a core whose pool holds it dense"
            )
        headers = pool.take(layout.header_words(config, sources))
        eligible = _eligible(projection, learns)
        words = layout.record_words(config, len(synapse), eligible)
        if words > layout.TABLE_WORDS_MAX:
            raise DoesNotFitError(
                f"{projection.node.where()} must take at most {layout.TABLE_WORDS_MAX} pool words of records, "
                f"not {words}; "
                "share it out over two projections"
            )
        base = pool.take(words)
        number = np.arange(len(synapse))
        last = np.ones(len(synapse), bool)
        last[:-1] = (pre[1:] != pre[:-1]) | (delay[1:] != delay[:-1])
        at = layout.record_at(config, base, number, eligible)
        head = (first + post) | last.astype(np.int64) << config.target_bits
        layout.write_fields(pool.words, at, weight, config.weight_bits)
        layout.write_fields(pool.words, at + config.weight_bits, head, config.target_bits + 1)
        start = np.cumsum(counts) - counts
        masks = np.zeros(sources, np.uint64)
        np.bitwise_or.at(masks, pre, np.uint64(1) << delay.astype(np.uint64))
        layout.write_headers(config, pool.words, headers, start, counts, masks, config.records(eligible))
        pieces.add(at, synapse)
        delays = int(np.bitwise_or.reduce(masks))
        part = Part(
            Step.SPARSE,
            {
                "header_base": headers,
                "record_base": base,
                "delays_low": delays & 0xFFFFFFFF,
                "delays_high": delays >> 32,
                "eligible": int(eligible),
            },
        )
        if learns:
            part.learns = {"base": base, "header_base": headers}
            if eligible:
                pieces.eligibility_at.append(at + config.record_bits(True) - 8)
                pieces.eligibility_synapse.append(synapse)
        parts.append(part)
    return parts
