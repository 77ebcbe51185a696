"""A model of the spiking core in Python: executes a program's words as ``docs/spiking-core.md`` says, and counts cycles.

It decodes program and pool like the hardware and knows nothing of the graph, so that microcode, layout and step program
are tested without RTL. The cycle counts are those of ``compiler/spiking/cycles.py``. Numbers are int64; neurons of a
SCAN are worked on together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from neuroloom.compiler.errors import InputError

from . import cycles, layout
from .core import SPIKE_WORD, CoreConfig, CoreProgram
from .image import input_spikes, read_synapses, write_raster
from .isa import END_BIT, Step, command_words, decode_command
from .lanes import Lanes
from .learner import learn_dense, learn_sparse
from .timing import Activity, command_cycles

LFSR_POLYNOMIAL = 0x80200003
SATURATED_DELIVERY = 1


class CoreModel:
    """A core that is loaded with a program.

    ``pool`` uint32 [pool words, lanes], ``history`` bool [slots, sources], ``acc`` int64 [neurons] are its memories;
    ``reward``, ``lfsr``, ``step``, ``cycles`` (inside steps), ``decided``, ``winner``, ``at``, ``saturated`` its
    registers.
    """

    def __init__(self, program: CoreProgram) -> None:
        self.config: CoreConfig = program.config
        self.program = [int(w) for w in program.program]
        self.pool = np.zeros((self.config.pool_words, self.config.lanes), np.uint32)
        self.pool[: len(program.pool)] = program.pool
        self.maps = program.maps
        seed = program.maps.get("seed")
        self.lfsr = int(seed) if isinstance(seed, int) else 1
        self.reward = 0
        self.position = 0
        self.raster = False
        self.commands = self._decode()
        self.clear()

    def clear(self) -> None:
        """What the byte ``Z`` does: step 0, no history, no decision; program, pool and LFSR stay."""
        self.history = np.zeros((self.config.slots, self.config.sources), bool)
        self.acc = np.zeros(self.config.neurons, np.int64)
        self.step = self.cycles = self.saturated = 0
        self.decided, self.winner, self.at = False, 0, 0
        self.best: tuple[int, int] | None = None
        self.events: list[tuple[int, int]] = []

    def _decode(self) -> list[tuple[Step, dict[str, int]]]:
        out, at = [], 0
        while True:
            if at >= len(self.program):
                raise InputError("step program must end in END")
            step, fields = decode_command(self.program[at:])
            out.append((step, fields))
            at += command_words(step)
            if step is Step.END:
                return out

    @property
    def slot(self) -> int:
        """The history slot of this step."""
        return self.step % self.config.slots

    def run_step(self, spikes: np.ndarray | None = None, *, raster: bool = False) -> int:
        """One step with ``spikes`` bool [inputs] (None: silence), with ``raster`` also those of the pool; returns
        its cycles.
        """
        before = self.cycles
        for step, _ in self.walk(spikes, raster=raster):
            if step is Step.EXCHANGE:
                raise InputError("a program with EXCHANGE must run together with those of the other cores")
        return self.cycles - before

    def walk(self, spikes: np.ndarray | None = None, *, raster: bool = False) -> Iterator[tuple[Step, dict[str, int]]]:
        """One step that stops where it waits for other cores: before it has done EXCHANGE, and when it has come to END.

        The cycles of an EXCHANGE are counted up to the wait, those of END are.
        """
        self.raster = raster
        for step, fields in self.commands:
            if step is Step.EXCHANGE:
                self.cycles += cycles.fetch_cycles(self.config, step) + 1
                yield step, fields
                continue
            activity = Activity()
            if step is not Step.END:
                _COMMANDS[step](self, fields, activity, spikes)
            self.cycles += command_cycles(
                self.config, step, fields, activity, microcode=self.program[fields.get("pc", 0) :], raster=raster
            )
        self.lfsr = self.lfsr >> 1 ^ (LFSR_POLYNOMIAL if self.lfsr & 1 else 0)
        self.step += 1
        yield Step.END, {}

    # commands

    def inputs(self, f: Mapping[str, int], activity: Activity, spikes: np.ndarray | None) -> None:
        """INPUTS."""
        span = slice(f["first_word"] * SPIKE_WORD, (f["first_word"] + f["words"]) * SPIKE_WORD)
        first = self.config.neurons
        row = np.zeros(self.config.sources, bool)
        if spikes is not None:
            row[first : first + len(spikes)] = spikes
        if self.raster:
            words = -(-f["words"] // (self.config.word_bits // SPIKE_WORD))
            base = f["raster_base"] + self.position
            bits = np.unpackbits(
                self.pool[base : base + words].astype("<u4").view(np.uint8).reshape(-1), bitorder="little"
            )
            row[span] |= bits[: f["words"] * SPIKE_WORD].astype(bool)
            self.position += words
        self.history[self.slot, span] = row[span]

    def sources(self, f: Mapping[str, int], delay: int) -> np.ndarray:
        """Spiking sources (counted from the command's first one) of ``delay`` steps ago."""
        span = slice(f["first_word"] * SPIKE_WORD, (f["first_word"] + f["words"]) * SPIKE_WORD)
        return np.flatnonzero(self.history[(self.step - delay) % self.config.slots, span])

    def deliver(self, target: np.ndarray, weight: np.ndarray) -> None:
        """ACC of the targets += weights, saturating."""
        top = 1 << self.config.state_bits - 1
        np.add.at(self.acc, target, weight)
        over = (self.acc[target] >= top) | (self.acc[target] < -top)
        if over.any():
            self.saturated |= SATURATED_DELIVERY
            self.acc[target] = np.clip(self.acc[target], -top, top - 1)

    def dense(self, f: Mapping[str, int], activity: Activity, spikes: np.ndarray | None) -> None:
        """DENSE."""
        kind = "<i1" if self.config.weight_bits == 8 else "<i2"
        fields = f["row_words"] * self.config.fields
        target = f["target"] + np.arange(fields)
        real = target < self.config.neurons
        found = self.sources(f, f["delay"])
        activity.spikes = len(found)
        for j in found:
            base = f["base"] + int(j) * f["row_words"]
            row = (
                np.ascontiguousarray(self.pool[base : base + f["row_words"]], "<u4")
                .view(kind)
                .reshape(-1)
                .astype(np.int64)
            )
            self.deliver(target[real], row[real] << (8 if f["shift8"] else 0))

    def sparse(self, f: Mapping[str, int], activity: Activity, spikes: np.ndarray | None) -> None:
        """SPARSE."""
        delays = f["delays_low"] | f["delays_high"] << 32
        for delay in range(64):
            if not delays >> delay & 1:
                continue
            rows = []
            for j in self.sources(f, delay):
                start, mask = self.header(f, int(j))
                if not mask >> delay & 1:
                    rows.append((0, 0, start, 0))
                    continue
                skip = bin(mask & (1 << delay) - 1).count("1")
                target, weight, last = self.records(f["record_base"], start, mask, bool(f["eligible"]))
                ends = np.flatnonzero(last)
                first = int(ends[skip - 1]) + 1 if skip else 0
                end = int(ends[skip]) + 1
                self.deliver(target[first:end], weight[first:end])
                repeats = int((target[first + 1 : end] == target[first : end - 1]).sum())
                rows.append((first, end, start, repeats))
            activity.delays.append((delay, rows))

    def header(self, f: Mapping[str, int], j: int) -> tuple[int, int]:
        """First record and delay mask of row j of a command's table."""
        per = self.config.records(bool(f["eligible"]))
        return layout.read_header(self.config, self.pool, f["header_base"], j, per)

    def records(self, base: int, start: int, mask: int, eligible: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Targets, weights and last bits of the records of a row, which ends with the last one of its last delay group."""
        config, groups = self.config, mask.bit_count()
        head, count = np.zeros(0, np.int64), 2 * groups
        room = (config.pool_words - base) * config.records(eligible) - start
        while groups:
            at = layout.record_at(config, base, start + np.arange(min(count, room)), eligible)
            head = layout.read_fields(self.pool, at + config.weight_bits, config.target_bits + 1, signed=False)
            ends = np.flatnonzero(head >> config.target_bits)
            if len(ends) >= groups or count >= room:
                at, head = at[: ends[groups - 1] + 1], head[: ends[groups - 1] + 1]
                weight = layout.read_fields(self.pool, at, config.weight_bits)
                return head & (1 << config.target_bits) - 1, weight, head >> config.target_bits
            count *= 2
        return head, head, head

    def learn(self, f: Mapping[str, int], activity: Activity, spikes: np.ndarray | None) -> None:
        """LEARN_DENSE, LEARN_SPARSE."""
        x = self.word(f["x_base"], f["x_stride"], f["x_k"], f["sources"])
        y = self.word(f["y_base"], f["y_stride"], f["y_k"], f["targets"])
        first = f["first_word"] * SPIKE_WORD
        pre = self.history[self.slot, first : first + f["sources"]]
        post = self.history[self.slot, f["target"] : f["target"] + f["targets"]]
        sparse = "header_base" in f and activity.sparse
        (learn_sparse if sparse else learn_dense)(self, f, x, y, pre, post, activity)

    def word(self, base: int, stride: int, k: int, size: int) -> np.ndarray:
        """The low 16 bits of state word k of a block."""
        return layout.read_fields(self.pool, layout.state_at(self.config, base, stride, k, size), 16, signed=False)

    def decide(self, f: Mapping[str, int], activity: Activity, spikes: np.ndarray | None) -> None:
        """DECIDE."""
        counts = layout.read_fields(
            self.pool,
            layout.state_at(self.config, f["state_base"], f["stride"], f["k"], f["neurons"]),
            self.config.state_bits,
        )
        leader, sure = self.is_sure(f, counts)
        activity.decided = self.decided
        if not self.decided:
            self.winner = leader
            if sure:
                self.decided, self.at = True, self.step

    def is_sure(self, f: Mapping[str, int], counts: np.ndarray) -> tuple[int, bool]:
        """The leader of ``counts`` [n], and whether DECIDE's rule is met."""
        leader = int(np.argmax(counts))
        if f["mode"] == 0:
            others = np.delete(counts, leader)
            return leader, int(counts[leader]) - int(others.max(initial=0)) >= f["margin"]
        table = np.array(self.program[f["table"] : f["table"] + f["entries"]], np.int64)
        return leader, int(table[np.minimum(counts[leader] - counts, len(table) - 1)].sum()) <= f["margin"]

    # microcode

    def scan(self, f: Mapping[str, int], activity: Activity, spikes: np.ndarray | None) -> None:
        """SCAN: all groups at once; groups only meet in BST, whose order is that of the neurons."""
        if f["reset_best"]:
            self.best = None
        lanes = Lanes(self, f)
        pc = f["pc"]
        while True:
            word = self.program[pc]
            lanes.execute(word)
            if word & END_BIT:
                break
            pc += 1
        first = f["first_group"] * self.config.lanes
        fired = np.zeros(layout.align(lanes.count, SPIKE_WORD), bool)
        fired[: lanes.count] = lanes.k & lanes.valid
        self.history[self.slot, first : first + len(fired)] = fired
        if f["watch"]:
            found = np.flatnonzero(fired)
            activity.events = len(found)
            self.events += [(self.step & 0xFFFF, first + int(n)) for n in found]


def _learn_sparse(core: CoreModel, f: Mapping[str, int], activity: Activity, spikes: np.ndarray | None) -> None:
    activity.sparse = True
    core.learn(f, activity, spikes)


_COMMANDS: dict[Step, Callable[[CoreModel, Mapping[str, int], Activity, np.ndarray | None], None]] = {
    Step.INPUTS: CoreModel.inputs,
    Step.SCAN: CoreModel.scan,
    Step.DENSE: CoreModel.dense,
    Step.SPARSE: CoreModel.sparse,
    Step.LEARN_DENSE: CoreModel.learn,
    Step.LEARN_SPARSE: _learn_sparse,
    Step.DECIDE: CoreModel.decide,
}


@dataclass
class Result:
    """What a run gave: ``outputs`` by name [steps, ...] as the graph has them, ``cycles`` [steps], and the core as
    it was left.
    """

    outputs: dict[str, np.ndarray]
    cycles: np.ndarray
    core: CoreModel


def run_program(
    program: CoreProgram, inputs: Mapping[str, np.ndarray], *, core: CoreModel | None = None, raster: bool = False
) -> Result:
    """Run a mapped graph for one sample: ``inputs`` by the graph's names, [steps, ...]; ``core`` goes on where it stands.

    With ``raster`` the spikes are written into the pool first and played from there, as the board does without a host.

    Raises InputError when an input of the graph is missing.
    """
    core = core or CoreModel(program)
    maps: Mapping = program.maps
    steps = len(next(iter(inputs.values())))
    wanted = [*maps["inputs"], *maps["drives"], *([maps["reward"]] if maps["reward"] else [])]
    for name in wanted:
        if name not in inputs:
            raise InputError(f"input {name!r} must be given to run the program")
    if raster:
        base, words = write_raster(program, inputs)
        core.pool[base : base + len(words)] = words
        core.position = 0
    outputs: dict[str, list[np.ndarray]] = {name: [] for name in maps["outputs"]}
    taken = []
    for t in range(steps):
        spikes = None if raster else input_spikes(program, inputs, t)
        for name, (population, word) in maps["drives"].items():
            write_word(core, maps["populations"][population], word, inputs[name][t])
        if maps["reward"]:
            core.reward = int(inputs[maps["reward"]][t])
        taken.append(core.run_step(spikes, raster=raster))
        for name, (kind, of) in maps["outputs"].items():
            outputs[name].append(output(core, maps, kind, of))
    return Result({name: np.array(v) for name, v in outputs.items()}, np.array(taken, np.int64), core)


def write_word(core: CoreModel, place: Mapping, word: str, value: np.ndarray) -> None:
    """Write a state word of every neuron of a population."""
    at = layout.state_at(core.config, place["base"], place["stride"], place["words"][word], place["size"])
    layout.write_fields(core.pool, at, np.asarray(value), 32)


def read_word(core: CoreModel, place: Mapping, word: str) -> np.ndarray:
    """A state word of every neuron of a population, int64 [n]."""
    at = layout.state_at(core.config, place["base"], place["stride"], place["words"][word], place["size"])
    return layout.read_fields(core.pool, at, core.config.state_bits)


def output(core: CoreModel, maps: Mapping, kind: str, of: str) -> np.ndarray:
    """A graph output after a step."""
    if kind == "decision":
        return {
            "winner": np.array(core.winner),
            "done": np.array(int(core.decided)),
            "at": np.array(core.at),
            "now": np.array(core.step),
            "counts": np.array(0)
            if maps["decision"] is None
            else read_word(core, maps["populations"][maps["decision"]["population"]], "count"),
        }[of]
    if kind in ("weights", "eligibility"):
        return read_synapses(core.config, maps["projections"][of], core.pool, kind)
    place = maps["populations"].get(of) or maps["inputs"][of]
    if kind == "spikes":
        slot = (core.step - 1) % core.config.slots
        return core.history[slot, place["first"] : place["first"] + place["size"]].astype(np.int64)
    return read_word(core, place, kind)
