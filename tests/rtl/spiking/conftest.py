"""The spiking core in real simulators, driven by opcodes, and an independent model of its contract (docs/spiking-core.md)."""

from __future__ import annotations

import hashlib
import random
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from neuroloom.boards import emit, toolchain
from neuroloom.compiler.spiking import cycles
from neuroloom.compiler.spiking.core import CoreConfig
from neuroloom.compiler.spiking.isa import Op, Step, decode_command
from neuroloom.rtl.spiking.engine import SpikingEngine


def signed(value: int, bits: int) -> int:
    """The two's complement number in the low bits of ``value``."""
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> bits - 1 else value


class Model:
    """The core as the contract describes it, one command after the other, with no thought of hardware."""

    def __init__(self, config: CoreConfig) -> None:
        c = self.config = config
        self.program = [0] * c.program_words
        self.pool = [[0] * c.lanes for _ in range(c.pool_words)]
        self.acc = [0] * c.neurons
        self.hist = [[0] * (c.sources // 16) for _ in range(c.slots)]
        self.staged = [0] * (c.sources // 16)
        self.a, self.b, self.p = [0] * c.lanes, [0] * c.lanes, [0] * c.lanes
        self.best: tuple[int, int] | None = None
        self.events: list[tuple[int, int]] = []
        self.step = self.cycles = self.sticky = self.position = 0
        self.lfsr = 1

    def sat(self, value: int, kind: int, valid: bool = True) -> int:
        high = (1 << self.config.state_bits - 1) - 1
        if valid and not -high - 1 <= value <= high:
            self.sticky |= 1 << kind
        return max(min(value, high), -high - 1)

    def word(self, address: int) -> int:
        return sum(v << 32 * lane for lane, v in enumerate(self.pool[address]))

    def run(self, steps: int, *, raster: bool = False, restart: bool = True) -> None:
        if restart and steps:
            self.step = 0
        for _ in range(steps):
            pc = 0
            while True:
                command, f = decode_command((self.program[pc:] + [0] * 16)[:16])
                if command is Step.END:
                    break
                self.cycles += getattr(self, command.name.lower())(
                    f, **({"raster": raster} if command is Step.INPUTS else {})
                )
                pc += (cycles.fetched_words(command) + 3) // 4 * 4
            self.cycles += cycles.end_cycles(self.config)
            self.step += 1
            self.lfsr = self.lfsr >> 1 ^ (0x80200003 if self.lfsr & 1 else 0)

    @property
    def slot(self) -> int:
        return self.step % self.config.slots

    def inputs(self, f: dict[str, int], *, raster: bool) -> int:
        parts = self.config.word_bits // 16
        for n in range(f["words"]):
            word = f["first_word"] + n
            value = self.staged[word]
            if raster:
                value |= self.word(f["raster_base"] + self.position + n // parts) >> 16 * (n % parts) & 0xFFFF
            self.staged[word] = 0
            self.hist[self.slot][word] = value
        if raster:
            self.position += -(-f["words"] // parts)
        return cycles.inputs_cycles(self.config, f["words"], raster=raster)

    def scan(self, f: dict[str, int]) -> int:
        c = self.config
        if f["reset_best"]:
            self.best = None
        count = 0
        code = self.program[f["pc"] :]
        current = [list(row) for row in self.hist]
        spikes: dict[int, int] = {}
        for g in range(-(-f["neurons"] // c.lanes)):
            first = (f["first_group"] + g) * c.lanes
            valid = [g * c.lanes + lane < f["neurons"] for lane in range(c.lanes)]
            fired = self.group(code, f["state_base"] + g * f["stride"], first, valid, current)
            for lane in range(c.lanes):
                spikes.setdefault((first + lane) // 16, 0)
                if fired[lane]:
                    spikes[(first + lane) // 16] |= 1 << (first + lane) % 16
                    if f["watch"]:
                        count += 1
                        self.events.append((self.step & 0xFFFF, first + lane))
        for word, value in spikes.items():
            self.hist[self.slot][word] = value
        return cycles.scan_cycles(c, f["neurons"], code, count)

    def group(self, code: list[int], base: int, first: int, valid: list[bool], hist: list[list[int]]) -> list[bool]:
        c = self.config
        s, a, b, p = c.state_bits, self.a, self.b, self.p
        flag, spike = [False] * c.lanes, [False] * c.lanes
        lanes = range(c.lanes)
        for word in code:
            op, imm, k = Op(word >> 26 & 31), signed(word, 24), word & 15
            rides = {0: None, 1: signed(word >> 4, 20), 2: imm}[word >> 24 & 3]  # an IMM behind the instruction
            if rides is not None:
                imm = k
            for n in lanes:
                if op is Op.LDA:
                    a[n] = signed(self.pool[base + k][n], s)
                elif op is Op.LDB:
                    b[n] = signed(self.pool[base + k][n], s)
                elif op in (Op.STA, Op.STB):
                    self.pool[base + k][n] = (a if op is Op.STA else b)[n] & 0xFFFFFFFF
                elif op is Op.ACC:
                    a[n], self.acc[first + n] = self.acc[first + n], 0
                elif op is Op.IMM:
                    b[n] = signed(imm, s)
                elif op is Op.MOV:
                    b[n] = a[n]
                elif op is Op.SWP:
                    a[n], b[n] = b[n], a[n]
                elif op is Op.ADD:
                    a[n] = self.sat(a[n] + b[n], 1, valid[n])
                elif op is Op.SUB:
                    a[n] = self.sat(a[n] - b[n], 1, valid[n])
                elif op is Op.MUL:
                    p[n] = a[n] * (word & 0x1FFFF)
                elif op is Op.SQR:
                    p[n] = a[n] * signed(b[n], 18)
                elif op is Op.RND:
                    shift = 8 if imm & 1 else 16
                    r = (1 << shift - 1) if imm & 2 else ((1 << shift) - 1 if imm & 4 and p[n] < 0 else 0)
                    a[n] = self.sat(p[n] + r >> shift, 2, valid[n])
                elif op in (Op.CGT, Op.CGE, Op.CEQ):
                    flag[n] = {Op.CGT: a[n] > b[n], Op.CGE: a[n] >= b[n], Op.CEQ: a[n] == b[n]}[op]
                elif op is Op.NOT:
                    flag[n] = not flag[n]
                elif op in (Op.FSP, Op.INJ):
                    slot = self.step - (op is Op.FSP)
                    flag[n] = bool(hist[slot % c.slots][(first + n) // 16] >> (first + n) % 16 & 1)
                elif op is Op.FK:
                    flag[n] = spike[n]
                elif op is Op.KF:
                    spike[n] = flag[n]
                elif op is Op.KAF:
                    spike[n] = spike[n] and flag[n]
                elif op is Op.FAK:
                    flag[n] = flag[n] and spike[n]
                elif op is Op.FOK:
                    flag[n] = flag[n] or spike[n]
                elif op is Op.SEL:
                    a[n] = b[n] if flag[n] else a[n]
                elif op is Op.MIN:
                    a[n] = min(a[n], b[n])
                elif op is Op.MAX:
                    a[n] = max(a[n], b[n])
                elif op is Op.BST:
                    if flag[n] and valid[n] and (self.best is None or a[n] > self.best[0]):
                        self.best = a[n], first + n
                elif op is Op.WIN:
                    flag[n] = self.best is not None and self.best[1] == first + n
                if rides is not None:
                    b[n] = signed(rides, s)
            if word >> 31:
                break
        return [x and y for x, y in zip(spike, valid, strict=True)]

    def sources(self, f: dict[str, int], delay: int) -> list[int]:
        row = self.hist[(self.step - delay) % self.config.slots]
        return [16 * n + bit for n in range(f["words"]) for bit in range(16) if row[f["first_word"] + n] >> bit & 1]

    def add(self, target: int, weight: int) -> None:
        self.acc[target] = self.sat(self.acc[target] + weight, 0)

    def dense(self, f: dict[str, int]) -> int:
        c = self.config
        spikes = self.sources(f, f["delay"])
        for j in spikes:
            for n in range(f["row_words"]):
                word = self.word(f["base"] + j * f["row_words"] + n)
                for field in range(c.fields):
                    target = f["target"] + n * c.fields + field
                    weight = signed(word >> c.weight_bits * field, c.weight_bits) << 8 * f["shift8"]
                    if target < c.neurons:  # the fields past the last target are 0
                        self.add(target, weight)
        return cycles.dense_cycles(c, f["words"], f["row_words"], len(spikes))

    def sparse(self, f: dict[str, int]) -> int:
        c = self.config
        rows: dict[int, list[int]] = {}
        for delay in range(64):
            if (f["delays_low"] | f["delays_high"] << 32) >> delay & 1:
                rows[delay] = [self.row(f, j, delay) for j in self.sources(f, delay)]
        return cycles.sparse_cycles(c, f["words"], rows)

    def row(self, f: dict[str, int], j: int, delay: int) -> int:
        c = self.config
        eligible = bool(f["eligible"]) and c.learning == "reward"
        records, bits = c.records(eligible), c.record_bits(eligible)
        if c.lanes >= 4:
            shared = {4: 16, 8: 6, 16: 3}[c.lanes]  # pool words of 16 headers
            number = j % 16 * shared // 16
            place = j % 16 - next(n for n in range(16) if n * shared // 16 == number)
            header = self.word(f["header_base"] + j // 16 * shared + number) >> 84 * place
            mask = header >> 20 & (1 << 64) - 1
        else:
            units = [self.pool[f["header_base"] + (4 * j + n) // c.lanes][(4 * j + n) % c.lanes] for n in range(3)]
            header, mask = units[0], units[1] | units[2] << 32
        if not mask >> delay & 1:
            return cycles.sparse_row_cycles(c, delay)
        record = (header >> 6 & 0x3FFF) * records + (header & 63)
        skip = (mask & (1 << delay) - 1).bit_count()
        first_word, last_word, delivered = record // records, record // records, 0
        seeks = 0
        while True:
            word = self.word(f["record_base"] + record // records)
            entry = word >> record % records * bits
            last = entry >> c.weight_bits + c.target_bits & 1
            if skip:
                last_word = record // records
                skip -= last
                seeks = last_word - first_word + 1
            else:
                target = entry >> c.weight_bits & (1 << c.target_bits) - 1
                self.add(target, signed(entry, c.weight_bits))
                delivered += 1
                if last:
                    return cycles.sparse_row_cycles(c, delay, records=delivered, seeks=seeks)
            record += 1


class Session:
    """Opcodes for an engine and what they must answer; the model goes along."""

    def __init__(self, config: CoreConfig) -> None:
        self.model = Model(config)
        self.sent = bytearray()
        self.expected = bytearray()
        self.notes: list[tuple[int, str]] = []
        self.open_ends: list[tuple[int, int]] = []  # answers that may be anything

    def expect(self, data: bytes, what: str) -> None:
        self.notes.append((len(self.expected), what))
        self.expected += data

    def write(self, space: int, address: int, data: bytes) -> None:
        self.sent += b"W" + struct.pack("<BIH", space, address, len(data)) + data

    def load_program(self, words: list[int], address: int = 0) -> None:
        self.model.program[address : address + len(words)] = words
        self.write(0, 4 * address, b"".join(struct.pack("<I", w) for w in words))

    def load_pool(self, base: int, words: list[list[int]]) -> None:
        self.model.pool[base : base + len(words)] = [list(w) for w in words]
        lanes = self.model.config.lanes
        for at in range(0, len(words), 64):
            data = b"".join(struct.pack(f"<{lanes}I", *w) for w in words[at : at + 64])
            self.write(1, 4 * lanes * (base + at), data)

    def read_program(self) -> None:
        words = self.model.program
        self.sent += b"R" + struct.pack("<BIH", 0, 0, 4 * len(words))
        self.expect(b"".join(struct.pack("<I", w) for w in words), "program")

    def read_pool(self, base: int, count: int) -> None:
        lanes = self.model.config.lanes
        for at in range(base, base + count, 64):
            part = self.model.pool[at : min(at + 64, base + count)]
            self.sent += b"R" + struct.pack("<BIH", 1, 4 * lanes * at, 4 * lanes * len(part))
            self.expect(b"".join(struct.pack(f"<{lanes}I", *w) for w in part), f"pool from word {at}")

    def read_hist(self) -> None:
        c = self.model.config
        data = b"".join(
            struct.pack("<H", self.model.hist[slot][word]) for word in range(c.sources // 16) for slot in range(c.slots)
        )
        self.sent += b"R" + struct.pack("<BIH", 2, 0, len(data))
        self.expect(data, "history")

    def zero(self) -> None:
        m = self.model
        m.hist = [[0] * len(row) for row in m.hist]
        m.staged = [0] * len(m.staged)
        m.acc = [0] * len(m.acc)
        m.events = []
        m.step = m.cycles = m.sticky = 0
        self.sent += b"Z"

    def inject(self, sources: list[int]) -> None:
        for source in sources:
            self.model.staged[source // 16] |= 1 << source % 16
        self.sent += b"I" + struct.pack("<B", len(sources)) + b"".join(struct.pack("<H", s) for s in sources)

    def go(self, steps: int, *, raster: bool = False, restart: bool = True) -> None:
        self.sent += b"G" + struct.pack("<IB", steps, raster | (not restart) << 2)
        self.model.run(steps, raster=raster, restart=restart)

    def wait(self) -> None:
        """Q waits for the end of a run."""
        self.sent += b"Q"
        self.expect(self.model.config.to_bytes(), "configuration")

    def status(self) -> None:
        m = self.model
        self.wait()
        self.sent += b"S"
        data = struct.pack("<BBHIII", 0, m.sticky, len(m.events), m.step, m.cycles, 0)
        self.expect(data + bytes(8), "status")

    def drain(self, count: int) -> None:
        m = self.model
        self.sent += b"D" + struct.pack("<H", count)
        taken, m.events = m.events[:count], m.events[count:]
        data = b"".join(struct.pack("<HH", *event) for event in taken)
        self.expect(data + b"\xff" * (4 * count - len(data)), "events")

    def compare(self, answer: bytes) -> None:
        for start, end in self.open_ends:
            self.expected[start:end] = answer[start:end]
        if bytes(self.expected) == answer:
            return
        at = next((n for n, (x, y) in enumerate(zip(self.expected, answer, strict=False)) if x != y), len(answer))
        start, what = [note for note in self.notes if note[0] <= at][-1]
        stop = min([n for n, _ in self.notes if n > at], default=len(self.expected))
        pytest.fail(
            f"{what}, byte {at - start}: got {answer[start:stop][:48].hex(' ')}, expected"
            f" {bytes(self.expected[start:stop])[:48].hex(' ')}; {len(answer)} of {len(self.expected)} bytes"
        )


def _simulate(
    config: CoreConfig, session: Session, folder: Path, simulator: str, limit: int, reset: tuple[int, int] | None = None
) -> bytes:
    """What the engine answers to the session's bytes."""
    design = folder / (hashlib.sha256(config.to_bytes()).hexdigest()[:12] + ".v")
    if not design.exists():
        engine = SpikingEngine(config)
        text = emit.to_verilog(engine) + "".join(engine.extra_files.values())
        design.write_text(text, encoding="utf-8")
    work = folder / f"{simulator}-{random.getrandbits(40):x}"
    work.mkdir()
    shutil.copy(design, work / "design.v")
    shutil.copy(Path(__file__).with_name("bench.v"), work / "bench.v")
    (work / "in.hex").write_text("\n".join(f"{byte:02x}" for byte in session.sent), encoding="ascii")
    defines = [f"-DCOUNT={len(session.sent)}", f"-DANSWERS={len(session.expected)}", f"-DLIMIT={limit}"]
    if reset:
        defines += [f"-DRESET_AFTER={reset[0]}", f"-DRESET_WAIT={reset[1]}"]
    if simulator == "icarus":  # as Verilog-2005, in which initial values wake the blocks that depend on them
        toolchain.run(
            "iverilog",
            ["-g2005", *defines, "-s", "bench", "-o", "sim.vvp", "design.v", "bench.v"],
            cwd=work,
            timeout=300,
        )
        toolchain.run("vvp", ["-N", "sim.vvp"], cwd=work, timeout=600)
    else:
        tool = toolchain.find("verilator")
        shutil.copy(Path(__file__).with_name("bench.cpp"), work)
        flags = ["--cc", "--exe", "--no-timing", "-Wno-fatal", "-Wno-lint", "-Wno-style", "--timescale", "1ns/1ps"]
        flags += ["--x-initial", "unique", "--x-assign", "unique", "--top-module", "bench", "-o", "sim"]
        toolchain.run(tool, [*flags, *defines, "design.v", "bench.v", "bench.cpp"], cwd=work, timeout=600)
        make = ["-C", "obj_dir", "-f", "Vbench.mk", "OPT_FAST=-O1", "CFG_CXXFLAGS_PCH_I=-include"]
        toolchain.run("make", make, cwd=work, timeout=600, env=tool.env)
        program = toolchain.Tool("simulation", (str(work / "obj_dir" / "sim"),), "", "path", work)
        toolchain.run(program, [], cwd=work, timeout=600)
    return bytes.fromhex((work / "out.hex").read_text(encoding="ascii"))


@pytest.fixture(scope="session")
def simulate(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., None]:
    """Return ``simulate(session, simulator="icarus", limit=...)``, which compares what the RTL answers with the model.

    ``reset`` (bytes, cycles): so many cycles after so many bytes the engine is reset.
    """
    folder = tmp_path_factory.mktemp("spiking")

    def run(
        session: Any, simulator: str = "icarus", limit: int = 2_000_000, reset: tuple[int, int] | None = None
    ) -> None:
        session.compare(_simulate(session.model.config, session, folder, simulator, limit, reset))

    return run


@pytest.fixture(scope="session")
def session() -> type[Session]:
    """Return the class of opcode sessions."""
    return Session
