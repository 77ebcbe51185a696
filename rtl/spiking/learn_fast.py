"""LEARN_DENSE for additive rules: a row word per cycle, per four where it rounds at random, through two ports of the pool."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from neuroloom.compiler.errors import InputError
from neuroloom.compiler.spiking.core import SPIKE_WORD, CoreConfig

from .learn_fractions import Fractions
from .learn_rule import TRACE_BITS, Rule
from .learn_sources import Access, Sources
from .learn_targets import HIST_CYCLES, Targets
from .ports import POOL_ADDR_BITS, times

if TYPE_CHECKING:
    from .learn import Learn

AFTER = 3
"""Cycles from a row word to its write: depression, potentiation, write."""


def check_fast(config: CoreConfig) -> None:
    """Raise InputError when the configuration cannot have the fast path."""
    if config.weight_bits != 8 or config.fields < SPIKE_WORD:
        raise InputError(
            "a core with fast learning must have 8-bit weights and at least 4 lanes, "
            f"not {config.weight_bits}-bit weights and {config.lanes} lanes"
        )


class FastWalk:
    """The part of :class:`Learn` that takes over a LEARN_DENSE with ``chosen``.

    Everything read from the pool passes the same stages, one word per cycle: traces of targets, traces of sources, rows. A trace
    becomes the amount Δ that it stands for in the cycles behind. Rows that nothing changes are left out: those whose source did
    not spike and has no trace, or has one while no target of the block spiked. So a group of sources must be known before its first
    row is read; the traces of the next group are asked for when the rows of a group begin.

    Rounded at random, (a + r) >> f is (a >> f) + carry: of the fractions' sum (a mod 2^f) + (u mod 2^f). The number u of a synapse
    is scramble(p xor q) = scramble(p) xor scramble(q), p of its source, q of its target, because scramble is linear: so one number
    is found per row and one per target, and an adder for the carry is all that a field wants. There are adders for a quarter of
    the fields, so a row then takes four cycles, the beats before its word comes. See :mod:`.learn_fractions`.
    """

    def __init__(self, config: CoreConfig, unit: Learn, rule: Rule, targets: Targets) -> None:
        self.config, self.unit, self.rule, self.sources = config, unit, rule, Sources(config)  # registers of its own
        self.targets, self.access = targets, Access(config)  # one of its own
        self.width = config.weight_bits
        self.delta_bits = config.weight_bits + 1
        self.chosen = Signal()
        self.fractions = Fractions(config)
        lanes = config.lanes
        lane_bits = (lanes - 1).bit_length()
        self.row, self.source_group = Signal(), Signal()
        self.target_group, self.target_spikes = Signal(), Signal()
        self.due, self.spiked = Signal(lanes), Signal(lanes)  # rows of the group that is coming; its spikes
        self.next_due, self.next_spiked = Signal(lanes, reset_less=True), Signal(lanes, reset_less=True)
        self.rest, self.spikes = Signal(lanes, reset_less=True), Signal(lanes, reset_less=True)  # of the current group
        self.index = Signal(lane_bits, reset_less=True)
        self.dep, self.odd = Signal(reset_less=True), Signal(reset_less=True)  # of the current row
        self.first = Signal(range(config.pool_words), reset_less=True)  # row of the group's first source
        self.begins = Signal()  # a group's rows begin
        self.paced, self.turn = Signal(), Signal()  # a row takes beats; this is one
        self.beat = Signal(range(self.fractions.beats), reset_less=True)
        self.asked = Signal()  # another group was asked for
        self.ask_odd = Signal()
        self.any_fired = Signal()
        self.memory = config.walk_cycles  # stage in which what was asked for has come
        self.address = Signal(range(config.pool_words))
        self.stages = self.memory + AFTER

    def build(self, m: Module) -> None:
        """Add the pipeline."""
        unit, config = self.unit, self.config
        lanes, fields, width, bits = config.lanes, config.fields, self.width, self.delta_bits
        rewarded = self.rule.rewarded
        m.d.comb += self.chosen.eq(~unit.soft & ~unit.enables & ~(unit.eligible if rewarded else 0))
        # What was asked for in this cycle, and in the cycles before.
        kinds = {"row": self.row, "source": self.source_group, "target": self.target_group, "fired": self.target_spikes}
        kinds |= {
            "turn": self.turn,
            "bank": self.odd,
            "odd": Mux(self.row, self.odd, self.ask_odd),
            "dep": self.dep,
            "index": self.index,
        }
        at: list[dict[str, Any]] = [kinds]
        for stage in range(1, self.stages + 1):
            late = {name: Signal(len(kind), name=f"{name}_{stage}") for name, kind in kinds.items()}
            m.d.sync += [late[name].eq(at[-1][name]) for name in kinds]
            at.append(late)
        # A row's offset is found in one cycle, its address in the next.
        base, offset = (
            Signal.like(self.access.base, name="fast_base"),
            Signal.like(self.access.offset, name="fast_offset"),
        )
        row_offset = (self.first + times(self.index, unit.row_words))[: len(offset)]
        m.d.sync += [base.eq(self.access.base), offset.eq(Mux(self.row, row_offset, self.access.offset))]
        m.d.comb += self.address.eq(base + offset)
        address: Value = self.address
        for stage in range(2, self.stages + 1):
            later = Signal(POOL_ADDR_BITS, name=f"address_{stage}", reset_less=True)
            m.d.sync += later.eq(address)
            address = later

        word = Signal(config.word_bits, reset_less=True)
        seen = Signal(SPIKE_WORD, reset_less=True)
        spike_word: Value = unit.hist.data_r  # comes with the pool's word
        for _ in range(HIST_CYCLES, self.memory):
            spike_word, sooner = Signal(SPIKE_WORD, reset_less=True), spike_word
            m.d.sync += spike_word.eq(sooner)
        m.d.sync += [word.eq(unit.pool.data_r), seen.eq(spike_word)]
        self._choose(m, at[self.memory]["source"], at[self.memory]["fired"], spike_word)
        in_word, in_middle, in_out = at[self.memory + 1 :]  # what these registers have

        # Three cycles: amounts of traces.
        depressions = Signal(fields * bits, reset_less=True)
        potentiations = [Signal(lanes * bits, name=f"potentiations{n}", reset_less=True) for n in range(2)]
        fired = Signal(fields, reset_less=True)
        valid = Signal(fields, reset_less=True)
        traces, found = self._amounts(m, word, in_word["source"])
        amounts = Cat(*found)
        carries = self.fractions.build(m, unit, self.index, traces, at, self.memory)
        with m.If(in_middle["target"]):
            m.d.sync += valid.eq(self.targets.valid)
        with m.If(in_out["target"]):
            m.d.sync += depressions.eq(Cat(depressions[lanes * bits :], amounts))
        for number, group in enumerate(potentiations):
            with m.If(in_out["source"] & (in_out["odd"] == number)):
                m.d.sync += group.eq(amounts)
        with m.If(in_word["fired"]):
            m.d.sync += fired.eq(Cat(fired[SPIKE_WORD:], seen))

        # Depression of rows.
        middle = Signal(config.word_bits, reset_less=True)
        low, high = unit.w_min[:width].as_signed(), unit.w_max[:width].as_signed()
        for field in range(fields):
            weight = word.word_select(field, width).as_signed()
            less = (
                Cat(Const(0, 1), weight).as_signed() - Cat(carries.down[field], depressions.word_select(field, bits))
            )[1:]
            less = less.as_signed()
            less = Mux(less < low, low, less)
            m.d.sync += middle.word_select(field, width).eq(Mux(in_word["dep"] & valid[field], less, weight))
        amount = Signal(bits, reset_less=True)
        m.d.sync += amount.eq(
            Mux(in_word["odd"], *(p.word_select(in_word["index"], bits) for p in reversed(potentiations)))
        )

        # Potentiation.
        out = Signal(config.word_bits, reset_less=True)
        for field in range(fields):
            weight = middle.word_select(field, width).as_signed()
            more = (Cat(Const(1, 1), weight).as_signed() + Cat(carries.up[field], amount))[1:].as_signed()
            more = Mux(more > high, high, more)
            m.d.sync += out.word_select(field, width).eq(Mux(fired[field] & valid[field], more, weight))

        # Write.
        with m.If(in_out["row"]):
            m.d.comb += [unit.rows.addr.eq(address), unit.rows.write.eq(1), unit.rows.data.eq(out)]

    def _amounts(self, m: Module, word: Value, of_source: Value) -> tuple[list[Value], list[Value]]:
        """The amount of every trace of the word; Δ of those of the word of two cycles before, cut to what can matter."""
        unit = self.unit
        half = Signal(TRACE_BITS + 1, reset_less=True)
        m.d.sync += half.eq(Mux(unit.rounding == 1, Cat(unit.f == bit + 1 for bit in range(TRACE_BITS + 1)), 0))
        traces, amounts = [], []
        for lane in range(self.config.lanes):
            trace = word.word_select(lane, 32)[:TRACE_BITS]
            amount = Mux(unit.window, Mux(trace.any(), Mux(of_source, unit.pot, unit.dep), 0), trace)
            traces.append(amount)
            total = Signal(TRACE_BITS + 2, name=f"amount{lane}", reset_less=True)
            m.d.sync += total.eq(amount + half)
            delta = Signal(TRACE_BITS + 2, name=f"delta{lane}", reset_less=True)
            m.d.sync += delta.eq(total >> unit.f)
            most = Const((1 << self.delta_bits) - 1, self.delta_bits)
            amounts.append(Mux(delta[self.delta_bits :].any(), most, delta[: self.delta_bits]))
        return traces, amounts

    def _choose(self, m: Module, source_comes: Value, fired_comes: Value, spike_word: Value) -> None:
        """Say which rows of a group are due, when its traces and ``spike_word`` come; which row is the next one."""
        unit, sources, targets = self.unit, self.sources, self.targets
        lanes = self.config.lanes
        part = Signal(range(max(2, targets.words)))
        real = Signal(SPIKE_WORD, reset_less=True)  # targets in the spike word that comes next
        coming: Value = part
        for _ in range(1, self.memory):
            sooner, coming = coming, Signal.like(part)
            m.d.sync += coming.eq(sooner)
        m.d.sync += real.eq(targets.valid.word_select(coming[: (targets.words - 1).bit_length()], SPIKE_WORD))
        with m.If(self.target_spikes):
            m.d.sync += part.eq(part + 1 if targets.words > 1 else 0)
        with m.If(fired_comes & (spike_word & real).any()):
            m.d.sync += self.any_fired.eq(1)
        exist, group = Signal(lanes, reset_less=True), Signal(4, reset_less=True)  # sources of the group asked for
        with m.If(self.source_group):
            m.d.sync += [exist.eq(Cat(sources.left > lane for lane in range(lanes))), group.eq(sources.number)]
        traced = Cat(unit.pool.data_r.word_select(lane, 32)[:TRACE_BITS].any() for lane in range(lanes))
        m.d.comb += [
            self.spiked.eq(spike_word.word_select(group[(lanes - 1).bit_length() :], lanes)),
            self.due.eq(exist & (self.spiked | (traced & self.any_fired.replicate(lanes)))),
        ]
        with m.If(source_comes):
            m.d.sync += [self.next_due.eq(self.due), self.next_spiked.eq(self.spiked)]

        due, spikes = Mux(self.begins, self.next_due, self.rest), Mux(self.begins, self.next_spiked, self.spikes)
        index = Signal.like(self.index)
        for lane in reversed(range(lanes)):
            with m.If(due[lane]):
                m.d.comb += index.eq(lane)
        m.d.sync += self.paced.eq(unit.rounding == 2)
        with m.If(self.begins | self.row):
            m.d.sync += [
                self.rest.eq(due & (due - 1)),
                self.spikes.eq(spikes),
                self.index.eq(index),
                self.dep.eq(spikes.bit_select(index, 1)),
            ]

    def states(self, m: Module) -> None:
        """The states of the command, inside :class:`Learn`'s state machine."""
        unit, sources, targets, lanes = self.unit, self.sources, self.targets, self.config.lanes
        drain = Signal(range(self.stages))
        patience = Signal(range(self.memory))  # cycles until what was asked for last may be looked at
        m.d.sync += patience.eq(Mux(patience == 0, 0, patience - 1))
        group = Signal(range(targets.groups))

        def ask() -> None:
            m.d.comb += [self.source_group.eq(1), unit.look.word.eq(sources.word), unit.look.slot.eq(unit.slot)]
            m.d.sync += [
                sources.x_offset.eq(sources.x_offset + unit.x_stride),
                sources.number.eq(sources.number + lanes),
                sources.left.eq(Mux(sources.left > lanes, sources.left - lanes, 0)),
                self.ask_odd.eq(~self.ask_odd),
            ]
            with m.If(sources.number >= SPIKE_WORD - lanes):
                m.d.sync += sources.word.eq(sources.word + 1)

        def end_of_group(state: str) -> None:
            m.next = state
            with m.If(~self.asked):
                targets.next_block(m)
                m.next = "FAST_TARGETS"
                with m.If(targets.last):
                    m.next = "FAST_DRAIN"

        with m.State("FAST_TARGETS"):
            m.d.sync += [
                sources.number.eq(0),
                sources.left.eq(unit.sources),
                sources.x_offset.eq(unit.x_k),
                sources.word.eq(unit.first_word),
            ]
            self.access.read(m, unit.y_base, targets.y_offset)
            m.d.comb += targets.next_group.eq(1)
            m.d.comb += self.target_group.eq(1)
            with m.If(group < targets.words):
                targets.ask_spikes(m)
                m.d.comb += self.target_spikes.eq(1)
            m.d.sync += [sources.offset.eq(targets.column), group.eq(group + 1)]
            self.fractions.first_source(m, unit)
            with m.If(group == 0):
                m.d.sync += self.any_fired.eq(0)
            with m.If(group == targets.groups - 1):
                m.next = "FAST_ASK"
        with m.State("FAST_ASK"):
            self.access.read(m, unit.x_base, sources.x_offset)
            ask()
            m.d.sync += patience.eq(self.memory - 1)
            m.next = "FAST_WAIT"
        with m.State("FAST_WAIT"):
            with m.If(patience == 0):
                m.next = "FAST_BEGIN"
        with m.State("FAST_BEGIN"):
            m.d.comb += self.begins.eq(1)
            m.d.sync += [
                patience.eq(self.memory - 1),
                self.first.eq(sources.offset),
                *self.fractions.next_group(),
                sources.offset.eq(sources.offset + (unit.row_words << (lanes - 1).bit_length())),
                self.odd.eq(~self.ask_odd),
                self.asked.eq(sources.left != 0),
            ]
            self.access.read(m, unit.x_base, sources.x_offset)
            with m.If(sources.left != 0):
                ask()
            m.next = "FAST_ROW"
            with m.If(self.next_due == 0):
                m.next = "FAST_WAIT"
                with m.If(sources.left == 0):
                    targets.next_block(m)
                    m.next = "FAST_TARGETS"
                    with m.If(targets.last):
                        m.next = "FAST_DRAIN"
        with m.State("FAST_ROW"):
            last = self.beat == self.fractions.beats - 1
            m.d.comb += [self.access.base.eq(unit.base), self.turn.eq(self.paced), self.row.eq(~self.paced | last)]
            m.d.sync += self.beat.eq(Mux(last, 0, self.beat + self.paced))
            with m.If(self.row & (self.rest == 0)):
                end_of_group("FAST_BEGIN")
                with m.If(self.asked & (patience != 0)):
                    m.next = "FAST_WAIT"
        with m.State("FAST_DRAIN"):
            m.d.sync += drain.eq(drain + 1)
            with m.If(drain == self.stages - 1):
                m.d.sync += drain.eq(0)
                m.next = "DONE"
