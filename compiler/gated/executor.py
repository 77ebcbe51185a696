"""Runs programs word by word, with the cycle of every one: the engine's behaviour in integers, without its hardware."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from neuroloom.compiler.errors import InputError

from .core import GatedConfig
from .isa import LEVELS, LISTS, OFFSETS, Op, Rounding, Source, decode
from .program import Program
from .walks import LATER


@dataclass(frozen=True)
class Run:
    """One run: the answer's bytes, ``cycles`` without those of the streams, ``total`` with them when nobody waits."""

    answer: bytes
    cycles: int
    total: int
    multiplies: int
    taken: int


class Executor:
    """An engine with a program in it; states stay from run to run."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.config: GatedConfig = program.config
        self.timing = program.config.timing
        self.words = [decode(word) for word in program.words]
        self.memory = np.zeros(1 << 16, np.int64)
        for address, word in program.image.items():
            self.memory[address] = word
        self.tables = np.array([*program.tables, 0], np.int64)
        self.weights = program.weights.astype(np.int64)
        self.banks = np.zeros((max(self.config.banks, 1), self.config.lanes), np.int64)
        self.lists = [0] * (LISTS + 1)
        self.changes = [(0, np.zeros(self.config.groups, np.int64))] * max(self.config.changes, 1)
        self.multiplies = np.count_nonzero(self.weights, axis=1) if len(self.weights) else np.zeros(1, np.int64)

    # ------------------------------------------------------------------ control

    def run(self, sample: bytes, *, fresh: bool) -> Run:
        """One sample or step; raises InputError when the sample has too few bytes."""
        self.offsets = [0] * OFFSETS
        self.loops = [0] * LEVELS
        self.acc = np.zeros(self.config.lanes, np.int64)
        self.captures: list[tuple[int, np.ndarray]] = []
        self.pick_value, self.pick_index = 0, 0
        self.terms: dict[int, dict[str, int]] = {}
        self.bits, self.count, self.bytes, self.at = 0, 0, sample, 0
        self.answer = bytearray()
        self.streaming, self.work, self.free = 0, 0, 0
        # fetch is one cycle, the first instruction the next
        pc, now = int(fresh), self.timing.start
        while True:
            op, f = self.words[pc]
            pc += 1
            if op == Op.HALT:
                now += 1
                return Run(bytes(self.answer), now - 1 - self.streaming, now, self.work, self.at)
            if op == Op.LOOP:
                self.loops[f["level"]] = f["count"] - 1
                now += 1
            elif op == Op.END:
                if self.loops[f["level"]]:
                    self.loops[f["level"]] -= 1
                    pc = f["target"]
                    now += self.timing.taken
                else:
                    now += 1
            elif op == Op.JUMP:
                pc, now = f["target"], now + self.timing.taken
            elif op == Op.BR:
                element = int(self.memory[self._address(f["addr"], f["areg"])])
                if (element == f["imm"]) != bool(f["unequal"]):
                    pc, now = f["target"], now + self.timing.branch + self.timing.taken - 1
                else:
                    now += self.timing.branch
            elif op == Op.LDO:
                self._set(f["reg"], int(self.memory[self._address(f["addr"], f["areg"])]))
                now += self.timing.branch
            elif op == Op.OFF:
                self._set(f["reg"], self.offsets[f["src"]] + f["imm"])
                now += 1 + f["delay"]
            elif op in (Op.IN, Op.OUT):
                cycles = self._stream(op, f)
                self.streaming += cycles
                now += cycles + self.timing.stream
            else:
                if op == Op.MAC:
                    self._mac(f, now)
                elif op == Op.CMAC:
                    now = max(now, self.free)
                    self._changed(f, now)
                elif op == Op.DELTA:
                    self._delta(f)
                elif op == Op.TERM:
                    self.terms[f["slot"]] = f
                elif op == Op.VEC:
                    self._vec(f)
                elif op == Op.DRAIN:
                    self._drain(f, now)
                elif op == Op.PICK:
                    self._pick(f)
                now += 1 + f.get("delay", 0)

    def _set(self, register: int, value: int) -> None:
        if register:
            self.offsets[register] = value & 0xFFFF

    def _address(self, address: int, register: int) -> int:
        return (address + self.offsets[register]) & 0xFFFF

    # ------------------------------------------------------------------ units

    def _mac(self, f: dict[str, int], now: int) -> None:
        c = self.config
        count = f["n0"] * f["n1"]
        step = np.arange(count)
        x = self._address(f["x_addr"], f["x_reg"]) + step // f["n0"] * f["s1"] + step % f["n0"] * f["s0"]
        rows = self._address(f["w_addr"], f["w_reg"]) + step
        weights = self.weights[rows].reshape(count, c.groups, c.per_group)
        group = np.arange(c.groups)
        element = x[:, None] + (0 * group if f["same"] else group)
        products = self.memory[element & 0xFFFF][:, :, None] * weights
        total = products.sum(axis=0).reshape(-1)
        self.acc = _wrap(total if f["first"] else self.acc + total, c.acc)
        self.work += int(self.multiplies[rows].sum())
        if f["capture"]:
            self.captures.append((now + self.timing.read + count - 1 + self.timing.sum + 1, self.acc))

    def _changed(self, f: dict[str, int], now: int) -> None:
        """A CMAC: the sum goes on, or begins with a bank's or with 0; the changes of a list times their weight rows."""
        c = self.config
        count = self.lists[f["list"]]
        total = self.acc
        if f["first"]:
            total = self.banks[f["bank"]] if f["load"] else np.zeros(c.lanes, np.int64)
        first, rows = self._address(f["entry"], f["e_reg"]), self._address(f["w_addr"], f["w_reg"])
        for place, by in self.changes[first : first + count]:
            total = total + np.repeat(by, c.per_group) * self.weights[rows + place]
            self.work += int(self.multiplies[rows + place])
        self.acc = _wrap(total, c.acc)
        beats = f["pad"] + count
        self.free = now + beats
        if f["capture"]:
            self.banks[f["bank"]] = self.acc
            self.captures.append((now + self.timing.read + LATER + beats - 1 + self.timing.sum + 1, self.acc))

    def _delta(self, f: dict[str, int]) -> None:
        """Lists the elements that changed, ``groups`` at a time, and keeps their new values where the old ones stood."""
        c = self.config
        new, old = (self._address(f[f"{name}_addr"], f[f"{name}_reg"]) for name in "ab")
        count = 0
        for at in range(0, f["n"], c.groups):
            place = np.arange(at, min(at + c.groups, f["n"]))
            gap = self.memory[new + place] - self.memory[old + place]
            gap = np.where(np.abs(gap) >= f["threshold"], gap, 0)
            if gap.any():
                by = np.zeros(c.groups, np.int64)
                by[: len(gap)] = gap
                self.changes[f["entry"] + count] = at // c.groups, by
                self.memory[old + place] += gap
                count += 1
        self.lists[f["list"]] = count

    def _vec(self, f: dict[str, int]) -> None:
        c = self.config
        rows = np.arange(f["rows"])
        lanes = np.arange(c.ports)
        total = np.zeros((len(rows), c.ports), np.int64)
        for number in range(f["terms"]):
            t = self.terms[number]
            inner = np.arange(t["n"])
            operands = []
            for name in "ab":
                first = self._address(t[f"{name}_addr"], t[f"{name}_reg"])
                at = first + rows[:, None] * t[f"{name}_rs"] + inner * t[f"{name}_ks"]
                one = t[f"{name}_bcast"]
                # a row read takes all words of the row, wherever in it the address points
                where = at[:, :, None] + 0 * lanes if one else (at - at % c.ports)[:, :, None] + lanes
                operands.append(self.memory[where & 0xFFFF])
            product = (operands[0] * operands[1]).sum(axis=1)
            if t["lift"]:
                total = total << c.digit
            total = _wrap(total - product if t["negate"] else total + product, c.wide)
        self._emit(f, total)

    def _drain(self, f: dict[str, int], now: int) -> None:
        c = self.config
        if f["source"] in (Source.VALUE, Source.INDEX):
            value = self.pick_value if f["source"] == Source.VALUE else self.pick_index
            self._emit(f, np.full((1, c.ports), value))
            return
        hold = [values for cycle, values in self.captures if cycle <= now + self.timing.read][-1]
        sums = hold.reshape(c.groups, c.per_group).sum(axis=0).reshape(-1, c.ports)
        self._emit(f, sums[: f["rows"]])

    def _emit(self, f: dict[str, int], values: np.ndarray) -> None:
        c = self.config
        words = fit(values, f)
        if f["table"]:
            words = self.tables[np.clip(words + f["tbase"], 0, len(self.tables) - 1)]
        first = self._address(f["d_addr"], f["d_reg"])
        for number, row in enumerate(words):
            at = first + number * f["d_rs"]
            if f["element"]:
                self.memory[at & 0xFFFF] = row[at % c.ports]
                continue
            count = f["tail"] if number == len(words) - 1 else c.ports
            at -= at % c.ports
            self.memory[at : at + count] = row[:count]

    def _pick(self, f: dict[str, int]) -> None:
        c = self.config
        best: tuple[int, int] | None = None
        sign = 1 if f["largest"] else -1
        for number in range(f["n"]):
            at = self._address(f["x_addr"], f["x_reg"]) + number * f["stride"]
            key = int(self.memory[at & 0xFFFF])
            for part in range(1, f["parts"]):
                key = (key << c.digit) | int(self.memory[(at - part * f["part_stride"]) & 0xFFFF])
            behind = sign * key < sign * self.pick_value or (key == self.pick_value and number > self.pick_index)
            if (best is None or sign * key > sign * best[0]) and (not f["again"] or behind):
                best = key, number
        if best is not None:
            self.pick_value, self.pick_index = best

    def _stream(self, op: Op, f: dict[str, int]) -> int:
        """IN or OUT; returns the cycles in which the stream unit is busy when the other side never waits."""
        if f["first"]:
            self.bits = self.count = 0
        start = self._address(f["addr"], f["reg"])
        serial, cycles = self.config.serial, 1
        for number in range(f["n"]):
            for part in range(f["parts"]):
                at = (start + number * f["stride"] + part * f["part_stride"]) & 0xFFFF
                last = part == f["parts"] - 1
                width = f["width"] if last else self.config.digit
                if op == Op.IN:
                    while self.count < width:
                        if self.at >= len(self.bytes):
                            raise InputError(f"sample must have more than {len(self.bytes)} bytes")
                        self.bits |= self.bytes[self.at] << self.count
                        self.at, self.count, cycles = self.at + 1, self.count + 8, cycles + 1
                    value = self.bits & (1 << width) - 1
                    if last and f["signed"] and value >> width - 1:
                        value -= 1 << width
                    self.memory[at] = value
                    self.bits, self.count = self.bits >> width, self.count - width
                    cycles += 1 + (width if serial else 0)
                else:
                    cycles += self._give()
                    self.bits |= (int(self.memory[at]) & (1 << width) - 1) << self.count
                    self.count += width
                    cycles += self.timing.field + (width + 1 if serial else 0)
        if op == Op.OUT:
            cycles += self._give()
            if f["last"] and self.count:
                cycles += 1 + (8 - self.count if serial else 0)
                self.answer.append(self.bits & 0xFF)
                self.bits, self.count = 0, 0
        return cycles

    def _give(self) -> int:
        given = 0
        while self.count >= 8:
            self.answer.append(self.bits & 0xFF)
            self.bits, self.count, given = self.bits >> 8, self.count - 8, given + 1
        return given


def _wrap(values: np.ndarray, bits: int) -> np.ndarray:
    """Two's complement of ``bits`` bits."""
    if bits >= 64:
        return values
    return (values << 64 - bits) >> 64 - bits


def fit(values: np.ndarray, f: dict[str, int]) -> np.ndarray:
    """What the ports make of sums: shifted, rounded, saturated or wrapped."""
    shift = f["shift"]
    whole = values >> shift
    rest = values - (whole << shift)
    half = 1 << shift - 1 if shift else 0
    if shift and f["rounding"] == Rounding.HALF_UP:
        whole = whole + (rest >= half)
    elif shift and f["rounding"] == Rounding.HALF_EVEN:
        whole = whole + ((rest > half) | ((rest == half) & (whole & 1 == 1)))
    elif shift and f["rounding"] == Rounding.TOWARD_ZERO:
        whole = whole + ((values < 0) & (rest > 0))
    width = f["width"]
    if f["wrap"]:
        whole = whole & (1 << width) - 1
        return np.where(whole >> width - 1 & 1, whole - (1 << width), whole) if f["signed"] else whole
    lo, hi = (-(1 << width - 1), (1 << width - 1) - 1) if f["signed"] else (0, (1 << width) - 1)
    return np.clip(whole, lo, hi)
