"""The learning unit against a plain reading of the rule: memory contents and cycle counts, over all options.

The reading below is written from docs/spiking-core.md ("Learning", "Memories") and shares nothing with the unit.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from amaranth.hdl import Const
from amaranth.sim import Simulator
from neuroloom.compiler.errors import InputError
from neuroloom.compiler.spiking.core import CoreConfig
from neuroloom.compiler.spiking.cycles_learning import Look, learn_dense_cycles, learn_sparse_cycles
from neuroloom.compiler.spiking.isa import FIELDS, Step, encode_command
from neuroloom.rtl.spiking.learn import Learn
from neuroloom.rtl.spiking.learn_fast import check_fast
from neuroloom.rtl.spiking.learn_rule import Rule
from neuroloom.rtl.spiking.learn_serial import SerialLearn

LIMIT = 200_000
"""Cycles after which a command has hung."""

HIST = 1 << 9


def config_of(lanes: int, weight_bits: int, learning: str, neurons: int = 256, cores: int = 1) -> CoreConfig:
    sizes = {"neurons": neurons, "inputs": 128, "pool_words": 8192, "cores": cores}
    return CoreConfig("custom", lanes=lanes, weight_bits=weight_bits, learning=learning, **sizes)


def signed(value: int, bits: int) -> int:
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> bits - 1 else value


def number(half: int, j: int, i: int) -> int:
    """The random number of a synapse."""
    u = ((half + 40503 * j) % 65536) ^ (27469 * i % 65536)
    u = (u ^ u << 7) % 65536
    u ^= u >> 9
    return (u ^ u << 8) % 65536


@dataclass
class Case:
    """One command, what is in memory before it, and the network behind it."""

    config: CoreConfig
    fields: dict[str, int]
    slot: int
    lfsr: int
    reward: int
    x: list[int]
    y: list[int]
    pre: list[int]
    post: list[int]
    weights: dict[tuple[int, int], int]
    eligibility: dict[tuple[int, int], int]
    disabled: set[tuple[int, int]]
    pool: dict[int, int] = field(default_factory=dict)
    hist: dict[tuple[int, int], int] = field(default_factory=dict)
    clipped: bool = False
    rows: list[list[list[int]]] = field(default_factory=list)  # sparse: first record and targets of every row

    def rule(self) -> None:
        """What the command does to weights and eligibilities."""
        a = self.fields
        lo, hi = a["w_min"], a["w_max"]

        def rounding(shift: int, u: int) -> int:
            if a["rounding"] == 0 or (a["rounding"] == 1 and shift == 0):
                return 0
            return 1 << shift - 1 if a["rounding"] == 1 else u % (1 << shift)

        def delta(trace: int, amount: int, distance: int, u: int) -> int:
            value = (amount if trace else 0) if a["window"] else trace
            return value * (distance if a["soft"] else 1) + rounding(a["f"], u) >> a["f"]

        def clamp(value: int, low: int, high: int) -> int:
            return max(low, min(high, value))

        eligible = a["eligible"] and self.config.learning == "reward"
        for (j, i), w in self.weights.items():
            if (j, i) in self.disabled:
                continue
            before_j, before_i = (
                a.get("before_j", 0),
                a.get("before_i", 0),
            )  # neurons of other cores that are counted before
            u_dep, u_pot = (number(half, before_j + j, before_i + i) for half in (self.lfsr & 0xFFFF, self.lfsr >> 16))
            e = self.eligibility.get((j, i), 0)
            if eligible:
                e = (abs(e) * a["e_decay"] >> 8) * (1 if e >= 0 else -1)
            if self.pre[j]:
                d = delta(self.y[i], a["dep"], w - lo, u_dep)
                if eligible:
                    self.clipped |= e - d < -128
                    e = clamp(e - d, -128, 127)
                else:
                    w = clamp(w - d, lo, hi)
            if self.post[i]:
                d = delta(self.x[j], a["pot"], hi - w, u_pot)
                if eligible:
                    self.clipped |= e + d > 127
                    e = clamp(e + d, -128, 127)
                else:
                    w = clamp(w + d, lo, hi)
            if eligible and self.reward:
                w = clamp(w + (self.reward * e + rounding(a["g"], u_pot) >> a["g"]), lo, hi)
            self.weights[j, i] = w
            if eligible:
                self.eligibility[j, i] = e

    def store_dense(self) -> None:
        """Rows, eligibilities and the enable plane into the pool."""
        a, width = self.fields, self.config.weight_bits
        per = self.config.fields
        mask = (1 << width) - 1
        for j in range(len(self.x)):
            for word in range(a["row_words"]):
                at = j * a["row_words"] + word
                row = plane = enable = 0
                for f in range(per):
                    key = (j, word * per + f)
                    row |= (self.weights.get(key, 0) & mask) << f * width
                    plane |= (self.eligibility.get(key, 0) & mask) << f * width
                    enable |= (key not in self.disabled) << f
                self.pool[a["base"] + at] = row
                if a["eligible"]:
                    self.pool[a["e_base"] + at] = plane
                if a["enables"]:
                    self.pool[a["enable_base"] + at] = enable

    def store_sparse(self) -> None:
        """Records and headers into the pool."""
        a, c = self.fields, self.config
        width, bits, per = c.weight_bits, c.record_bits(bool(a["eligible"])), c.records(bool(a["eligible"]))
        words: dict[int, int] = {}
        for j, (start, targets) in enumerate(self.rows):
            for place, i in enumerate(targets):
                record = self.weights[j, i] % (1 << width) | (a["target"] + i) << width
                record |= (place == len(targets) - 1) << width + c.target_bits
                if c.learning == "reward" and a["eligible"]:
                    record |= self.eligibility.get((j, i), 0) % 256 << bits - 8
                r = start[0] + place
                words[r // per] = words.get(r // per, 0) | record << r % per * bits
            value = start[0] % per | start[0] // per << 6
            if c.lanes >= 4:  # 84 bits, 16 headers in as few words as hold them
                shared = {4: 16, 8: 6, 16: 3}[c.lanes]
                word = j % 16 * shared // 16
                place = j % 16 - next(n for n in range(16) if n * shared // 16 == word)
                word += a["header_base"] + j // 16 * shared
                at = 84 * place
                value |= bool(targets) << 20 + 1
            else:
                word, at = a["header_base"] + 4 * j // c.lanes, 32 * (4 * j % c.lanes)
                value |= len(targets) << 20
            self.pool[word] = self.pool.get(word, 0) | value << at
        for word, value in words.items():
            self.pool[a["base"] + word] = value

    def store_states(self, rng: random.Random) -> None:
        """Traces into state blocks, spikes into the history; the words around them hold noise."""
        a, lanes = self.fields, self.config.lanes
        for values, name in ((self.x, "x"), (self.y, "y")):
            for group in range(-(-len(values) // lanes) + 80 // lanes):
                word = 0
                for lane in range(lanes):
                    n = group * lanes + lane
                    word |= (values[n] if n < len(values) else rng.getrandbits(16)) << 32 * lane
                self.pool[a[name + "_base"] + group * a[name + "_stride"] + a[name + "_k"]] = word
        for values, first in ((self.pre, a["first_word"]), (self.post, a["target"] // 16)):
            for word in range(-(-len(values) // 16) + 5):
                bits = 0
                for k in range(16):
                    n = word * 16 + k
                    bits |= (values[n] if n < len(values) else rng.getrandbits(1)) << k
                if (self.slot, first + word) not in self.hist or 16 * word < len(values):
                    self.hist[self.slot, first + word] = bits

    def look(self) -> Look:
        """What the cycle count depends on."""
        return Look(
            x=self.x, y=self.y, pre=self.pre, post=self.post, reward=self.reward,
            eligibility={k: v for k, v in self.eligibility.items() if v},
            rows=[(start[0], targets) for start, targets in self.rows],
        )  # fmt: skip


def random_case(rng: random.Random, config: CoreConfig, sparse: bool, busy: bool = False, **fixed: int) -> Case:
    """A random network, rule and state, in memory."""
    width = config.weight_bits
    sources, targets = rng.choice([1, 5, 16, 17, 33]), rng.choice([1, 3, 16, 20, 40, 90])
    low = rng.randrange(-(1 << width - 1), 1 << width - 2)
    high = rng.randrange(low, 1 << width - 1)
    if rng.random() < 0.3:
        low, high = -(1 << width - 1), (1 << width - 1) - 1
    sources, targets = fixed.get("sources") or sources, fixed.get("targets") or targets  # 0: the memory is as ever
    row_words = -(-targets // config.fields)
    fields = {
        "sources": sources, "targets": targets, "words": -(-sources // 16), "first_word": rng.choice([0, 2, 5]),
        "target": 16 * rng.choice([8, 9, 10]), "row_words": row_words, "w_min": low, "w_max": high,
        "f": rng.choice([0, 1, 2, 4, 4, 8, 8, 10, 16, rng.randrange(32)]), "g": rng.choice([0, 4, 7, rng.randrange(32)]),
        "soft": rng.randrange(2), "window": rng.randrange(2), "rounding": rng.randrange(3),
        "eligible": rng.randrange(2) if config.learning == "reward" else 0,
        "enables": 0 if sparse else rng.random() < 0.3, "e_decay": rng.choice([0, 256, 255, 200, rng.randrange(257)]),
        "pot": rng.choice([1, 3, 65535, rng.randrange(65536)]), "dep": rng.choice([1, 2, 65535, rng.randrange(65536)]),
        "x_k": rng.randrange(3), "x_stride": rng.choice([3, 5]), "y_k": rng.randrange(4), "y_stride": rng.choice([4, 7, 8]),
        "x_base": 0, "y_base": 1000, "base": 3000, "e_base": 4500, "enable_base": 6000, "header_base": 2500,
    }  # fmt: skip
    fields |= fixed
    low, high = fields["w_min"], fields["w_max"]
    activity = 0.5 if busy else rng.choice([0, 0.1, 0.5, 1])
    active = 1 if busy else rng.choice([0, 0.2, 1])

    def trace() -> int:
        return rng.choice([1, 65535, rng.randrange(65536), rng.randrange(300)]) if rng.random() < active else 0

    pairs = [(j, i) for j in range(sources) for i in range(targets)]
    if sparse:
        pairs = [p for p in pairs if rng.random() < (0.3 if targets < 90 else 0.1)]
    case = Case(
        config, {k: int(v) for k, v in fields.items()}, rng.randrange(4), rng.getrandbits(32),
        rng.choice([0, 1, -1, 127, -128, rng.randrange(-128, 128)]),
        [trace() for _ in range(sources)], [trace() for _ in range(targets)],
        [int(rng.random() < activity) for _ in range(sources)], [int(rng.random() < activity) for _ in range(targets)],
        {p: rng.randint(low, high) for p in pairs},
        {}, set(),
    )  # fmt: skip
    if config.learning == "reward":
        dense_e = rng.random()
        case.eligibility = {p: rng.randrange(-128, 128) if rng.random() < dense_e**4 else 0 for p in pairs}
    if fields["enables"]:
        case.disabled = {p for p in pairs if rng.random() < 0.3}
    if sparse:
        start = rng.randrange(5)
        for j in range(sources):
            mine = [i for jj, i in pairs if jj == j]
            rng.shuffle(mine)
            case.rows.append([[start], mine])
            start += len(mine)
        case.store_sparse()
    else:
        case.store_dense()
    case.store_states(rng)
    return case


def run(cases: list[Case], config: CoreConfig, sparse: bool, fast: bool = False) -> list[int]:
    """Run the cases one after the other on one unit; the pools hold the result. Returns their cycles."""
    serial = config.serial_learning
    unit: Any = SerialLearn(config, behavioural=True) if serial else Learn(config, fast=fast)
    program: dict[int, int] = {}
    current: list[Case] = []
    cycles: list[int] = []
    clipped: set[bool] = set()
    rng = random.Random(1)

    async def memories(ctx: Any) -> None:
        signals = [
            Const(0) if serial else unit.saturated,
            unit.pool.addr,
            unit.pool.write,
            unit.pool.data_w,
            unit.hist.slot,
            unit.hist.word,
            unit.hist.write,
        ]
        if fast:
            signals += [unit.rows.write, unit.rows.addr, unit.rows.data]
        earlier = [(0, 0, 0, None)] * (config.pool_cycles - 1)  # a register in front of the pool
        if serial:
            signals += [unit.program.addr]
        async for _, _, saturated, addr, write, data, slot, word, hist_write, *rows in ctx.tick().sample(*signals):
            if not current:
                continue
            case = current[0]
            clipped.add(bool(saturated))
            noise = rng.getrandbits(config.word_bits)
            earlier.append((addr, write, data, rows))
            addr, write, data, rows = earlier.pop(0)
            ctx.set(unit.pool.data_r, noise if write else case.pool.get(addr, noise))
            ctx.set(unit.hist.data_r, case.hist.get((slot, word), noise & 0xFFFF))
            assert not hist_write
            if serial:
                ctx.set(unit.program.data_r, program.get(rows[0], rng.getrandbits(32)))
            elif rows and rows[0]:
                assert not write and rows[1] in case.pool
                case.pool[rows[1]] = rows[2]
            if write:
                assert addr in case.pool, f"wrote to {addr}, where nothing is"
                case.pool[addr] = data

    async def drive(ctx: Any) -> None:
        for case in cases:
            current[:] = [case]
            clipped.clear()
            if serial:  # it reads its fields itself
                at = 4 * rng.randrange(100)
                command = {name: value for name, value in case.fields.items() if name in FIELDS[Step.LEARN_DENSE]}
                program.update(enumerate(encode_command(Step.LEARN_DENSE, command), at))
                ctx.set(unit.behind, at // 4 + 3)
            else:
                for name in FIELDS[Step.LEARN_DENSE]:
                    if name in unit.signature.members:
                        ctx.set(getattr(unit, name), case.fields.get(name, 0))
                ctx.set(unit.reward, case.reward)
            ctx.set(unit.slot, case.slot)
            ctx.set(unit.lfsr, case.lfsr)
            ctx.set(unit.sparse, sparse)
            ctx.set(unit.start, 1)
            spent = 1
            await ctx.tick()
            ctx.set(unit.start, 0)
            while not ctx.get(unit.done):
                spent += 1
                assert spent < LIMIT, "the command hangs"
                await ctx.tick()
            cycles.append(spent + 1)
            assert clipped == {case.clipped, False}
            await ctx.tick()
            assert not ctx.get(unit.pool.addr | unit.pool.write | unit.pool.data_w | unit.hist.word | unit.hist.slot)
            await ctx.tick()

    sim = Simulator(unit)
    sim.add_clock(1e-6)
    sim.add_process(memories)
    sim.add_testbench(drive)
    sim.run()
    return cycles


def check(cases: list[Case], config: CoreConfig, sparse: bool, fast: bool = False) -> None:
    """Memory and cycles of every case equal the reading's."""
    formula: Callable[..., int] = learn_sparse_cycles if sparse else learn_dense_cycles
    predicted, expected = [], []
    for case in cases:
        predicted.append(formula(config, case.fields, case.look(), fast=fast))
        before = dict(case.pool)
        case.rule()
        case.store_sparse() if sparse else case.store_dense()
        if sparse:  # headers are or-ed into what is there: unchanged
            assert all(case.pool[k] == before[k] for k in before if 2500 <= k < 3000)
        expected.append(case.pool)
        case.pool = before
    cycles = run(cases, config, sparse, fast)
    for case, pool in zip(cases, expected, strict=True):
        wrong = {k: (hex(case.pool[k]), hex(v)) for k, v in pool.items() if case.pool[k] != v}
        assert not wrong, f"{case.fields} reward {case.reward}: {len(wrong)} words, {dict(list(wrong.items())[:3])}"
    assert cycles == predicted


