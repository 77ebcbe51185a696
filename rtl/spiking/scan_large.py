"""SCAN on large cores: the groups' instructions follow each other through a pipeline of five stages."""

from __future__ import annotations

import itertools
from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from neuroloom.compiler.spiking.core import SPIKE_WORD, CoreConfig
from neuroloom.compiler.spiking.cycles import acc_banks
from neuroloom.compiler.spiking.isa import SHORT_BITS, SHORT_LSB, Op

from .lane_large import DECODED_BITS, LargeLane, decode
from .ports import PoolWritePort
from .scan import scan_members

SHARE = 4
"""Lanes that share the registers which say what an instruction does: more of them would be far from each other."""


class Orders:
    """What an instruction does, for some of the lanes; ``coming`` are bits 30..24 of the next one, ``init`` differs from that of
    other lanes' registers, so that synthesis does not merge them.
    """

    def __init__(self, name: str, coming: Value, init: int) -> None:
        self._coming = coming
        self.op = Signal(5, name=f"op{name}", init=init, reset_less=True)
        self.hot = Signal(DECODED_BITS, name=f"hot{name}", init=init, reset_less=True)
        self.adds = Signal(name=f"adds{name}", init=init, reset_less=True)

    def take(self) -> list[Any]:
        """Be those of the next instruction."""
        op = self._coming[2:]
        return [self.op.eq(op), self.hot.eq(decode(op, self._coming[:2].any())), self.adds.eq(op == Op.ADD)]


