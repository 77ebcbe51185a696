"""The serial learning unit: LEARN_DENSE and LEARN_SPARSE by a small processor, for cores of one lane on small boards."""

from __future__ import annotations

from amaranth.hdl import Cat, ClockSignal, Const, Instance, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from neuroloom.compiler.spiking.core import CoreConfig
from neuroloom.compiler.spiking.serial import ADDRESS_BITS, LAYOUT, POWERS, REGISTER_BITS, Flag, Fn, Mem, Src, To, When
from neuroloom.compiler.spiking.serial_program import program_of

from .ports import HIST_SLOT_BITS, PROGRAM_ADDR_BITS, HistPort, PoolPort, ProgramPort
from .random import scramble

BITS = 16

REGISTERS_FILE = "neuroloom_registers.v"


def registers_verilog(config: CoreConfig) -> str:
    """Registers of the serial learning unit with their first contents; what is read while it is written is anything."""
    values = "\n".join(f"    mem[{n}] = 16'd{value};" for n, value in enumerate(program_of(config).initial()))
    return f"""\
// Registers of the serial learning unit and their first contents. Its assembler lets nothing be read while it is written.
module neuroloom_registers (
  input clk,
  input [{REGISTER_BITS - 1}:0] r_addr,
  output reg [15:0] r_data,
  input w_en,
  input [{REGISTER_BITS - 1}:0] w_addr,
  input [15:0] w_data
);
  (* no_rw_check *) reg [15:0] mem [0:{(1 << REGISTER_BITS) - 1}];
  initial begin
{values}
    r_data = 0;
  end
  always @(posedge clk) begin
    if (w_en) mem[w_addr] <= w_data;
`ifdef SYNTHESIS
    r_data <= mem[r_addr];
`else
    r_data <= w_en && r_addr == w_addr ? ~mem[r_addr] : mem[r_addr];
`endif
  end
endmodule
"""