BUILDS = [
    (2, 8, "stdp", False), (2, 8, "reward", False), (1, 8, "reward", False), (4, 8, "reward", True),
    (1, 8, "stdp", False), (8, 16, "reward", False), (2, 16, "stdp", False), (16, 8, "reward", True),
]  # fmt: skip
"""Lanes, bits of a weight, learning, fast."""


@pytest.mark.parametrize(("lanes", "bits", "learning", "fast"), BUILDS)
def test_dense_rule(lanes: int, bits: int, learning: str, fast: bool) -> None:
    config, rng = config_of(lanes, bits, learning), random.Random(lanes * 100 + bits)
    check(
        [random_case(rng, config, False, k % 2 == 0, rounding=k % 3) for k in range(8 if lanes * bits == 16 else 3)],
        config,
        False,
        fast,
    )


@pytest.mark.parametrize(("lanes", "bits", "learning", "fast"), BUILDS)
def test_sparse_rule(lanes: int, bits: int, learning: str, fast: bool) -> None:
    config, rng = config_of(lanes, bits, learning), random.Random(lanes * 100 + bits + 7)
    check(
        [random_case(rng, config, True, k % 2 == 0, rounding=k % 3) for k in range(4 if lanes * bits == 16 else 2)],
        config,
        True,
        fast,
    )


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("lanes", [1, 4])
def test_random_numbers_of_fragments(lanes: int, sparse: bool) -> None:
    """On one of several cores the first source and target are any multiples of 16 of their populations."""
    config, rng = config_of(lanes, 8, "reward", cores=2), random.Random(lanes)
    cases = []
    for j, i in ((0, 0), (16, 3568), (4080, 16)):
        starts = {"x": 40503 * j, "y": 27469 * i}
        fields = {f"{side}_random": start >> 8 & 255 for side, start in starts.items()}
        fields |= {f"{side}_random_low": start >> 4 & 15 for side, start in starts.items()}
        small = {"sources": 5, "targets": 21, "f": 10, "g": 6, "before_j": j, "before_i": i}
        cases.append(random_case(rng, config, sparse, True, rounding=2, **small, **fields))
    check(cases, config, sparse, lanes == 4)


