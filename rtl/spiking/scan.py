"""SCAN: microcode over the groups of a population, one instruction per cycle; for one lane or two."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from neuroloom.compiler.spiking.core import SPIKE_WORD, CoreConfig
from neuroloom.compiler.spiking.cycles import acc_banks
from neuroloom.compiler.spiking.isa import Op, Step

from .lane import Lane
from .ports import HIST_SLOT_BITS, HistPort, PoolPort, ProgramPort, command_members


def scan_members(config: CoreConfig) -> dict[str, wiring.Member]:
    """Members of :class:`Scan`."""
    banks = acc_banks(config)
    return {
        "start": In(1),
        "done": Out(1),
        **command_members(Step.SCAN),
        "slot": In(HIST_SLOT_BITS),
        "step": In(32),
        "pool": Out(PoolPort(config)),
        "hist": Out(HistPort()),
        "program": Out(ProgramPort()),
        "hold": Out(1),
        "acc_row": Out(max((-(-config.neurons // banks) - 1).bit_length(), 1)),
        "acc_clear": Out(banks),
        "acc_values": In(banks * config.state_bits),
        "event": Out(32),
        "event_valid": Out(1),
        "event_ready": In(1),
        "stalled": Out(1),
        "saturated": Out(2),
    }


class Scan(wiring.Component):
    """The unit of SCAN; large cores have :class:`~.scan_large.LargeScan`.

    An instruction passes three stages: its word is read, it is decoded (a load's word and the accumulators are read), it is
    executed. A group takes two cycles until its first instruction executes, and one behind the last, in which its spikes are
    known; each spike to be watched takes one more.

    Members
    -------
    start, done, fields of SCAN, slot, pool, hist, program : as in :mod:`.ports`
    step : In(32), the current step, for events
    hold : Out(1), keep the program's word
    acc_row, acc_clear, acc_values : the accumulators, see :class:`~.accumulators.Accumulators`; 0 while idle
    event, event_valid, event_ready : a spike of a watched population, step below source
    stalled : Out(1), an event waits
    saturated : Out(2), ADD or SUB, RND does not fit in this cycle
    """

    def __init__(self, config: CoreConfig) -> None:
        self._config = config
        super().__init__(scan_members(config))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self._config
        lanes, bits = config.lanes, config.state_bits
        lane_bits = (lanes - 1).bit_length()
        place_bits = (SPIKE_WORD // lanes - 1).bit_length()  # of a group's place in its spike word

        group = Signal(12, reset_less=True)
        remaining = Signal(16, reset_less=True)  # neurons from this group on
        state = Signal(16, reset_less=True)  # the group's words in the pool
        pc = Signal(12, reset_less=True)
        now = Signal(32, reset_less=True)  # the instruction in execution
        before = Signal(16, reset_less=True)
        fired = Signal(16, reset_less=True)  # spikes of this word so far
        pending = Signal(lanes, reset_less=True)
        turn = Signal(max(lane_bits, 1))

        place = group[:place_bits]
        word = group[place_bits:]
        valid = Signal(lanes)
        last_group = Signal()
        m.d.comb += [
            valid.eq(Cat(remaining > lane for lane in range(lanes))),
            last_group.eq(remaining <= lanes),
        ]

        go, fresh, waits = Signal(), Signal(), Signal()
        op, imm = now[26:31], now[:24]
        # decoded before it is executed: the longest paths begin with these
        rounds, adds, multiplies = (Signal(reset_less=True, name=name) for name in ("rounds", "adds", "multiplies"))
        store_at = Signal(16, reset_less=True)
        stores, takes = Signal(), Signal()
        is_store = Signal(reset_less=True)
        m.d.comb += [stores.eq(go & is_store), takes.eq(go & (op == Op.ACC))]

        best = Signal(signed(bits), reset_less=True)
        best_group, best_lane = Signal(12, reset_less=True), Signal(max(lane_bits, 1), reset_less=True)
        has_best = Signal()
        winner = Signal(lanes)

        a, f, k = [], Signal(lanes), Signal(lanes)
        saturated = []
        banks = acc_banks(config)
        select_bits = (banks // lanes - 1).bit_length()
        select = group[:select_bits]
        stored = self.pool.data_w
        for number in range(lanes):
            lane = Lane(bits)
            m.submodules[f"lane{number}"] = lane
            values = Cat(self.acc_values.word_select(part * lanes + number, bits) for part in range(banks // lanes))
            m.d.comb += [
                lane.fresh.eq(fresh),
                lane.go.eq(go),
                lane.op.eq(op),
                lane.rounds.eq(rounds),
                lane.adds.eq(adds),
                lane.imm.eq(imm),
                lane.coming.eq(self.program.data_r),
                lane.state_r.eq(self.pool.data_r.word_select(number, 32)),
                lane.acc_r.eq(values.word_select(select, bits)),
                lane.before.eq(before.word_select(place, lanes)[number]),
                lane.injected.eq(self.hist.data_r.word_select(place, lanes)[number]),
                lane.winner.eq(winner[number]),
                f[number].eq(lane.f),
                k[number].eq(lane.k & valid[number]),
                winner[number].eq(has_best & (best_group == group) & (best_lane == number)),
            ]
            with m.If(stores):
                m.d.comb += stored.word_select(number, 32).eq(lane.state_w)
            a.append(lane.a)
            saturated.append(Mux(valid[number], lane.saturated, 0))
        m.d.comb += self.saturated.eq(Cat(Cat(s[kind] for s in saturated).any() for kind in range(2)))

        # BST looks at one lane per cycle, so that the lowest neuron wins among equals.
        turns_a, turns_f = Signal(signed(bits)), Signal()
        if lanes > 1:
            with m.Switch(turn):
                for number in range(lanes):
                    with m.Case(number):
                        m.d.comb += [turns_a.eq(a[number]), turns_f.eq(f[number] & valid[number])]
        else:
            m.d.comb += [turns_a.eq(a[0]), turns_f.eq(f[0] & valid[0])]
        compares = Signal()
        m.d.comb += compares.eq(go & (op == Op.BST))
        if lanes > 1:
            m.d.comb += waits.eq(compares & (turn != lanes - 1))
        # what P takes before the last cycle but one may not be settled yet
        cycle = Signal(range(config.multiply_cycles))
        with m.If(multiplies & (cycle != config.multiply_cycles - 1)):
            m.d.comb += waits.eq(1)
            m.d.sync += cycle.eq(Mux(go, cycle + 1, 0))
        with m.Else():
            m.d.sync += cycle.eq(0)
        with m.If(compares):
            m.d.sync += turn.eq(turn + 1 if lanes > 1 else 0)
            with m.If(turns_f & (~has_best | (turns_a > best))):
                m.d.sync += [best.eq(turns_a), best_group.eq(group), best_lane.eq(turn), has_best.eq(1)]

        # While a group is worked on, its row of accumulators is read in every cycle.
        busy = Signal()
        with m.If(busy):
            m.d.comb += self.acc_row.eq(group[select_bits:])
        with m.If(takes):
            if banks > lanes:
                m.d.comb += self.acc_clear.word_select(select, lanes).eq(Const(-1, lanes))
            else:
                m.d.comb += self.acc_clear.eq(Const(-1, banks))

        fetched = Signal(32, reset_less=True)  # the word read last, for whoever looks at waves; synthesis leaves it out
        decoded = self.program.data_r
        coming = decoded[26:31]
        state_word = Signal(16)
        m.d.comb += state_word.eq(state + self.program.data_r[:4])

        def take_instruction() -> None:
            m.d.sync += fetched.eq(self.program.data_r)
            m.d.sync += [
                now.eq(decoded),
                pc.eq(pc + 1),
                rounds.eq(coming == Op.RND),
                adds.eq(coming == Op.ADD),
                multiplies.eq((coming == Op.MUL) | (coming == Op.SQR)),
                is_store.eq((coming == Op.STA) | (coming == Op.STB)),
                store_at.eq(state_word),
            ]

        next_fired = Signal(16)
        m.d.comb += next_fired.eq(fired)
        m.d.comb += next_fired.word_select(place, lanes).eq(k)
        word_ends = place.all() | last_group if place_bits else Const(1)
        first_pending = Signal(lanes)
        m.d.comb += first_pending.eq(pending & ~(pending - 1))
        index = Signal(max(lane_bits, 1))
        for number in reversed(range(lanes)):
            with m.If(pending[number]):
                m.d.comb += index.eq(number)

        def go_on() -> None:
            m.d.sync += [group.eq(group + 1), remaining.eq(remaining - lanes), state.eq(state + self.stride)]
            with m.If(last_group):
                m.d.comb += self.done.eq(1)
                m.next = "IDLE"
            with m.Else():
                m.next = "FIRST"

        with m.FSM(name="scan"):
            with m.State("IDLE"):
                m.d.sync += [
                    group.eq(self.first_group),
                    remaining.eq(self.neurons),
                    state.eq(self.state_base),
                    fired.eq(0),
                ]
                with m.If(self.start):
                    with m.If(self.reset_best):
                        m.d.sync += has_best.eq(0)
                    m.next = "FIRST"
            with m.State("FIRST"):
                m.d.comb += [
                    busy.eq(1),
                    self.program.addr.eq(self.pc),
                    self.hist.slot.eq(self.slot - 1),
                    self.hist.word.eq(word),
                ]
                m.d.sync += [pc.eq(self.pc + 1), fetched.eq(self.program.data_r)]
                m.next = "SECOND"
            with m.State("SECOND"):
                m.d.comb += [
                    busy.eq(1),
                    fresh.eq(1),
                    self.program.addr.eq(pc),
                    self.hist.slot.eq(self.slot),
                    self.hist.word.eq(word),
                    self.pool.addr.eq(state_word),
                ]
                m.d.sync += before.eq(self.hist.data_r)
                take_instruction()
                m.next = "EXECUTE"
            with m.State("EXECUTE"):
                m.d.comb += [
                    busy.eq(1),
                    go.eq(1),
                    self.program.addr.eq(pc),
                    self.hold.eq(waits),
                    self.hist.slot.eq(self.slot),
                    self.hist.word.eq(word),
                    self.pool.addr.eq(Mux(is_store, store_at, state_word)),
                ]
                m.d.comb += self.pool.write.eq(stores)
                with m.If(~waits):
                    take_instruction()
                    with m.If(now[31]):
                        m.next = "SPIKES"
            with m.State("SPIKES"):
                m.d.sync += [pending.eq(k), fired.eq(Mux(word_ends, 0, next_fired))]
                with m.If(word_ends):
                    m.d.comb += [
                        self.hist.slot.eq(self.slot),
                        self.hist.word.eq(word),
                        self.hist.write.eq(1),
                        self.hist.data_w.eq(next_fired),
                    ]
                with m.If(self.watch & k.any()):
                    m.next = "EVENTS"
                with m.Else():
                    go_on()
            with m.State("EVENTS"):
                source = Cat(index[:lane_bits], group)
                m.d.comb += [
                    self.event_valid.eq(1),
                    self.event.eq(Cat(self.step[:16], source[:16])),
                    self.stalled.eq(~self.event_ready),
                ]
                with m.If(self.event_ready):
                    m.d.sync += pending.eq(pending & ~first_pending)
                    with m.If(pending == first_pending):
                        go_on()
        return m
