"""Fetches program words and starts what they say, at exactly the cycles that the compiler chose."""

from __future__ import annotations

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from neuroloom.compiler.gated.core import PROGRAM_COLUMN, GatedConfig
from neuroloom.compiler.gated.isa import ADDRESS0, ADDRESS1, WORD_BITS, Op

from .fetch import Fetch
from .fields import Fields

ISSUED = (Op.MAC, Op.TERM, Op.VEC, Op.DRAIN, Op.PICK, Op.IN, Op.OUT, Op.LDO, Op.BR, Op.CMAC, Op.DELTA)
"""Instructions that units outside the sequencer get."""


class Sequencer(wiring.Component):
    """Runs from ``entry`` at ``begin`` to HALT.

    One instruction per cycle, plus the delay that the instruction asks for; a taken jump costs one cycle more, BR and LDO wait
    for their element, IN and OUT for the stream unit. In an instruction's cycle its bit of ``started`` is on (of IN and OUT, in
    a deep engine of all, two cycles later), with the word in ``word`` and its addresses, offsets added, in ``address0`` and
    ``address1``. Behind BR, LDO, IN and OUT ``word`` stays as it is until they are done.

    Members
    -------
    begin, entry : In(1), In(1), start at word 0 or 1
    running : Out(1); ``cycles`` : Out(32), cycles since ``begin`` in which no stream unit was busy
    started : Out(16), by operation code
    word, address0, address1 : Out
    busy : In(1), the stream unit works
    left : In(13), steps of the CMAC at work, that of this cycle among them; the next CMAC waits for the last one
    element : In(word), the element that was read: of BR and LDO ``timing.element`` cycles after their word
    write, w_addr, w_data : In, writes columns of a program word (one bit each) while the program does not run
    """

    def __init__(self, config: GatedConfig) -> None:
        self._config = config
        bits = (config.program_words - 1).bit_length()
        super().__init__(
            {
                "begin": In(1),
                "entry": In(1),
                "running": Out(1),
                "cycles": Out(32),
                "started": Out(16),
                "word": Out(WORD_BITS),
                "address0": Out(config.vector_bits),
                "address1": Out(config.offset_bits),
                "busy": In(1),
                "left": In(13),
                "element": In(config.word),
                "write": In(WORD_BITS // PROGRAM_COLUMN),
                "w_addr": In(bits),
                "w_data": In(PROGRAM_COLUMN),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        deep = self._config.deep
        m.submodules.fetch = program = Fetch(self._config)
        word, op = program.word, program.word[:4]
        left, go, fetch = Signal(12, reset_less=True), Signal(), Signal()
        due = Signal()  # nothing is left
        target, jump = Signal.like(program.target), Signal()
        m.d.comb += [
            program.next.eq(fetch),
            program.jump.eq(jump),
            program.target.eq(target),
            program.write.eq(self.write),
            program.w_addr.eq(self.w_addr),
            program.w_data.eq(self.w_data),
        ]
        # units take what they need right out of the program memory; in a deep engine two cycles later: one to find the offsets
        given, starts = word, Signal.like(self.started)
        for each in ISSUED:
            m.d.comb += starts[each].eq(go & (op == each))
        if deep:
            given, starting = Signal.like(word, name="given", reset_less=True), Signal.like(starts)
            m.d.sync += [given.eq(word), self.word.eq(given), starting.eq(starts), self.started.eq(starting)]
        else:
            m.d.comb += self.word.eq(word)
            for each in ISSUED:
                domain = m.d.sync if each in (Op.IN, Op.OUT) else m.d.comb  # for these the word stays
                domain += self.started[each].eq(starts[each])
        self._offsets(m, go, word, given)
        self._timer(m)

        loops = [Signal(16, name=f"loop{level}", reset_less=True) for level in range(self._config.levels)]
        f_loop = Fields(word, Op.LOOP)
        current, next_loop, write_loop = Signal(16), Signal(16), Signal()
        again, stays = (
            Signal(),
            Signal(),
        )  # whether the loop goes on, and whether something comes before the word behind
        m.d.comb += [
            current.eq(Array(loops)[f_loop.level]),
            next_loop.eq(Mux(op == Op.LOOP, f_loop.count, current) - 1),
        ]
        for level, loop in enumerate(loops):
            with m.If(write_loop & (f_loop.level == level)):
                m.d.sync += loop.eq(next_loop)
        if deep:  # known with the word, not after it; a LOOP and its END are at least one word apart
            coming, first = program.coming, program.coming[:4]
            more = Array(loop != 0 for loop in loops)[Fields(coming, Op.END).level]
            holds = [first == each for each in (Op.JUMP, Op.BR, Op.LDO, Op.IN, Op.OUT, Op.HALT)]
            jumps, branch, goal = Signal(), Signal(), Signal.like(target, reset_less=True)
            goals = {each: Fields(coming, each).target for each in (Op.JUMP, Op.END, Op.BR)}
            m.d.comb += target.eq(goal)
            with m.If(fetch):
                m.d.sync += [again.eq(more), stays.eq(Cat(*holds).any() | ((first == Op.END) & more))]
                m.d.sync += [jumps.eq((first == Op.JUMP) | ((first == Op.END) & more)), branch.eq(first == Op.BR)]
                m.d.sync += goal.eq(
                    Mux(first == Op.JUMP, goals[Op.JUMP], Mux(first == Op.END, goals[Op.END], goals[Op.BR]))
                )
        else:
            jumps, branch = Const(0), op == Op.BR
            m.d.comb += again.eq(current != 0)
            for each in (Op.JUMP, Op.BR, Op.LDO, Op.IN, Op.OUT, Op.HALT):
                with m.If(op == each):
                    m.d.comb += stays.eq(1)
            with m.If(op == Op.END):
                m.d.comb += stays.eq(again)
        time = self._config.timing
        waited, equal = Signal(range(time.branch - 1)), Signal(reset_less=True)

        with m.FSM() as fsm:
            m.d.comb += self.running.eq(~fsm.ongoing("IDLE"))
            with m.State("IDLE"):
                with m.If(self.begin):
                    m.d.comb += [jump.eq(1), target.eq(self.entry)]
                    m.d.sync += due.eq(1)
                    m.next = "FETCH"
            with m.State("FETCH"):
                m.d.comb += fetch.eq(1)
                m.next = "COMING" if deep else "GO"
            if deep:
                with m.State("COMING"):
                    m.d.comb += fetch.eq(1)
                    m.next = "GO"
            with m.State("GO"):
                with m.If(~due):
                    m.d.sync += [left.eq(left - 1), due.eq(left == 1)]
                if self._config.changes:
                    with m.Elif(
                        (op == Op.CMAC) & (self.left > (3 if deep else 1))
                    ):  # it starts two cycles later, or at once
                        pass
                with m.Else():
                    m.d.comb += [go.eq(1), fetch.eq(~stays), *([jump.eq(jumps)] if deep else [])]
                    with m.Switch(op):
                        with m.Case(Op.MAC, Op.VEC, Op.DRAIN, Op.PICK, Op.OFF, Op.CMAC, Op.DELTA):
                            delay = Fields(word, Op.OFF).delay
                            m.d.sync += [left.eq(delay), due.eq(delay == 0)]
                        with m.Case(Op.LOOP):
                            m.d.comb += write_loop.eq(1)
                        with m.Case(Op.END):
                            with m.If(again):
                                m.d.comb += write_loop.eq(1)
                                if not deep:  # a deep engine has known that it jumps, and where, since the word came
                                    m.d.comb += [jump.eq(1), target.eq(Fields(word, Op.END).target)]
                                m.next = "FETCH"
                        with m.Case(Op.JUMP):
                            if not deep:
                                m.d.comb += [jump.eq(1), target.eq(Fields(word, Op.JUMP).target)]
                            m.next = "FETCH"
                        with m.Case(Op.BR, Op.LDO):
                            m.d.sync += waited.eq(0)
                            m.next = "READ"
                        with m.Case(Op.IN, Op.OUT):
                            m.next = "STREAM"
                        with m.Case(Op.HALT):
                            m.next = "IDLE"
            with m.State("READ"):
                f = Fields(word, Op.BR)
                m.d.sync += waited.eq(waited + 1)
                with m.If(waited == time.element - 1):  # only now is the element there
                    m.d.sync += equal.eq(self.element.as_signed() == f.imm)
                with m.If(waited == time.branch - 2):
                    with m.If(branch & (equal ^ f.unequal)):
                        m.d.comb += [jump.eq(1), *([] if deep else [target.eq(f.target)])]
                        m.next = "FETCH"
                    with m.Else():
                        m.d.comb += fetch.eq(1)
                        m.next = "GO"
            with m.State("STREAM"):
                with m.If(waited != time.stream - 2):
                    m.d.sync += waited.eq(waited + 1)
                with m.Elif(~self.busy):
                    m.d.sync += waited.eq(0)
                    m.d.comb += fetch.eq(1)
                    m.next = "GO"
        with m.If(go):
            m.d.sync += waited.eq(0)
        return m

    def _offsets(self, m: Module, go: Signal, word: Value, given: Value) -> None:
        """The offset registers, and the two addresses of the instruction that starts. ``given`` is the word in the cycle of the
        sums: in a deep engine the one after ``word``.
        """
        count, deep = self._config.offsets, self._config.deep
        bits = self._config.offset_bits
        offsets = [Signal(bits, name=f"offset{number}", reset_less=True) for number in range(1, count)]
        table = Array([Const(0, bits), *offsets])
        f, load = Fields(word, Op.OFF), Fields(word, Op.LDO)
        waits = Signal(self._config.timing.element)
        m.d.sync += waits.eq(waits << 1 | (go & (word[:4] == Op.LDO)))
        sets = go & (word[:4] == Op.OFF)
        found = [table[f.src], table[word[ADDRESS0 + 16 : ADDRESS0 + 20]], table[word[ADDRESS1 + 16 : ADDRESS1 + 20]]]
        if deep:
            registers = [Signal(bits, name=f"found{number}", reset_less=True) for number in range(3)]
            setting = Signal()
            m.d.sync += [setting.eq(sets), *(x.eq(y) for x, y in zip(registers, found, strict=True))]
            found, sets, f = registers, setting, Fields(given, Op.OFF)
        value, chosen = Signal(bits), Signal(4)  # 0: none
        with m.If(waits[-1]):
            m.d.comb += [value.eq(self.element), chosen.eq(load.reg)]
        with m.Else():
            m.d.comb += [value.eq(found[0] + f.imm), chosen.eq(Mux(sets, f.reg, 0))]
        for number, offset in enumerate(offsets, 1):
            with m.If(chosen == number):
                m.d.sync += offset.eq(value)
        domain = m.d.sync if deep else m.d.comb
        for at, address, offset in ((ADDRESS0, self.address0, found[1]), (ADDRESS1, self.address1, found[2])):
            domain += address.eq(given[at : at + 16] + offset)

    def _timer(self, m: Module) -> None:
        with m.If(self.begin):
            m.d.sync += self.cycles.eq(0)
        with m.Elif(self.running & ~self.busy):
            m.d.sync += self.cycles.eq(self.cycles + 1)
