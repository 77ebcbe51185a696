"""Changes of vectors: found, listed, and walked through again with the weights that belong to them."""

from __future__ import annotations

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from neuroloom.compiler.gated.core import GatedConfig
from neuroloom.compiler.gated.isa import LISTS, WORD_BITS, Op
from neuroloom.rtl.spiking.memories import Ram

from .fields import Fields


class Finder(wiring.Component):
    """DELTA: compares ``groups`` elements a cycle with those that were handed on last, and lists what changed.

    ``start`` with the instruction and its addresses; from the next cycle on the addresses of new and old elements (``valid``,
    ``a``, ``b``). Whoever reads gives ``row``, ``at`` (that address ``b``), the new elements ``x`` and the old ones ``old`` some
    cycles later; three cycles after that the changed ones are at the ports (``changed``, ``d_addr``, ``mask``, ``values``) and in
    the list.

    Members
    -------
    left : Out(12), elements from this address on, to be given back as ``row_left`` with the row
    write, place, index, by : Out, an entry of the list: where it stands, the number of the elements in groups, their changes
    counts : Out((LISTS + 1) * bits), how many entries each list has
    """

    def __init__(self, config: GatedConfig) -> None:
        self._config = config
        c = config
        self.bits = (c.changes - 1).bit_length()
        super().__init__(
            {
                "start": In(1),
                "word": In(WORD_BITS),
                "a_addr": In(c.vector_bits),
                "b_addr": In(c.vector_bits),
                "valid": Out(1),
                "a": Out(c.vector_bits),
                "b": Out(c.vector_bits),
                "left": Out(12),
                "row": In(1),
                "row_left": In(12),
                "at": In(c.vector_bits),
                "x": In(c.groups * c.word),
                "old": In(c.groups * c.word),
                "changed": Out(1),
                "d_addr": Out(c.vector_bits),
                "mask": Out(c.groups),
                "values": Out(c.groups * c.word),
                "write": Out(1),
                "place": Out(self.bits),
                "index": Out(self.bits),
                "by": Out(c.groups * c.word),
                "counts": Out((LISTS + 1) * (self.bits + 1)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        c, f = self._config, Fields(self.word, Op.DELTA)
        threshold = Signal(18, reset_less=True)
        number, put = Signal(range(LISTS + 1), reset_less=True), Signal(self.bits, reset_less=True)
        with m.If(self.valid):
            m.d.sync += [self.a.eq(self.a + c.groups), self.b.eq(self.b + c.groups), self.left.eq(self.left - c.groups)]
            with m.If(self.left <= c.groups):
                m.d.sync += self.valid.eq(0)

        # the row, then gaps, then which of them count, then the outputs
        valid = [self.row, Signal(name="valid1"), Signal(name="valid2")]
        at = [self.at, *(Signal.like(self.at, name=f"at{n}", reset_less=True) for n in (1, 2))]
        new = [self.x, *(Signal.like(self.x, name=f"new{n}", reset_less=True) for n in (1, 2))]
        for stage in (1, 2):
            m.d.sync += [s[stage].eq(s[stage - 1]) for s in (valid, at, new)]
        gaps: list[Signal] = []
        reached = Signal(c.groups)
        for group in range(c.groups):
            gap, later, there = (
                Signal(signed(c.word + 1), name=f"gap{group}", reset_less=True),
                Signal(signed(c.word), name=f"later{group}", reset_less=True),
                Signal(name=f"there{group}", reset_less=True),
            )
            x, old = (v.word_select(group, c.word).as_signed() for v in (self.x, self.old))
            m.d.sync += [gap.eq(x - old), there.eq(self.row_left > group), later.eq(gap)]
            far = (gap >= threshold) | (gap <= -threshold)
            m.d.sync += reached[group].eq(valid[1] & there & far)
            gaps.append(later)
        some = Signal()
        index = Signal(self.bits, reset_less=True)
        m.d.comb += some.eq(valid[2] & reached.any())
        m.d.sync += [
            self.changed.eq(some),
            self.mask.eq(reached),
            self.values.eq(new[2]),
            self.d_addr.eq(at[2]),
            self.write.eq(some),
            self.place.eq(put),
            self.index.eq(index),
            self.by.eq(Cat(Mux(reached[group], gap, 0)[: c.word] for group, gap in enumerate(gaps))),
        ]
        with m.If(valid[2]):
            m.d.sync += index.eq(index + 1)
        counts = [Signal(self.bits + 1, name=f"count{n}") for n in range(1, LISTS + 1)]
        with m.If(some):
            m.d.sync += put.eq(put + 1)
        for each, count in enumerate(counts, 1):
            with m.If(some & (number == each)):
                m.d.sync += count.eq(count + 1)
            with m.If(self.start & (f.list == each)):
                m.d.sync += count.eq(0)
        m.d.comb += self.counts.eq(Cat(Const(0, self.bits + 1), *counts))
        with m.If(self.start):
            m.d.sync += [
                self.valid.eq(1),
                self.a.eq(self.a_addr),
                self.b.eq(self.b_addr),
                self.left.eq(f.n),
                threshold.eq(f.threshold),
                number.eq(f.list),
                put.eq(f.entry),
                index.eq(0),
            ]
        return m


class ChangeWalker(wiring.Component):
    """CMAC: ``pad`` empty steps, then the changes of a list, with the rows of weights that they say.

    ``start`` with the instruction and its addresses. Three cycles later the first row of weights is asked for (``valid``, ``w``),
    with the changes ``by`` (0 in an empty step); from then on one per cycle.

    Members
    -------
    r_addr, r_data : Out, In, the list's memory: the number of the elements in groups, then their changes
    counts : In, of :class:`Finder`
    left : Out(13), steps whose entries are not read yet, the one of this cycle among them
    first, load, capture : Out(1), ``bank`` : Out, flags of the step
    """

    def __init__(self, config: GatedConfig) -> None:
        self._config = c = config
        bits = (c.changes - 1).bit_length()
        self._bits = bits
        super().__init__(
            {
                "start": In(1),
                "word": In(WORD_BITS),
                "entry": In(c.vector_bits),
                "w_addr": In((c.weight_rows - 1).bit_length()),
                "counts": In((LISTS + 1) * (bits + 1)),
                "r_addr": Out(bits),
                "r_data": In(bits + c.groups * c.word),
                "left": Out(13),
                "valid": Out(1),
                "w": Out((c.weight_rows - 1).bit_length()),
                "by": Out(c.groups * c.word),
                "first": Out(1),
                "load": Out(1),
                "capture": Out(1),
                "bank": Out(max((c.banks - 1).bit_length(), 1)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        f = Fields(self.word, Op.CMAC)
        pad, base = Signal(12, reset_less=True), Signal.like(self.w, reset_less=True)
        first, load, captures = (Signal(name=name, reset_less=True) for name in ("begins", "loads", "captures"))
        bank = Signal.like(self.bank, reset_less=True)
        active, last = Signal(), Signal()
        m.d.comb += [active.eq(self.left != 0), last.eq(self.left == 1)]
        with m.If(active):
            m.d.sync += [self.left.eq(self.left - 1), first.eq(0)]
            with m.If(pad != 0):
                m.d.sync += pad.eq(pad - 1)
            with m.Else():
                m.d.sync += self.r_addr.eq(self.r_addr + 1)
        # the entry is there a cycle after its address, its row of weights is asked for in the next one
        names = ("valid", "empty", "first", "load", "capture")
        step = {name: Signal(name=f"step_{name}", reset_less=name != "valid") for name in names}
        step_bank, step_base = Signal.like(bank, reset_less=True), Signal.like(base, reset_less=True)
        m.d.sync += [
            *(
                step[name].eq(v)
                for name, v in zip(names, (active, pad != 0, first, load, captures & last), strict=True)
            ),
            step_bank.eq(bank),
            step_base.eq(base),
            *(getattr(self, name).eq(step[name]) for name in names if name != "empty"),
            self.bank.eq(step_bank),
            self.w.eq(step_base + Mux(step["empty"], 0, self.r_data[: self._bits])),
            self.by.eq(Mux(step["empty"], 0, self.r_data[self._bits :])),
        ]
        with m.If(self.start):
            counts = Array(self.counts.word_select(n, self._bits + 1) for n in range(LISTS + 1))
            m.d.sync += [
                self.left.eq(f.pad + counts[f.list]),
                pad.eq(f.pad),
                self.r_addr.eq(self.entry),
                base.eq(self.w_addr),
                first.eq(f.first),
                load.eq(f.load),
                captures.eq(f.capture),
                bank.eq(f.bank),
            ]
        return m


def list_memory(m: Module, finder: Finder, walker: ChangeWalker, depth: int) -> None:
    """The memory between the two."""
    m.submodules.list = memory = Ram(len(walker.r_data), depth)
    m.d.comb += [
        memory.w_en.eq(finder.write),
        memory.w_addr.eq(finder.place),
        memory.w_data.eq(Cat(finder.index, finder.by)),
        memory.r_addr.eq(walker.r_addr),
        walker.r_data.eq(memory.r_data),
    ]


def spread(mask: Value, at: Value, ports: int, groups: int) -> Value:
    """The mask of ``groups`` elements at their place ``at`` (the low bits of their address) in a row of ``ports``."""
    if ports == groups:
        return mask
    low, step = (ports - 1).bit_length(), (groups - 1).bit_length()
    return Cat(mask[port % groups] & (at[step:low] == port // groups) for port in range(ports))