class LargeScan(wiring.Component):
    """The unit of SCAN with four lanes and more.

    An instruction's word comes from the program memory (stage 0), the word of a load is asked for (1), it is on its way (2, 3;
    the instruction is decoded), the instruction is executed (4). Behind the last instruction of a group one cycle is left out, in
    which the group's spikes are known. A MUL, SQR or BST leaves out those that it needs itself. Each spike to be watched stops all
    stages for a cycle. A group has at least two instructions.

    Members
    -------
    As of :class:`~.scan.Scan`, and
    takes_long : In(2), of the program memory, see :class:`~.memories.Program`
    soon : In(1), ``start`` may come in this cycle, and no unit uses the program memory in it
    freeze : Out(1), the pool and the program memory keep what they show; ``hold`` of the program is the same
    """

    def __init__(self, config: CoreConfig) -> None:
        self._config = config
        own = {"soon": In(1), "takes_long": In(2), "freeze": Out(1), "rows": Out(PoolWritePort(config))}
        super().__init__(scan_members(config) | own)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self._config
        running, frozen, moves = Signal(), Signal(), Signal()  # stages move in a cycle of running that is not frozen
        m.d.comb += [moves.eq(running & ~frozen), self.freeze.eq(frozen), self.hold.eq(frozen)]
        word, enters, long = self._fetch(m, moves)

        # Stages 1 to 3: the word of a load is asked for, and is on its way.
        state = Signal(16, reset_less=True)  # the group's words in the pool
        instructions, valid = [word], [enters]
        longs = [long]
        for stage in range(1, 4):
            before, was, length = instructions[-1], valid[-1], longs[-1]
            instructions.append(Signal(32, name=f"instruction{stage}", reset_less=True))
            valid.append(Signal(name=f"valid{stage}"))
            longs.append(Signal.like(long, name=f"long{stage}", reset_less=True))
            with m.If(moves):
                m.d.sync += [instructions[-1].eq(before), valid[-1].eq(was), longs[-1].eq(length)]
        at: Value = Signal(16)
        m.d.comb += at.eq(state + instructions[1][:4])
        with m.If(running):
            m.d.comb += self.pool.addr.eq(at)
        with m.If(moves & valid[1] & instructions[1][31]):
            m.d.sync += state.eq(state + self.stride)
        store_at = at
        for stage in range(2, 5):
            sooner, store_at = store_at, Signal(16, name=f"at{stage}", reset_less=True)
            with m.If(moves):
                m.d.sync += store_at.eq(sooner)

        # Stage 4.
        now, go = Signal(32, reset_less=True), Signal()
        left = Signal.like(long)  # cycles that the instruction still takes
        constant = Signal(signed(24), reset_less=True)
        is_store, takes = Signal(reset_less=True), Signal(reset_less=True)
        coming = instructions[3]
        op = coming[26:31]
        near = Signal(
            7, init=-1, reset_less=True
        )  # an initial value of its own keeps synthesis from merging it with ``coming``
        with m.If(moves):
            m.d.sync += near.eq(instructions[2][24:31])
        orders = [
            Orders(f"{number}", source, init)
            for number, (init, source) in enumerate(itertools.product((0, -1), (coming[24:31], near)))
        ][: -(-config.lanes // SHARE)]
        ends, spiking = Signal(), Signal()  # the group's last cycle of execution, and the one behind it
        with m.If(moves):
            m.d.sync += [
                go.eq(valid[3]),
                left.eq(Mux(left == 0, 0, left - 1)),
                ends.eq(Mux(valid[3], coming[31] & (longs[3] == 0), (left == 1) & now[31])),
            ]
            with m.If(valid[3]):
                m.d.sync += [
                    now.eq(coming),
                    left.eq(longs[3]),
                    *(statement for order in orders for statement in order.take()),
                    constant.eq(Mux(coming[24], coming[SHORT_LSB:][:SHORT_BITS].as_signed(), coming[:24].as_signed())),
                    is_store.eq((op == Op.STA) | (op == Op.STB)),
                    takes.eq(op == Op.ACC),
                ]
        m.d.sync += spiking.eq(ends)

        group, lanes = self._lanes(m, now, orders, constant, moves, go, coming)
        with m.If(go & is_store):
            m.d.comb += [self.rows.addr.eq(store_at), self.rows.write.eq(1)]
            m.d.comb += self.rows.data.eq(Cat(lane.state_w for lane in lanes))
        select = group[: (acc_banks(config) // config.lanes - 1).bit_length()]
        with m.If(go & takes):
            if len(select):
                m.d.comb += self.acc_clear.word_select(select, config.lanes).eq(Const(-1, config.lanes))
            else:
                m.d.comb += self.acc_clear.eq(Const(-1, config.lanes))
        k = Cat(lane.k for lane in lanes) & self._valid
        self._groups(m, running, frozen, go, group, state, ends, spiking, k)
        with m.If(spiking):
            m.d.comb += self._fresh.eq(1)
        with m.If(~running):
            m.d.sync += [*(v.eq(0) for v in valid[1:]), go.eq(0), ends.eq(0), left.eq(0)]
        return m

    def _fetch(self, m: Module, moves: Signal) -> tuple[Value, Signal, Signal]:
        """Stage 0: the word of the program; whether it is an instruction to be executed; cycles that it needs beyond one."""
        config = self._config
        word = self.program.data_r
        ends = word[31]
        multiplies, turns = self.takes_long
        pc = Signal(12, reset_less=True)
        asked, enters = Signal(), Signal()  # the word was asked for; and none before it needs its time
        most = max(config.lanes, config.multiply_cycles) - 1
        pause, long = Signal(range(most + 1)), Signal(range(most + 1))
        m.d.comb += [
            long.eq(Mux(turns, config.lanes - 1, Mux(multiplies, config.multiply_cycles - 1, 0))),
            enters.eq(asked & (pause == 0)),
        ]
        with m.If(moves):
            m.d.comb += self.program.addr.eq(pc)
            with m.If(~asked):  # a group's first instruction
                m.d.sync += pause.eq(Mux(pause == 0, 0, pause - 1))
                with m.If(pause == 0):
                    m.d.sync += [asked.eq(1), pc.eq(pc + 1)]
            with m.Else():
                # The word behind a long instruction is asked for until it may follow.
                with m.If(enters):
                    m.d.sync += pause.eq(long)
                    with m.If(long == 0):
                        m.d.sync += pc.eq(pc + 1)
                    with m.If(ends):
                        m.d.sync += [pc.eq(self.pc), asked.eq(0)]
                with m.Else():
                    m.d.sync += pause.eq(pause - 1)
                    with m.If(pause == 1):
                        m.d.sync += pc.eq(pc + 1)
        with m.If(self.soon):
            m.d.comb += self.program.addr.eq(self.pc)
        with m.If(self.start):
            m.d.sync += [pc.eq(self.pc + 1), asked.eq(1), pause.eq(0)]
        return word, enters, long

    def _lanes(
        self, m: Module, now: Value, orders: list[Orders], constant: Value, moves: Value, go: Value, coming: Value
    ) -> tuple[Signal, list[LargeLane]]:
        """The lanes and what they have in common; returns the group and the lanes."""
        config = self._config
        banks, bits = acc_banks(config), config.state_bits
        lane_bits = (config.lanes - 1).bit_length()
        group = Signal(12, reset_less=True)
        select = group[: (banks // config.lanes - 1).bit_length()]
        place = group[: (SPIKE_WORD // config.lanes - 1).bit_length()]
        self._fresh = Signal()
        self._valid = Signal(config.lanes)
        self._before, self._injected = (
            Signal(SPIKE_WORD, name=name, reset_less=True) for name in ("before", "injected")
        )
        best, best_group = Signal(signed(bits), reset_less=True), Signal(12, reset_less=True)
        best_lane, has_best = Signal(lane_bits, reset_less=True), Signal()
        lanes, saturated = [], []
        for number in range(config.lanes):
            m.submodules[f"lane{number}"] = lane = LargeLane(bits)
            values = Cat(
                self.acc_values.word_select(part * config.lanes + number, bits) for part in range(banks // config.lanes)
            )
            m.d.comb += [
                lane.fresh.eq(self._fresh),
                lane.go.eq(go),
                lane.moves.eq(moves),
                lane.op.eq(orders[number // SHARE].op),
                lane.adds.eq(orders[number // SHARE].adds),
                lane.hot.eq(orders[number // SHARE].hot),
                lane.imm.eq(now),
                lane.constant.eq(constant),
                lane.coming.eq(coming),
                lane.state_r.eq(self.pool.data_r.word_select(number, 32)),
                lane.acc_r.eq(values.word_select(select, bits)),
                lane.before.eq(self._before.word_select(place, config.lanes)[number]),
                lane.injected.eq(self._injected.word_select(place, config.lanes)[number]),
                lane.winner.eq(has_best & (best_group == group) & (best_lane == number)),
            ]
            lanes.append(lane)
            saturated.append(Mux(self._valid[number], lane.saturated, 0))
        m.d.comb += self.saturated.eq(Cat(Cat(s[kind] for s in saturated).any() for kind in range(2)))

        # BST looks at one lane per cycle, so that the lowest neuron wins among equals; a cycle later it is compared.
        turn, turning = Signal(lane_bits), Signal()
        m.d.comb += turning.eq((now[26:31] == Op.BST) & (go | (turn != 0)))
        seen, seen_lane = Signal(signed(bits), reset_less=True), Signal(lane_bits, reset_less=True)
        seen_group, counts = Signal(12, reset_less=True), Signal()
        m.d.sync += [seen_lane.eq(turn), seen_group.eq(group), counts.eq(0)]
        with m.Switch(turn):
            for number, lane in enumerate(lanes):
                with m.Case(number):
                    m.d.sync += [seen.eq(lane.a), counts.eq(turning & lane.f & self._valid[number])]
        with m.If(turning):
            m.d.sync += turn.eq(turn + 1)
        with m.If(counts & (~has_best | (seen > best))):
            m.d.sync += [best.eq(seen), best_group.eq(seen_group), best_lane.eq(seen_lane), has_best.eq(1)]
        with m.If(self.start & self.reset_best):
            m.d.sync += has_best.eq(0)
        return group, lanes

    def _groups(
        self,
        m: Module,
        running: Signal,
        frozen: Signal,
        go: Signal,
        group: Signal,
        state: Signal,
        ends: Signal,
        spiking: Signal,
        k: Value,
    ) -> None:
        """From group to group: which accumulators and spike words are read, spikes into the history, events."""
        config = self._config
        lanes = config.lanes
        lane_bits, place_bits = (lanes - 1).bit_length(), (SPIKE_WORD // lanes - 1).bit_length()
        select_bits = (acc_banks(config) // lanes - 1).bit_length()
        following = Signal(12, reset_less=True)  # the next group
        rest = Signal(16, reset_less=True)  # neurons behind this group
        last = Signal(reset_less=True)
        begins, asks, comes, came = Signal(), Signal(), Signal(), Signal()  # what the next group reads of the history
        reads = Mux(ends | spiking, following, group)
        m.d.comb += asks.eq(begins | ends)
        m.d.sync += [begins.eq(self.start), comes.eq(asks), came.eq(comes)]
        with m.If(running):
            m.d.comb += self.acc_row.eq(reads[select_bits:])
        with m.If(asks):
            m.d.comb += [self.hist.slot.eq(self.slot - 1), self.hist.word.eq(reads[place_bits:])]
        with m.If(comes):
            m.d.comb += [self.hist.slot.eq(self.slot), self.hist.word.eq(reads[place_bits:])]
            m.d.sync += self._before.eq(self.hist.data_r)
        with m.If(came):
            m.d.sync += self._injected.eq(self.hist.data_r)  # for the second instruction: INJ is never the first one

        place = group[:place_bits]
        fired, next_fired = Signal(SPIKE_WORD, reset_less=True), Signal(SPIKE_WORD)  # spikes of this word so far
        m.d.comb += next_fired.eq(fired)
        m.d.comb += next_fired.word_select(place, lanes).eq(k)
        word_ends = place.all() | last if place_bits else Const(1)
        written, written_at, writes = Signal(SPIKE_WORD, reset_less=True), Signal(12, reset_less=True), Signal()
        m.d.sync += [written.eq(next_fired), written_at.eq(group[place_bits:]), writes.eq(spiking & word_ends)]
        with m.If(writes):
            m.d.comb += [self.hist.slot.eq(self.slot), self.hist.word.eq(written_at)]
            m.d.comb += [self.hist.write.eq(1), self.hist.data_w.eq(written)]

        pending, first_pending = Signal(lanes, reset_less=True), Signal(lanes)
        event_group, final = Signal(12, reset_less=True), Signal(reset_less=True)
        m.d.comb += first_pending.eq(pending & ~(pending - 1))
        index = Signal(lane_bits)
        for number in reversed(range(lanes)):
            with m.If(pending[number]):
                m.d.comb += index.eq(number)
        source = Cat(index, event_group)
        m.d.comb += self.event.eq(Cat(self.step[:16], source[:16]))
        with m.If(spiking):
            m.d.sync += [
                group.eq(following),
                following.eq(following + 1),
                rest.eq(rest - lanes),
                self._valid.eq(Cat(rest > lane for lane in range(lanes))),
                last.eq(rest <= lanes),
                fired.eq(Mux(word_ends, 0, next_fired)),
                pending.eq(k),
                event_group.eq(group),
                final.eq(last),
            ]
            # the next group's first instruction is there: it waits, or is no longer wanted
            with m.If(self.watch & k.any()):
                m.d.sync += [frozen.eq(1), go.eq(0)]
            with m.Elif(last):
                m.d.comb += self.done.eq(1)
                m.d.sync += [running.eq(0), go.eq(0)]
        with m.If(frozen):
            m.d.comb += [self.event_valid.eq(1), self.stalled.eq(~self.event_ready)]
            with m.If(self.event_ready):
                m.d.sync += pending.eq(pending & ~first_pending)
                with m.If(pending == first_pending):
                    m.d.sync += frozen.eq(0)
                    with m.If(final):
                        m.d.comb += self.done.eq(1)
                        m.d.sync += running.eq(0)
                    with m.Else():
                        m.d.sync += go.eq(1)
        with m.If(~running):
            m.d.sync += [
                group.eq(self.first_group),
                following.eq(self.first_group + 1),
                rest.eq(self.neurons - lanes),
                self._valid.eq(Cat(self.neurons > lane for lane in range(lanes))),
                last.eq(self.neurons <= lanes),
                state.eq(self.state_base),
                fired.eq(0),
                running.eq(self.start),
            ]
