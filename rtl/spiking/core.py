"""The core: memories, units, and the sequencer that runs the step program."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from neuroloom.compiler.spiking.core import SPIKE_WORD, CoreConfig
from neuroloom.compiler.spiking.cycles import fetched_words
from neuroloom.compiler.spiking.isa import FIELDS, Step

from .accumulators import Accumulators
from .accumulators_large import LargeAccumulators
from .decide import Decide
from .deliver import Deliver
from .deliver_large import LargeDeliver
from .exchange import Exchange
from .history import History
from .inputs import Inputs
from .joins import Space, join_byte, join_history, join_pool, join_program, join_staging, may_use
from .learn import Learn
from .learn_serial import SerialLearn
from .memories import BLOCK, Events, Pool, Program, Staging
from .ports import HIST_SLOT_BITS, PROGRAM_ADDR_BITS, several_members
from .random import Lfsr
from .scan import Scan
from .scan_large import LargeScan

BYTE_CYCLES = 4
"""Cycles from the address of a byte to the byte, on large cores: those of the pool's word, and one for the lane's part of it."""


class Core(wiring.Component):
    """A spiking core without its byte engine.

    Members
    -------
    run : In(1), strobe while ``idle``: execute ``steps`` > 0 steps; ``raster``, ``stop`` (at the decision), ``restart`` (number
        steps from 0) say how
    idle : Out(1)
    sweep : In(1), write 0 to the history, the staged spikes and the accumulators at index ``address``
    reset_run : In(1), strobe: step 0, no events, no decision, counters and saturation flags 0
    access, space, address, write, data_w : In, the memories while idle: byte ``address`` of a space; a write takes 32 bits (the
        upper half of ``data_w`` alone for HIST). On large cores the address must have stood with ``access`` for three cycles before
    byte_r : Out(8), the byte of ``address`` in the cycle before, on large cores in the cycle :data:`BYTE_CYCLES` before
    stage, stage_word, stage_write, stage_data_w, stage_data_r : the staged spikes, used while ``stage``
    event_next : In(1), drop the oldest event; ``event``, ``events`` : Out, it and how many wait
    step, cycles, stalls : Out(32); ``stalled`` : Out(1), ``saturated`` : Out(4), accumulators, ADD or SUB, RND, eligibilities
    stopped, decided, winner, decided_at : Out

    One of several cores has those of :func:`.ports.several_members` as well.
    """

    def __init__(self, config: CoreConfig) -> None:
        self.config = config
        self.sweep_bits = max(
            (config.sources // SPIKE_WORD * config.slots - 1).bit_length(), (config.neurons - 1).bit_length()
        )
        super().__init__(
            several_members(config)
            | {
                "run": In(1),
                "steps": In(32),
                "raster": In(1),
                "stop": In(1),
                "restart": In(1),
                "idle": Out(1),
                "sweep": In(1),
                "reset_run": In(1),
                "access": In(1),
                "space": In(2),
                "address": In(32),
                "write": In(1),
                "data_w": In(32),
                "byte_r": Out(8),
                "stage": In(1),
                "stage_word": In(9),
                "stage_write": In(1),
                "stage_data_w": In(16),
                "stage_data_r": Out(16),
                "event_next": In(1),
                "event": Out(32),
                "events": Out(16),
                "step": Out(32),
                "cycles": Out(32),
                "stalls": Out(32),
                "stalled": Out(1),
                "saturated": Out(4),
                "stopped": Out(1),
                "decided": Out(1),
                "winner": Out(16),
                "decided_at": Out(32),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        m.submodules.pool = pool = Pool(config)
        m.submodules.hist = hist = History(config)
        m.submodules.program = program = Program(config)
        m.submodules.acc = acc = LargeAccumulators(config) if config.large else Accumulators(config)
        m.submodules.events = events = Events(config)
        m.submodules.staging = staging = Staging(config)

        m.submodules.inputs = inputs = Inputs(config)
        m.submodules.scan = scan = LargeScan(config) if config.large else Scan(config)
        m.submodules.deliver = deliver = LargeDeliver(config) if config.large else Deliver(config)
        if config.large:
            m.d.comb += [pool.hold.eq(scan.freeze), scan.takes_long.eq(program.takes_long)]
        units: dict[Step, Any] = {
            Step.INPUTS: inputs,
            Step.SCAN: scan,
            Step.DENSE: deliver,
            Step.SPARSE: deliver,
        }
        if config.learning != "none":
            serial = config.serial_learning
            m.submodules.learn = learn = SerialLearn(config) if serial else Learn(config, fast=config.fast_learning)
            units |= {Step.LEARN_DENSE: learn, Step.LEARN_SPARSE: learn}
        decide = None
        if config.decision:
            m.submodules.decide = decide = units[Step.DECIDE] = Decide(config)
        exchange = None
        if config.cores > 1:
            m.submodules.exchange = exchange = units[Step.EXCHANGE] = Exchange()
            m.d.comb += [exchange.go.eq(self.go), exchange.word_i.eq(self.word_i), self.word_o.eq(exchange.word_o)]
        distinct = list(dict.fromkeys(units.values()))

        # Registers of a command; every unit sees its fields in them.
        command = Signal(4)
        kept = max(
            fetched_words(c) for c, unit in units.items() if not isinstance(unit, SerialLearn)
        )  # that one reads its own
        words = [Signal(32, name=f"word{n}", reset_less=True) for n in range(kept)]
        for code, unit in units.items():
            for name, place in FIELDS[code].items():
                if name in unit.signature.members:
                    part = words[place.word][place.lsb :][: place.width]
                    m.d.comb += getattr(unit, name).eq(part.as_signed() if place.signed else part)
        slots = Cat(words[2], words[3])[: config.slots]
        m.d.comb += [deliver.sparse.eq(command == Step.SPARSE), deliver.delays.eq(slots)]

        # State of a run.
        step, steps_left = self.step, Signal(32, reset_less=True)
        raster, stop = Signal(reset_less=True), Signal(reset_less=True)
        position = Signal(16, reset_less=True)
        reward = Signal(signed(8))
        seeds, step_ends, random = Signal(), Signal(), Signal(32)
        if config.learning != "none":
            m.submodules.lfsr = lfsr = Lfsr()
            m.d.comb += [
                lfsr.load.eq(seeds),
                lfsr.seed.eq(self.data_w),
                lfsr.advance.eq(step_ends),
                random.eq(lfsr.value),
            ]
            m.d.comb += learn.sparse.eq(command == Step.LEARN_SPARSE)
        for unit in distinct:
            for name, value in {
                "slot": step[:HIST_SLOT_BITS],
                "step": step,
                "reward": reward,
                "lfsr": random,
            }.items():
                if name in unit.signature.members:
                    m.d.comb += getattr(unit, name).eq(value)

        join_pool(m, self, distinct, pool)
        join_history(m, self, distinct, hist)
        join_program(m, self, distinct, program)
        m.d.comb += [
            acc.row.eq(scan.acc_row | deliver.acc_row | Mux(self.sweep, self.address, 0)),
            acc.add.eq(deliver.acc_add),
            acc.weights.eq(deliver.acc_weights),
            acc.clear.eq(scan.acc_clear),
            scan.acc_values.eq(acc.values),
        ]
        swept: Value = self.sweep
        for number in range(1 + config.large):  # until its accumulators are there
            sooner, swept = swept, Signal(name=f"swept{number}" if config.large else "swept")
            m.d.sync += swept.eq(sooner)
        with m.If(swept):
            m.d.comb += acc.clear.eq(Const(-1, acc.banks))

        join_staging(m, self, inputs, staging, raster, position)

        # Events.
        m.d.comb += [
            events.w_data.eq(scan.event),
            scan.event_ready.eq(~events.full),
            events.w_en.eq(scan.event_valid & ~events.full),
            events.r_en.eq(self.event_next),
            events.clear.eq(self.reset_run),
            self.event.eq(events.r_data),
            self.events.eq(events.level),
            self.stalled.eq(scan.stalled),
        ]
        if decide is not None:
            m.d.comb += [
                decide.clear.eq(self.reset_run),
                self.decided.eq(decide.decided),
                self.winner.eq(decide.winner),
                self.decided_at.eq(decide.at),
            ]

        # Control space.
        with m.If(inputs.advance):
            m.d.sync += position.eq(position + 1)
        with m.If(self.access & self.write & (self.space == Space.CONTROL)):
            with m.Switch(self.address[2:4]):
                with m.Case(0):
                    m.d.sync += reward.eq(self.data_w)
                with m.Case(1):
                    m.d.comb += seeds.eq(1)
                with m.Case(2):
                    m.d.sync += position.eq(self.data_w)
        control: Value = Cat(reward, Const(0, 24), random, position, Const(0, 16))
        if config.learning == "none":
            control = Cat(Const(0, 64), position, Const(0, 16))
        join_byte(m, self, program, pool, hist, control)

        # The sequencer.
        pc = Signal(PROGRAM_ADDR_BITS, reset_less=True)
        rewind = [pc.eq(0)]
        if config.large:
            ahead = Signal.like(pc, name="ahead", reset_less=True)  # the block behind the one at pc
            rewind.append(ahead.eq(BLOCK))
        index = Signal(4, reset_less=True)
        done = Signal()
        m.d.comb += done.eq(Cat(unit.done for unit in distinct).any())
        fetch_at = Signal(PROGRAM_ADDR_BITS)  # 0 while units have the program
        m.d.comb += program.addr.eq(
            fetch_at
            | scan.program.addr
            | (decide.program.addr if decide is not None else 0)
            | (learn.program.addr if config.serial_learning else 0)
            | Mux(may_use(self, Space.PROGRAM), self.address[2:], 0)
        )
        m.d.comb += program.hold.eq(scan.hold)
        if config.serial_learning:
            m.d.comb += learn.behind.eq(pc[2:])
        opcode = Signal(4)
        last = Signal()
        more = Signal(2, reset_less=True)  # blocks of the command that are still to come
        if config.large:
            m.d.comb += last.eq(more == 0)
        else:
            m.d.comb += opcode.eq(Mux(index == 0, program.data_r[28:], command))
            with m.Switch(opcode):
                for code in units:
                    with m.Case(code):
                        m.d.comb += last.eq(index == fetched_words(code) - 1)
        running = Signal()
        with m.If(running):
            with m.If(self.any_stalled if exchange is not None else self.stalled):
                m.d.sync += self.stalls.eq(self.stalls + 1)
            with m.Else():
                m.d.sync += self.cycles.eq(self.cycles + 1)
        with m.If(deliver.next_delay):
            m.d.sync += Cat(words[2], words[3])[: config.slots].eq(slots[1:])

        with m.FSM(name="sequencer") as fsm:
            m.d.comb += [self.idle.eq(fsm.ongoing("IDLE")), running.eq(~self.idle)]
            with m.State("IDLE"):
                with m.If(self.run):
                    m.d.sync += [
                        steps_left.eq(self.steps),
                        raster.eq(self.raster),
                        stop.eq(self.stop),
                        self.stopped.eq(0),
                        *rewind,
                    ]
                    with m.If(self.restart):
                        m.d.sync += step.eq(0)
                    m.next = "NEXT"

            with m.State("NEXT"):
                m.d.comb += fetch_at.eq(pc)
                m.d.sync += index.eq(0)
                m.next = "FETCH"
            if config.large:
                m.d.comb += [unit.soon.eq(fsm.ongoing("START") & last) for unit in (inputs, scan)]
                with m.State("FETCH"):
                    m.d.comb += fetch_at.eq(ahead)
                    self._take_block(m, program, pc, ahead, index, words)
                    m.d.sync += [command.eq(program.block[28:32]), more.eq(0)]
                    with m.Switch(program.block[28:32]):
                        for code in units:
                            with m.Case(code):
                                m.d.sync += more.eq((fetched_words(code) - 1) // BLOCK)
                    m.next = "START"
                with m.State("START"):
                    with m.If(~last):
                        m.d.comb += fetch_at.eq(ahead)
                    with m.If(command == Step.END):
                        if exchange is None:
                            self._end_step(m, rewind, steps_left, step_ends, stop & self.decided)
                        else:
                            m.next = "JOIN"
                    with m.Elif(last):
                        self._start(m, command, units)
                    with m.Else():
                        self._take_block(m, program, pc, ahead, index, words)
                        m.d.sync += more.eq(more - 1)
            else:
                with m.State("FETCH"):
                    m.d.comb += fetch_at.eq(pc + 1)
                    m.d.sync += [pc.eq(pc + 1), index.eq(index + 1), command.eq(opcode)]
                    with m.Switch(index):
                        for number, word in enumerate(words):
                            with m.Case(number):
                                m.d.sync += word.eq(program.data_r)
                    with m.If((index == 0) & (opcode == Step.END)):
                        if exchange is None:
                            self._end_step(m, rewind, steps_left, step_ends, stop & self.decided)
                        else:
                            m.next = "JOIN"
                    with m.Elif(last):
                        m.next = "START"
                with m.State("START"):
                    # A command takes whole blocks of four words.
                    with m.If(pc[:2] != 0):
                        m.d.sync += pc.eq(Cat(Const(0, 2), pc[2:] + 1))
                    self._start(m, command, units)
            with m.State("WORK"):
                with m.If(done):
                    m.next = "NEXT"
            if exchange is not None:
                # No core begins a step before all have ended the one before: they stop together, and count the same cycles.
                m.d.comb += self.waits.eq(exchange.waits | fsm.ongoing("JOIN") | self.idle)
                with m.State("JOIN"):
                    with m.If(self.go):
                        self._end_step(m, rewind, steps_left, step_ends, stop & self.any_decided)
        strobes = [acc.saturated, scan.saturated[0], scan.saturated[1]]
        if config.learning != "none" and not config.serial_learning:
            strobes.append(learn.saturated)
        if config.large:  # no counter or flag hangs on arithmetic
            kept = Signal(len(strobes))
            m.d.sync += kept.eq(Cat(*strobes))
            strobes = list(kept)
        for kind, strobe in enumerate(strobes):
            with m.If(strobe):
                m.d.sync += self.saturated[kind].eq(1)
        with m.If(self.reset_run):
            m.d.sync += [step.eq(0), self.cycles.eq(0), self.stalls.eq(0), self.saturated.eq(0), self.stopped.eq(0)]
        return m

    def _start(self, m: Module, command: Signal, units: dict[Step, Any]) -> None:
        """Start the unit of the command."""
        with m.Switch(command):
            for code, unit in units.items():
                with m.Case(code):
                    m.d.comb += unit.start.eq(1)
        m.next = "WORK"

    def _take_block(
        self, m: Module, program: Program, pc: Signal, ahead: Signal, index: Signal, words: list[Signal]
    ) -> None:
        """Keep four words of a command, while the next four are asked for: large cores look at the first ones a cycle later."""
        m.d.sync += [pc.eq(ahead), ahead.eq(ahead + BLOCK), index.eq(index + 1)]
        with m.Switch(index):
            for first in range(0, len(words), BLOCK):
                with m.Case(first // BLOCK):
                    m.d.sync += Cat(words[first : first + BLOCK]).eq(program.block)

    def _end_step(self, m: Module, rewind: list[Any], left: Signal, ends: Signal, stops: Value) -> None:
        """What END does, in the last cycle of a step."""
        m.d.sync += [
            *rewind,
            self.step.eq(self.step + 1),
            left.eq(left - 1),
        ]
        m.d.comb += ends.eq(1)
        m.d.sync += self.stopped.eq(stops)
        with m.If((left == 1) | stops):
            m.next = "IDLE"
        with m.Else():
            m.next = "NEXT"