@pytest.mark.parametrize("sparse", [False, True])
def test_ties_and_extremes(sparse: bool) -> None:
    config, rng = config_of(2, 8, "reward"), random.Random(9)
    small = {"sources": 5, "targets": 16}
    cases = [
        random_case(rng, config, sparse, True, rounding=1, f=f, soft=f % 2, eligible=0, enables=0, **small)
        for f in (0, 1, 2, 3, 7, 14, 15, 16, 17, 24, 31)
    ]
    cases += [
        random_case(rng, config, sparse, True, eligible=1, window=1, rounding=g % 3, g=g, pot=80, dep=70, f=0, **small)
        for g in (0, 1, 5, 6, 8, 13, 14, 15, 16, 26)
    ]
    check(cases, config, sparse)


@pytest.mark.parametrize("sparse", [False, True])
def test_serial_unit(sparse: bool) -> None:
    """Every way to bring a change down and to round it, with and without random numbers, soft bounds, windows, enable planes."""
    config, rng = config_of(1, 8, "stdp", 1024), random.Random(11)
    small = {"sources": 5, "targets": 21}
    cases = [
        random_case(rng, config, sparse, True, rounding=r, f=f, **small)
        for r, f in itertools.product(range(3), (0, 1, 7, 15, 16, 17, 24, 31))
    ]
    cases += [random_case(rng, config, sparse, sources=n, targets=m) for n, m in ((1, 1), (17, 4), (33, 16), (2, 40))]
    check(cases, config, sparse)


