"""The core against the model of its contract: bytes in, bytes out, cycle counts included."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from neuroloom.compiler.spiking import cycles
from neuroloom.compiler.spiking.core import CORES, CoreConfig
from neuroloom.compiler.spiking.isa import MUL_BITS, STATE_OPS, Instruction, Op, Step, assemble, encode_command


def config_of(lanes: int, slots: int, **other: Any) -> CoreConfig:
    values = {"neurons": 64, "inputs": 32, "pool_words": 1024, "program_words": 256, "event_depth": 1024} | other
    return CoreConfig("custom", lanes=lanes, slots=slots, **values)


def random_microcode(rng: random.Random, length: int, stride: int, *, large: bool) -> list[int]:
    """Instructions of every kind; every population reads and writes state and may spike."""
    out = []
    for _ in range(length):
        op = rng.choice(list(Op))
        imm = 0
        if op in STATE_OPS:
            imm = rng.randrange(stride)
        elif op is Op.MUL:
            imm = rng.choice([rng.randrange(1 << MUL_BITS), 0, 65536, 65535])
        elif op is Op.RND:
            imm = rng.choice([0, 1, 2, 3, 4, 5])
        elif op is Op.IMM:
            imm = rng.choice([rng.randrange(-(1 << 23), 1 << 23), rng.randrange(-99, 99), 0])
        out.append(Instruction(op, imm))
    return assemble(out, large=large)


def random_table(
    rng: random.Random, config: CoreConfig, sources: int, share: float, eligible: bool
) -> tuple[list[list[int]], list[int]]:
    """Pool words of row headers and of records, rows behind each other."""
    headers, entries = [], []
    per, bits = config.records(eligible), config.record_bits(eligible)
    for _ in range(sources):
        delays = [d for d in range(config.slots) if rng.random() < share]
        mask = sum(1 << d for d in delays)
        start = len(entries)
        for _delay in delays:
            count = rng.choice([1, 1, 2, 5])
            for n in range(count):
                weight = rng.randrange(1 << config.weight_bits)
                target = rng.randrange(config.neurons)
                entries.append(
                    weight
                    | target << config.weight_bits
                    | (n == count - 1) << config.weight_bits + config.target_bits
                    | (rng.getrandbits(8) << config.weight_bits + config.target_bits + 1) * eligible
                )
        where = start % per | start // per << 6
        headers.append((where, len(entries) - start, mask))
    words = []
    for at in range(0, len(entries), per):
        words.append(sum(e << bits * n for n, e in enumerate(entries[at : at + per])))
    return header_words(rng, config, headers), words


def header_words(rng: random.Random, config: CoreConfig, headers: list[tuple[int, int, int]]) -> list[list[int]]:
    """Pool words of headers: of 84 bits, packed evenly, or in four units."""
    lanes = config.lanes
    if lanes < 4:
        units = [
            v
            for where, n, mask in headers
            for v in (where | n << 20, mask & 0xFFFFFFFF, mask >> 32, rng.getrandbits(32))
        ]
        units += [0] * (-len(units) % lanes)
        return [units[n : n + lanes] for n in range(0, len(units), lanes)]
    stride = {4: 16, 8: 6, 16: 3}[lanes]
    words = [0] * (len(headers) // 16 * stride)
    filled = [0] * len(words)
    for j, (where, _, mask) in enumerate(headers):
        at = j // 16 * stride + j % 16 * stride // 16
        words[at] |= (where | mask << 20) << 84 * filled[at]
        filled[at] += 1
    return [split(word, lanes) for word in words]


def split(word: int, lanes: int) -> list[int]:
    return [word >> 32 * lane & 0xFFFFFFFF for lane in range(lanes)]


def random_session(session: Callable[..., Any], config: CoreConfig, seed: int, *, sparse: bool = True) -> Any:
    """Random memories and a step program with every command; two runs, spikes from the host and from a raster."""
    rng = random.Random(seed)
    s = session(config)
    lanes, words = config.lanes, config.neurons // 16
    s.zero()
    free = 0

    def place(content: list[list[int]]) -> int:
        nonlocal free
        base, free = free, free + len(content)
        assert free <= config.pool_words
        s.load_pool(base, content)
        return base

    def noise(count: int, bits: int = 32) -> list[list[int]]:
        return [[rng.getrandbits(bits) for _ in range(lanes)] for _ in range(count)]

    # Populations over all neurons, the last group partly used.
    populations = []
    first = 0
    while first < words:
        size = rng.randint(1, min(3, words - first))
        neurons = 16 * size - rng.choice([0, 1, 5, 13])
        stride = rng.randint(1, 4)
        groups = -(-neurons // lanes)
        small = [[v & 0xFFFF for v in w] for w in noise(groups * stride)]
        populations.append((16 * first, neurons, stride, place(rng.choice([small, noise(groups * stride)]))))
        first += size
    used = free

    program: list[int] = []
    commands: list[tuple[Step, dict[str, int]]] = []
    steps = 5
    raster_words = -(-config.inputs // 16 // (2 * lanes)) + -(-words // (2 * lanes))
    raster = place([[v & rng.getrandbits(32) for v in w] for w in noise(steps * raster_words)])
    commands.append((Step.INPUTS, {"first_word": words, "words": config.inputs // 16, "raster_base": raster}))
    commands.append((Step.INPUTS, {"first_word": 0, "words": words, "raster_base": raster}))

    def deliver() -> None:
        first_word = rng.randrange(config.sources // 16)
        count = rng.randint(1, min(3, config.sources // 16 - first_word))
        if sparse and rng.random() < 0.6:
            eligible = config.learning == "reward" and rng.random() < 0.5
            headers, records = random_table(rng, config, 16 * count, min(0.7, 4 / config.slots), eligible)
            base = place(headers)
            table = place([split(w, lanes) for w in records])
            delays = rng.getrandbits(config.slots) & rng.getrandbits(config.slots)
            fields = {"delays_low": delays & 0xFFFFFFFF, "delays_high": delays >> 32}
            fields |= {"header_base": base, "record_base": table, "eligible": int(eligible)}
            commands.append((Step.SPARSE, {"first_word": first_word, "words": count, **fields}))
        else:
            target = rng.randrange(config.neurons // config.fields) * config.fields
            row = rng.randint(1, max(1, min(3, (config.neurons - target) // config.fields)))
            base = place(noise(16 * count * row))
            fields = {"base": base, "row_words": row, "delay": rng.randrange(config.slots), "target": target}
            fields["shift8"] = rng.randrange(2)
            commands.append((Step.DENSE, {"first_word": first_word, "words": count, **fields}))

    deliver()
    scans = []
    for base_neuron, neurons, stride, base in populations:
        fields = {
            "first_group": base_neuron // lanes,
            "groups": -(-neurons // lanes),
            "state_base": base,
            "stride": stride,
        }
        fields |= {"watch": rng.randrange(2), "reset_best": rng.randrange(2), "neurons": neurons}
        scans.append(fields)
        commands.append((Step.SCAN, fields))
        deliver()
    deliver()
    at = sum(len(encode_command(step, {})) for step, _ in commands) + 4
    codes: list[int] = []
    for fields in scans:
        fields["pc"] = at + len(codes)
        # begins with something that makes spikes likely
        code = random_microcode(rng, rng.randint(3, 24), fields["stride"], large=config.large)
        lead = [
            Instruction(Op.ACC),
            Instruction(Op.LDB, 0),
            Instruction(Op.ADD),
            Instruction(Op.IMM, 0),
            Instruction(Op.CGT),
        ]
        tail = [Instruction(rng.choice([Op.KF, Op.NOP, Op.FOK])), Instruction(Op.KF)]
        codes += [word & ~(1 << 31) for word in assemble([*lead, Instruction(Op.KF), Instruction(Op.NOP)])]
        codes += [word & ~(1 << 31) for word in code] + assemble([Instruction(Op.NOP), *tail])
    for step, fields in commands:
        program += encode_command(step, fields)
    program += encode_command(Step.END, {}) + codes
    s.load_program(program)

    s.inject([rng.randrange(config.sources) for _ in range(9)])
    s.go(1)
    s.status()
    for _ in range(3):
        s.inject([rng.randrange(config.sources) for _ in range(rng.randrange(20))])
        s.go(1, restart=False)
        s.wait()
        s.drain(len(s.model.events))
    s.go(steps, raster=True, restart=False)
    s.status()
    s.drain(len(s.model.events) + 1)
    s.read_hist()
    s.read_pool(0, used)
    # What the accumulators hold shows in a scan of all neurons.
    groups = config.neurons // lanes
    dump = [
        *encode_command(Step.SCAN, {"pc": 8, "neurons": config.neurons, "groups": groups, "stride": 1, "state_base": 0})
    ]
    s.load_program([*dump, *encode_command(Step.END, {}), *assemble([Instruction(Op.ACC), Instruction(Op.STA, 0)])])
    s.go(1, restart=False)
    s.status()
    s.read_pool(0, groups)
    return s


CONFIGS = {
    "two lanes": config_of(2, 2),
    "one lane": config_of(1, 64, state_bits=20),
    "one lane, one bank": config_of(1, 8, learning="stdp"),
    "four lanes": config_of(4, 16, state_bits=32, learning="reward"),
    "sixteen lanes": config_of(16, 64, neurons=128, learning="reward"),
    "eight lanes": config_of(8, 4, state_bits=16, neurons=128),
    "wide weights": config_of(2, 64, weight_bits=16, neurons=48),
}


WIDE = ("eight lanes", "sixteen lanes")
"""Too slow for an interpreting simulator."""


@pytest.mark.parametrize("name", [name for name in CONFIGS if name not in WIDE])
def test_random_programs(name, session, simulate, require_tool):
    require_tool("iverilog")
    for seed in range(2 if name == "two lanes" else 1):
        simulate(random_session(session, CONFIGS[name], seed))


@pytest.mark.parametrize("name", ["two lanes", "sixteen lanes"])
def test_random_programs_verilator(name, session, simulate, require_tool):
    require_tool("verilator")
    simulate(random_session(session, CONFIGS[name], 2), "verilator")


@pytest.mark.campaign
@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("name", CONFIGS)
def test_more_random_programs(name, seed, session, simulate, require_tool):
    simulator = "verilator" if name in WIDE else "icarus"
    require_tool({"icarus": "iverilog"}.get(simulator, simulator))
    simulate(random_session(session, CONFIGS[name], 100 + seed), simulator)


def spiking_population(s: Any, neurons: int) -> None:
    """A step program in which every neuron spikes in every step, watched."""
    config = s.model.config
    fields = {"pc": 8, "neurons": neurons, "groups": -(-neurons // config.lanes), "stride": 1, "watch": 1}
    code = assemble([Instruction(Op.NOT), Instruction(Op.KF)])
    s.load_program([*encode_command(Step.SCAN, fields), *encode_command(Step.END, {}), *code])


def test_a_full_event_fifo_stalls_and_loses_nothing(session, simulate, require_tool):
    require_tool("iverilog")
    s = session(config_of(2, 2, event_depth=16))
    s.zero()
    spiking_population(s, 20)
    s.go(3)
    s.drain(0)
    for _ in range(6):  # 60 events, read while the core waits
        s.sent += b"S" * 4  # the core fills the FIFO meanwhile
        start = len(s.expected)
        s.expect(bytes(96), "status while running")
        s.open_ends.append((start, start + 96))
        s.drain(10)
    s.wait()
    s.read_hist()
    simulate(s)


def test_broken_opcodes_and_empty_fields(session, simulate, require_tool):
    """Bytes that are no opcode are dropped; counts of 0 do nothing; zero steps do not run."""
    require_tool("iverilog")
    s = session(config_of(2, 2))
    s.sent += b"\x00\xffz"
    s.zero()
    s.sent += b"W\x01\0\0\0\0\0\0R\x01\0\0\0\0\0\0I\0D\0\0G\0\0\0\0\0"
    s.status()
    s.read_program()
    simulate(s)


@pytest.mark.parametrize("lanes", [1, 2, 4])
def test_products_are_rounded_at_once(lanes, session, simulate, require_tool):
    """Every RND directly behind MUL and SQR, and a second one later, on the same product."""
    require_tool("iverilog")
    rng = random.Random(lanes)
    s = session(config_of(lanes, 2))
    s.zero()
    groups, stride = 32 // lanes, 8
    s.load_pool(0, [[rng.choice([rng.getrandbits(32), rng.randrange(-300, 300) & 0xFFFFFFFF]) for _ in range(lanes)]
                    for _ in range(2 * groups * stride)])  # fmt: skip
    code, commands = [], []
    scan = {"neurons": 32, "groups": groups, "stride": stride}
    for number, op in enumerate((Op.MUL, Op.SQR)):
        pc = 16 + len(code)
        commands += encode_command(Step.SCAN, scan | {"pc": pc, "state_base": number * groups * stride})
        items = []
        for mode in range(6):
            factor = rng.choice([1, 255, 40000, (1 << MUL_BITS) - 1]) if op is Op.MUL else 0
            items += [
                Instruction(Op.LDA, 0),
                Instruction(Op.LDB, 1),
                Instruction(op, factor),
                Instruction(Op.RND, mode),
            ]
            if mode % 2:
                items += [Instruction(Op.MOV), Instruction(Op.RND, 5 - mode), Instruction(Op.ADD)]
            items.append(Instruction(Op.STA, 2 + mode))
        code += assemble(items, large=lanes >= 4)
    s.load_program([*commands, *encode_command(Step.END, {}), *[0] * (16 - len(commands) - 4), *code])
    s.go(1)
    s.wait()
    s.status()
    s.read_pool(0, 2 * groups * stride)
    simulate(s)


def test_speed_of_a_large_core(session):
    """A reservoir of 90 neurons, all to all, with 96 inputs, at 10 % activity: at most 200 cycles: 300,000 steps/s at 60 MHz."""
    config = next(c for c in CORES["ulx3s_85f"] if c.profile == "reward")
    lif = [Op.ACC, Op.LDB, Op.ADD, Op.MUL, Op.RND, Op.STA, Op.IMM, Op.CGE, Op.KF, Op.IMM, Op.SEL, Op.STA]
    total = cycles.inputs_cycles(config, 6, raster=True) + cycles.end_cycles(config)
    total += cycles.dense_cycles(config, 6, 2, 10) + cycles.dense_cycles(config, 6, 2, 9)
    total += cycles.scan_cycles(config, 90, assemble([Instruction(op) for op in lif]), 9)
    assert total <= 200