class SerialLearn(wiring.Component):
    """Executes the program of :mod:`neuroloom.compiler.spiking.serial_program`, one instruction per cycle.

    Parameters
    ----------
    config : :class:`CoreConfig`
        One with ``serial_learning``.
    behavioural : :class:`bool`
        The registers are a memory of Amaranth's, for its simulator, and no instance of :func:`registers_verilog`.

    Members
    -------
    start, done, slot, lfsr, pool, hist, program
        See :mod:`.ports`. All outputs of the ports are 0 while the unit is idle.
    sparse : In(1), the command is LEARN_SPARSE; held from ``start`` to ``done``
    behind : In(10), the block of four program words behind the command, whose fields the unit reads itself
    """

    def __init__(self, config: CoreConfig, *, behavioural: bool = False) -> None:
        self._config, self._behavioural = config, behavioural
        super().__init__(
            {
                "start": In(1),
                "done": Out(1),
                "sparse": In(1),
                "behind": In(PROGRAM_ADDR_BITS - 2),
                "slot": In(HIST_SLOT_BITS),
                "lfsr": In(32),
                "pool": Out(PoolPort(config)),
                "hist": Out(HistPort()),
                "program": Out(ProgramPort()),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        words = program_of(self._config).words()
        m.submodules.code = code = Memory(shape=LAYOUT.width, depth=max(256, len(words)), init=words)
        fetch = code.read_port()
        word = fetch.data

        def part(name: str) -> Value:
            low, width = LAYOUT.fields[name]
            return word[low : low + width]

        a, b, flag = Signal(BITS), Signal(BITS, reset_less=True), Signal(reset_less=True)
        running = Signal()  # else whatever the code's memory shows does nothing
        q = self._registers(m, part("mem") == Mem.INDEX, part("next"), part("writes") & running, part("place"), a)

        # What is computed; x and y are so that one adder does it all.
        fn = part("fn")
        x, y, carry = Signal(BITS), Signal(BITS), Signal()
        with m.Switch(fn):
            with m.Case(Fn.ADD, Fn.SUB):
                m.d.comb += x.eq(a)
            with m.Case(Fn.RSUB):
                m.d.comb += x.eq(~a)
            with m.Case(Fn.AND):
                m.d.comb += x.eq(a & q)
            with m.Case(Fn.OR):
                m.d.comb += x.eq(a | q)
            with m.Case(Fn.XOR):
                m.d.comb += x.eq(a ^ q)
        with m.Switch(fn):
            with m.Case(Fn.Q, Fn.ADD, Fn.RSUB):
                m.d.comb += y.eq(q)
            with m.Case(Fn.SUB):
                m.d.comb += y.eq(~q)
        m.d.comb += carry.eq((fn == Fn.SUB) | (fn == Fn.RSUB))
        total = Signal(BITS + 2)
        m.d.comb += total.eq(Cat(Const(1, 1), x) + Cat(carry, y))  # the lowest bit makes the carry
        computed, over = total[1 : BITS + 1], total[-1]

        product = Signal(2 * BITS, reset_less=True)
        m.d.sync += product.eq(a * b)
        result = Signal(BITS)
        sources = {
            Src.COMPUTED: computed,
            Src.POOL_LOW: self.pool.data_r[:BITS],
            Src.POOL_HIGH: self.pool.data_r[BITS:],
            Src.HIST: self.hist.data_r,
            Src.LOW: product[:BITS],
            Src.HIGH: product[BITS:],
            Src.PROGRAM_LOW: self.program.data_r[:BITS],
            Src.PROGRAM_HIGH: self.program.data_r[BITS:],
            Src.MIXED: scramble(a),
            Src.LFSR_LOW: self.lfsr[:BITS],
            Src.LFSR_HIGH: self.lfsr[BITS:],
        }
        with m.Switch(part("src")):
            for source, value in sources.items():
                with m.Case(source):
                    m.d.comb += result.eq(value)

        holds = Signal()
        with m.Switch(part("when")):
            with m.Case(When.ALWAYS):
                m.d.comb += holds.eq(1)
            with m.Case(When.ZERO):
                m.d.comb += holds.eq(a == 0)
            with m.Case(When.SOME):
                m.d.comb += holds.eq(a != 0)
            with m.Case(When.MINUS):
                m.d.comb += holds.eq(a[-1])
            with m.Case(When.SET):
                m.d.comb += holds.eq(flag)
            with m.Case(When.CLEAR):
                m.d.comb += holds.eq(~flag)
            with m.Case(When.SPARSE):
                m.d.comb += holds.eq(self.sparse)
        with m.If((part("to") == To.A) & holds):
            m.d.sync += a.eq(result)
        with m.If(part("to") == To.B):
            m.d.sync += b.eq(result)
        with m.Switch(part("flag")):
            with m.Case(Flag.CARRY):
                m.d.sync += flag.eq(over)
            with m.Case(Flag.SIGN):
                m.d.sync += flag.eq(computed[-1])

        at = Signal(ADDRESS_BITS, reset_less=True)  # of the instruction in execution
        following = Signal(ADDRESS_BITS)
        with m.If(running):
            m.d.comb += following.eq(Mux(part("jumps") & holds, part("place"), at + 1))
        with m.Elif(self.start):
            m.d.comb += following.eq(1)
        with m.If(self.start):
            m.d.sync += running.eq(1)
        with m.Elif(self.done):
            m.d.sync += running.eq(0)
        m.d.comb += fetch.addr.eq(following)
        m.d.sync += at.eq(following)

        mem = Signal(3)
        with m.If(running):
            m.d.comb += mem.eq(part("mem"))
        with m.Switch(mem):
            with m.Case(Mem.POOL, Mem.WRITE):
                m.d.comb += self.pool.addr.eq(computed)
            with m.Case(Mem.HIST):
                m.d.comb += [self.hist.word.eq(computed), self.hist.slot.eq(self.slot)]
            with m.Case(Mem.PROGRAM):
                number = part("next")  # the block of four is counted from the command's end
                m.d.comb += self.program.addr.eq(Cat(number[:2], self.behind + Cat(number[2:4], Const(-1, 8))))
            with m.Case(Mem.DONE):
                m.d.comb += self.done.eq(1)
        with m.If(mem == Mem.WRITE):
            m.d.comb += [self.pool.write.eq(1), self.pool.data_w.eq(Cat(a, b))]
        return m

    def _registers(self, m: Module, index: Value, number: Value, write: Value, place: Value, a: Signal) -> Value:
        """The memory of registers: one is read, one written. Returns Q."""
        read = Mux(index, Cat(a[:4], Const(POWERS >> 4, 3)), number)
        place = place[:REGISTER_BITS]
        q = Signal(BITS)
        if self._behavioural:
            initial = program_of(self._config).initial()
            m.submodules.registers = memory = Memory(shape=BITS, depth=len(initial), init=initial)
            reading, writing = memory.read_port(), memory.write_port()
            m.d.comb += [
                reading.addr.eq(read),
                q.eq(reading.data),
                writing.addr.eq(place),
                writing.data.eq(a),
                writing.en.eq(write),
            ]
            return q
        m.submodules.registers = Instance(
            "neuroloom_registers",
            i_clk=ClockSignal(),
            i_r_addr=read,
            o_r_data=q,
            i_w_en=write,
            i_w_addr=place,
            i_w_data=a,
        )
        return q