@pytest.mark.parametrize("lanes", [4, 8, 16])
def test_fast_additive_rule(lanes: int) -> None:
    config, rng = config_of(lanes, 8, "stdp"), random.Random(lanes)
    fixed = {"soft": 0, "enables": 0, "eligible": 0}
    cases = [
        random_case(rng, config, False, rounding=k % 2, window=k // 2 % 2, **fixed)
        for k in range(12 if lanes < 16 else 6)
    ]
    cases += [random_case(rng, config, False, rounding=2, f=f, **fixed) for f in (0, 1, 8, 15, 16)]
    cases += [
        random_case(rng, config, False, True, rounding=2, f=f, window=f % 2, **fixed) for f in (0, 3, 9, 12, 13, 16)
    ]
    check(cases, config, False, True)


@pytest.mark.parametrize("lanes", [1, 2])
@pytest.mark.parametrize("sparse", [False, True])
def test_nothing_to_learn(sparse: bool, lanes: int) -> None:
    config, rng = config_of(lanes, 8, "stdp"), random.Random(3)
    cases = [random_case(rng, config, sparse, sources=0), random_case(rng, config, sparse, targets=0)]
    before = [dict(case.pool) for case in cases]
    formula: Callable[..., int] = learn_sparse_cycles if sparse else learn_dense_cycles
    predicted = [formula(config, case.fields, case.look()) for case in cases]
    assert predicted == [2, 2] or lanes == 1
    assert run(cases, config, sparse) == predicted
    assert [case.pool for case in cases] == before


def test_builds_that_cannot_learn() -> None:
    with pytest.raises(InputError, match="at least 4 weights in a pool word, not 2"):
        Rule(config_of(1, 16, "stdp"))
    with pytest.raises(InputError, match="8-bit weights and at least 4 lanes, not 16-bit weights and 16 lanes"):
        check_fast(config_of(16, 16, "stdp"))
