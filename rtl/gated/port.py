"""One port: shift, round, fit into the type, look up in the table."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from neuroloom.compiler.gated.core import GatedConfig
from neuroloom.compiler.gated.isa import Rounding

from .memories import Delay, RamPair, ram_of


class Emit(data.StructLayout):
    """How a row leaves: what every port of a row shares."""

    def __init__(self, config: GatedConfig) -> None:
        super().__init__(
            {
                "shift": 6,
                "rounding": 2,
                "wrap": 1,
                "width": 5,
                "signed": 1,
                "table": 1,
                "tbase": signed(16),
                "addr": config.vector_bits,
                "mask": config.ports,
            }
        )


class Ports(wiring.Component):
    """``ports`` values a cycle, each shifted right, rounded, saturated or wrapped, looked up where asked, and written.

    The write happens ``timing.write`` cycles after the cycle of ``valid``; one row per cycle.

    Members
    -------
    valid, how : In, a row is given, and how it leaves
    values : In(ports * wide)
    w_en : Out(ports), w_addr : Out, w_data : Out(ports * word), the write into the vector memory, by element address
    load, load_addr, load_data : In, writes a word of the tables
    other_en : In(ports), other_addr, other_data : In, in a deep engine a write that goes out when none of the ports' does, a cycle
        later
    """

    def __init__(self, config: GatedConfig) -> None:
        self._config = config
        self._table_bits = (config.table_words - 1).bit_length()
        others = {
            "other_en": In(config.ports),
            "other_addr": In(config.vector_bits),
            "other_data": In(config.word),
        }
        if not config.deep:
            others = {}
        super().__init__(
            {
                "valid": In(1),
                "how": In(Emit(config)),
                "values": In(config.ports * config.wide),
                "w_en": Out(config.ports),
                "w_addr": Out(config.vector_bits),
                "w_data": Out(config.ports * config.word),
                "load": In(1),
                "load_addr": In(self._table_bits),
                "load_data": In(config.word),
                **others,
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        c = self._config
        stages = c.timing.write
        how = [self.how]
        valid = [self.valid]
        for stage in range(1, stages):
            how.append(Signal(Emit(c), name=f"how{stage}", reset_less=True))
            valid.append(Signal(name=f"valid{stage}"))
            m.d.sync += [how[stage].eq(how[stage - 1]), valid[stage].eq(valid[stage - 1])]
        fitting = 6 if c.deep else 5  # cycles until a value is of its type
        tbase, place = how[fitting].tbase, Cat(how[-1].table, how[-1].addr)
        if c.delay_memory:  # they would need most of the registers
            m.submodules.tbases = tbases = Delay(16, fitting)
            m.submodules.places = places = Delay(len(place), stages - 1)
            m.d.comb += [tbases.i.eq(self.how.tbase), places.i.eq(Cat(self.how.table, self.how.addr))]
            tbase, place = tbases.o.as_signed(), places.o
        # bits of a word that lie outside the type, and the lowest of them: a signed type's sign
        outside, sign = Signal(c.wide, reset_less=True), Signal(c.wide, reset_less=True)
        inside = how[3].width - how[3].signed
        ones = Signal(c.wide)
        m.d.comb += ones.eq(Cat(Const(place, 6) >= inside for place in range(c.wide)))
        m.d.sync += [outside.eq(ones), sign.eq(ones & ~(ones << 1))]
        edge = outside
        if c.deep:
            edge = Signal.like(outside)
            m.d.sync += edge.eq(outside)

        looked_up = self._tables(m)
        words = []
        for number in range(c.ports):
            words.append(self._port(m, number, how, outside, sign, edge, tbase, place[0], *looked_up[number]))
        enable, address, row = Mux(valid[-1], how[-1].mask, 0), place[1:], Cat(*words)
        if c.deep:
            enable = Mux(valid[-1], how[-1].mask, self.other_en)
            address = Mux(valid[-1], address, self.other_addr)
            row = Mux(valid[-1], row, self.other_data.replicate(c.ports))
        m.d.sync += [self.w_en.eq(enable), self.w_addr.eq(address), self.w_data.eq(row)]
        return m

    def _tables(self, m: Module) -> list[tuple[Value, Value]]:
        """For every port the address of its table, and what stands there a cycle later."""
        c = self._config
        out: list[tuple[Value, Value]] = []
        paired = c.ports - c.ports % 2 if c.deep else 0
        for number in range(0, paired, 2):
            m.submodules[f"tables{number}"] = pair = RamPair(c.word, c.table_words, c.sliced)
            first = Signal(self._table_bits, name=f"table_address{number}")
            m.d.comb += [
                pair.r_addr0.eq(Mux(self.load, self.load_addr, first)),
                pair.w_en.eq(self.load),
                pair.w_data.eq(self.load_data),
            ]
            out += [(first, pair.r_data0), (pair.r_addr1, pair.r_data1)]
        for number in range(paired, c.ports):
            table = ram_of(c, c.word, c.table_words)
            m.submodules[f"table{number}"] = table
            m.d.comb += [
                table.w_addr.eq(self.load_addr),
                table.w_en.eq(self.load),
                table.w_data.eq(self.load_data),
            ]
            out.append((table.r_addr, table.r_data))
        return out

    def _port(
        self,
        m: Module,
        number: int,
        how: list[Signal],
        outside: Signal,
        sign: Signal,
        edge: Signal,
        tbase: Value,
        looked: Value,
        table_address: Value,
        found: Value,
    ) -> Signal:
        c = self._config
        wide = c.wide

        def register(name: str, shape: object) -> Signal:
            return Signal(shape, name=f"{name}_{number}", reset_less=True)  # type: ignore[arg-type]

        # below the value stands one bit more, where the rounding bit ends up
        value = register("value", signed(wide + 1))
        m.d.sync += value.eq(Cat(Const(0, 1), self.values.word_select(number, wide)))
        coarse, lost = register("coarse", signed(wide + 1)), register("lost", 1)
        m.d.sync += [
            coarse.eq(Mux(how[1].shift[5], value >> 32, value).as_signed() >> Mux(how[1].shift[4], 16, 0)),
            lost.eq(
                (how[1].shift[5] & value[:32].any()) | (how[1].shift[4] & self._at(m, value, how[1].shift[5], number))
            ),
        ]
        fine, sticky = register("fine", signed(wide + 1)), register("sticky", 1)
        step, dropped = coarse, lost
        for level in (3, 2, 1, 0):
            taken = Signal(signed(wide + 1), name=f"step{level}_{number}")
            more = Signal(name=f"dropped{level}_{number}")
            amount = how[2].shift[level]
            m.d.comb += [
                taken.eq(Mux(amount, step >> (1 << level), step)),
                more.eq(dropped | (amount & step[: 1 << level].any())),
            ]
            step, dropped = taken, more
        m.d.sync += [fine.eq(step), sticky.eq(dropped)]

        whole, guard, up = fine[1:].as_signed(), fine[0], Signal(name=f"up_{number}")
        with m.Switch(how[3].rounding):
            with m.Case(Rounding.HALF_UP):
                m.d.comb += up.eq(guard)
            with m.Case(Rounding.HALF_EVEN):
                m.d.comb += up.eq(guard & (sticky | whole[0]))
            with m.Case(Rounding.TOWARD_ZERO):
                m.d.comb += up.eq(whole[-1] & (guard | sticky))
        rounded = register("rounded", signed(wide))
        m.d.sync += rounded.eq(whole + up)

        # whether it lies outside the type; a deep engine has a cycle for that
        negative, beyond, filled = (Signal(name=f"{name}_{number}") for name in ("negative", "beyond", "filled"))
        judged, fits, fit = (m.d.sync, how[5], register("judged", c.word)) if c.deep else (m.d.comb, how[4], rounded)
        judged += [
            negative.eq(rounded[-1]),
            beyond.eq(Mux(rounded[-1], ~how[4].signed | (~rounded & outside).any(), (rounded & outside).any())),
            filled.eq(how[4].signed & (rounded & sign).any()),
        ]
        if c.deep:
            m.d.sync += fit.eq(rounded)
        fitted = register("fitted", signed(c.word))
        low = Mux(fits.signed, edge, 0)
        with m.If(fits.wrap):
            m.d.sync += fitted.eq((fit & ~edge)[: c.word] | Mux(filled, edge, 0)[: c.word])
        with m.Elif(beyond):
            m.d.sync += fitted.eq(Mux(negative, low, ~edge)[: c.word])
        with m.Else():
            m.d.sync += fitted.eq(fit[: c.word])

        kept = register("kept", c.word)
        address = Signal(17, name=f"address_{number}")
        m.d.comb += address.eq(fitted + tbase)
        if c.deep:  # nothing but registers before the tables and behind them
            looks = register("looks", len(address))
            here, behind, result = register("here", c.word), register("behind", c.word), register("found", c.word)
            m.d.comb += table_address.eq(looks)
            m.d.sync += [looks.eq(address), here.eq(fitted), behind.eq(here), kept.eq(behind), result.eq(found)]
            found = result
        else:
            m.d.comb += table_address.eq(address)
            m.d.sync += kept.eq(fitted)
        result = Signal(c.word, name=f"word_{number}")
        m.d.comb += result.eq(Mux(looked, found, kept))
        return result

    def _at(self, m: Module, value: Signal, upper: object, number: int) -> Signal:
        """Whether any of the 16 bits that the coarse shift by 16 drops is set, behind the one by 32."""
        found = Signal(name=f"dropped16_{number}")
        m.d.comb += found.eq(Mux(upper, value[32:48].any(), value[:16].any()))
        return found
