"""The lanes of the core's model: registers and instructions of the microcode, as ``docs/spiking-core.md`` says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from . import layout
from .isa import RND_HALF_UP, RND_SHIFT8, RND_TOWARD_ZERO, SQR_BITS, Op, rider_of

if TYPE_CHECKING:
    from .executor import CoreModel

SATURATED_SUM, SATURATED_ROUND = 2, 4


class Lanes:
    """Registers of every lane of every group of a SCAN, int64 [groups·P]."""

    def __init__(self, core: CoreModel, f: Mapping[str, int]) -> None:
        config = core.config
        self.core, self.config = core, config
        self.count = f["groups"] * config.lanes
        self.first = f["first_group"] * config.lanes
        self.base, self.stride = f["state_base"], f["stride"]
        self.valid = np.arange(self.count) < f["neurons"]
        self.top = 1 << config.state_bits - 1
        self.a, self.b, self.p = (np.zeros(self.count, np.int64) for _ in range(3))
        self.f, self.k = np.zeros(self.count, bool), np.zeros(self.count, bool)

    def execute(self, word: int) -> None:
        """One instruction on all lanes, and the IMM that rides on it."""
        rider = rider_of(word)
        _OPS[Op(word >> 26 & 31)](self, word & 0xFFFFFF if rider is None else word & 15)
        if rider is not None:
            self.b = self.constant(rider & 0xFFFFFF)

    def sat(self, x: np.ndarray, kind: int) -> np.ndarray:
        """x saturated to S bits; raises the sticky bit of ``kind``."""
        if ((x >= self.top) | (x < -self.top))[self.valid].any():
            self.core.saturated |= kind
        return np.clip(x, -self.top, self.top - 1)

    def at(self, k: int) -> np.ndarray:
        return layout.state_at(self.config, self.base, self.stride, k & 15, self.count)

    def load(self, k: int) -> np.ndarray:
        return layout.read_fields(self.core.pool, self.at(k), self.config.state_bits)

    def store(self, k: int, value: np.ndarray) -> None:
        layout.write_fields(self.core.pool, self.at(k), value, 32)

    def take(self) -> np.ndarray:
        span = slice(self.first, self.first + self.count)
        out = self.core.acc[span].copy()
        self.core.acc[span] = 0
        return out

    def constant(self, imm: int) -> np.ndarray:
        value = imm - (1 << 24) if imm >> 23 else imm
        value = (value + self.top) % (2 * self.top) - self.top
        return np.full(self.count, value, np.int64)

    def low18(self, x: np.ndarray) -> np.ndarray:
        half = 1 << SQR_BITS - 1
        return (x + half) % (2 * half) - half

    def rounded(self, imm: int) -> np.ndarray:
        s = 8 if imm & RND_SHIFT8 else 16
        r = (1 << s - 1) * bool(imm & RND_HALF_UP) + np.where(self.p < 0, (1 << s) - 1, 0) * bool(imm & RND_TOWARD_ZERO)
        return self.sat(self.p + r >> s, SATURATED_ROUND)

    def spikes(self, back: int) -> np.ndarray:
        slot = (self.core.step - back) % self.config.slots
        return self.core.history[slot, self.first : self.first + self.count].copy()

    def best(self) -> None:
        may = np.flatnonzero(self.f & self.valid)
        if len(may):
            n = int(may[np.argmax(self.a[may])])
            if self.core.best is None or self.a[n] > self.core.best[0]:
                self.core.best = int(self.a[n]), self.first + n

    def winner(self) -> np.ndarray:
        out = np.zeros(self.count, bool)
        if self.core.best and 0 <= self.core.best[1] - self.first < self.count:
            out[self.core.best[1] - self.first] = True
        return out


def _set(name: str, value: Callable[[Lanes, int], np.ndarray]) -> Callable[[Lanes, int], None]:
    return lambda s, imm: setattr(s, name, value(s, imm))


def _swap(s: Lanes, imm: int) -> None:
    s.a, s.b = s.b, s.a


_OPS: dict[Op, Callable[[Lanes, int], None]] = {
    Op.NOP: lambda s, imm: None,
    Op.LDA: _set("a", lambda s, imm: s.load(imm)),
    Op.LDB: _set("b", lambda s, imm: s.load(imm)),
    Op.STA: lambda s, imm: s.store(imm, s.a),
    Op.STB: lambda s, imm: s.store(imm, s.b),
    Op.ACC: _set("a", lambda s, imm: s.take()),
    Op.IMM: _set("b", lambda s, imm: s.constant(imm)),
    Op.MOV: _set("b", lambda s, imm: s.a),
    Op.SWP: _swap,
    Op.ADD: _set("a", lambda s, imm: s.sat(s.a + s.b, SATURATED_SUM)),
    Op.SUB: _set("a", lambda s, imm: s.sat(s.a - s.b, SATURATED_SUM)),
    Op.MUL: _set("p", lambda s, imm: s.a * (imm & 0x1FFFF)),
    Op.SQR: _set("p", lambda s, imm: s.low18(s.a) * s.low18(s.b)),
    Op.RND: _set("a", lambda s, imm: s.rounded(imm)),
    Op.CGT: _set("f", lambda s, imm: s.a > s.b),
    Op.CGE: _set("f", lambda s, imm: s.a >= s.b),
    Op.CEQ: _set("f", lambda s, imm: s.a == s.b),
    Op.NOT: _set("f", lambda s, imm: ~s.f),
    Op.FSP: _set("f", lambda s, imm: s.spikes(1)),
    Op.FK: _set("f", lambda s, imm: s.k),
    Op.KF: _set("k", lambda s, imm: s.f),
    Op.KAF: _set("k", lambda s, imm: s.k & s.f),
    Op.FAK: _set("f", lambda s, imm: s.f & s.k),
    Op.FOK: _set("f", lambda s, imm: s.f | s.k),
    Op.SEL: _set("a", lambda s, imm: np.where(s.f, s.b, s.a)),
    Op.MIN: _set("a", lambda s, imm: np.minimum(s.a, s.b)),
    Op.MAX: _set("a", lambda s, imm: np.maximum(s.a, s.b)),
    Op.BST: lambda s, imm: s.best(),
    Op.WIN: _set("f", lambda s, imm: s.winner()),
    Op.INJ: _set("f", lambda s, imm: s.spikes(0)),
}
