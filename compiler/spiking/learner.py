"""The learning commands of the core model, as ``docs/spiking-core.md`` says; numbers are int64 arrays over all
synapses of a command.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from . import layout

if TYPE_CHECKING:
    from .executor import CoreModel
    from .timing import Activity

STOCHASTIC, HALF_UP = 2, 1
SOURCE_STEP, TARGET_STEP = 40503, 27469
"""What one source, one target, adds to the two halves of a synapse's random number, modulo 2^16."""
SATURATED_ELIGIBILITY = 8


def random_numbers(f: Mapping[str, int], lfsr: int, high: bool, j: np.ndarray, i: np.ndarray) -> np.ndarray:
    """The 16 random bits of synapse (j, i) in a step; on one of several cores j and i count on from the command's start."""
    half = lfsr >> 16 if high else lfsr & 0xFFFF
    x, y = (f.get(f"{side}_random", 0) << 8 | f.get(f"{side}_random_low", 0) << 4 for side in "xy")
    u = (half + x + SOURCE_STEP * j) % 65536 ^ (y + TARGET_STEP * i) % 65536
    u ^= u << 7 & 0xFFFF
    u ^= u >> 9
    return u ^ u << 8 & 0xFFFF


def _added(f: Mapping[str, int], bits: int, lfsr: int, high: bool, j: np.ndarray, i: np.ndarray) -> np.ndarray | int:
    """r of a shift by ``bits``."""
    if f["rounding"] == HALF_UP:
        return 1 << bits - 1 if bits else 0
    if f["rounding"] == STOCHASTIC:
        return random_numbers(f, lfsr, high, j, i) & (1 << bits) - 1
    return 0


def rule(
    f: Mapping[str, int],
    lfsr: int,
    reward: int,
    w: np.ndarray,
    e: np.ndarray,
    j: np.ndarray,
    i: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    pre: np.ndarray,
    post: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, bool]:
    """New weights and eligibilities of synapses (j, i), and whether an eligibility was cut to 8 bits; x, y, pre, post
    are per source and target.
    """
    low, high = f["w_min"], f["w_max"]

    def delta(trace: np.ndarray, amount: int, distance: np.ndarray, upper: bool) -> np.ndarray:
        a = np.where(trace > 0, amount, 0) if f["window"] else trace
        product = a * distance if f["soft"] else a
        return product + _added(f, f["f"], lfsr, upper, j, i) >> f["f"]

    fires, fired = pre[j], post[i]
    if not f["eligible"]:
        w = np.where(fires, np.clip(w - delta(y[i], f["dep"], np.maximum(w - low, 0), False), low, high), w)
        w = np.where(fired, np.clip(w + delta(x[j], f["pot"], np.maximum(high - w, 0), True), low, high), w)
        return w, e, False
    e = np.sign(e) * (np.abs(e) * f["e_decay"] >> 8)
    less = np.where(fires, e - delta(y[i], f["dep"], np.maximum(w - low, 0), False), e)
    e = np.maximum(less, -128)
    more = np.where(fired, e + delta(x[j], f["pot"], np.maximum(high - w, 0), True), e)
    e = np.minimum(more, 127)
    cut = bool((less < -128).any() or (more > 127).any())
    if reward:
        w = np.clip(w + (reward * e + _added(f, f["g"], lfsr, True, j, i) >> f["g"]), low, high)
    return w, e, cut


def learn_dense(
    core: CoreModel,
    f: Mapping[str, int],
    x: np.ndarray,
    y: np.ndarray,
    pre: np.ndarray,
    post: np.ndarray,
    activity: Activity,
) -> None:
    """LEARN_DENSE: every enabled field of every row."""
    config = core.config
    j, i = (v.reshape(-1) for v in np.indices((f["sources"], f["targets"])))
    if f["enables"]:
        bit = (f["enable_base"] + j * f["row_words"] + i // config.fields) * config.word_bits + i % config.fields
        on = layout.read_fields(core.pool, bit, 1, signed=False) == 1
        j, i = j[on], i[on]
    at = layout.dense_at(config, f["base"], f["row_words"], j, i)
    e_at = layout.dense_at(config, f["e_base"], f["row_words"], j, i)
    w = layout.read_fields(core.pool, at, config.weight_bits)
    e = layout.read_fields(core.pool, e_at, 8) if f["eligible"] else np.zeros(len(w), np.int64)
    activity.look(x, y, pre, post, core.reward, j, i, e)
    new_w, new_e, cut = rule(f, core.lfsr, core.reward, w, e, j, i, x, y, pre, post)
    core.saturated |= SATURATED_ELIGIBILITY * cut
    layout.write_fields(core.pool, at, new_w, config.weight_bits)
    if f["eligible"]:
        layout.write_fields(core.pool, e_at, new_e, config.weight_bits)


def learn_sparse(
    core: CoreModel,
    f: Mapping[str, int],
    x: np.ndarray,
    y: np.ndarray,
    pre: np.ndarray,
    post: np.ndarray,
    activity: Activity,
) -> None:
    """LEARN_SPARSE: every record of every row."""
    config = core.config
    number, j, i = [], [], []
    for source in range(f["sources"]):
        start, mask = core.header(f, source)
        target, _, _ = core.records(f["base"], start, mask, bool(f["eligible"]))
        number.append(start + np.arange(len(target)))
        j.append(np.full(len(target), source))
        i.append(target - f["target"])
        activity.rows.append((start, [int(t) for t in i[-1]]))
    js, is_ = np.concatenate(j), np.concatenate(i)
    at = layout.record_at(config, f["base"], np.concatenate(number), bool(f["eligible"]))
    w = layout.read_fields(core.pool, at, config.weight_bits)
    e_at = at + config.record_bits(True) - 8
    e = layout.read_fields(core.pool, e_at, 8) if f["eligible"] else np.zeros(len(w), np.int64)
    activity.look(x, y, pre, post, core.reward, js, is_, e)
    new_w, new_e, cut = rule(f, core.lfsr, core.reward, w, e, js, is_, x, y, pre, post)
    core.saturated |= SATURATED_ELIGIBILITY * cut
    layout.write_fields(core.pool, at, new_w, config.weight_bits)
    if f["eligible"]:
        layout.write_fields(core.pool, e_at, new_e, 8)
