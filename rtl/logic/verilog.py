"""A scheduled netlist as plain Verilog-2001: one wire per table, one register vector per stage boundary."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from io import StringIO

import numpy as np
from neuroloom.compiler.schedule import FIRST_BIT, Schedule
from neuroloom.compiler.wire import Field, total_bits

from .expressions import at_least, template
from .lower import Lowered
from .netlist import ZERO, LutBlock, WordCell

_CHUNK = 32
"""Width of a register vector: simulators handle machine words best, and synthesis does not mind."""

Names = Callable[[Sequence[int]], str]
"""Verilog concatenation of a word's bits as seen in the cell's own stage."""


def _add(cell: WordCell, name: str, bits: Names) -> str:
    """Sum of two unsigned words and a carry, cut to the cell's width; a leading 1 + carry makes the chain's carry-in."""
    a, b, (carry,) = cell.operands
    a, b = a[: cell.width], b[: cell.width]
    pad = (ZERO,) * (cell.width - len(a))
    if carry == ZERO:
        return f"wire [{cell.width - 1}:0] {name} = {bits(a + pad)} + {bits(b + pad)};"
    full = f"wire [{cell.width}:0] {name}_c = {bits((1, *a, *pad))} + {bits((carry, *b, *pad))};"
    return f"{full}\n  wire [{cell.width - 1}:0] {name} = {name}_c[{cell.width}:1];"


def _gt(cell: WordCell, name: str, bits: Names) -> str:
    """Unsigned a > b."""
    a, b = cell.operands
    return f"wire [0:0] {name} = {bits(a)} > {bits(b)};"


def _at_least(cell: WordCell, name: str, bits: Names) -> str:
    """Unsigned a >= the constant ``value``."""
    assert isinstance(cell.value, int)
    (a,) = cell.operands
    return f"wire [0:0] {name} = {at_least(cell.value, len(a)).format(*(bits([b]) for b in a))};"


def _mul(cell: WordCell, name: str, bits: Names) -> str:
    """Product modulo 2**width of two words of that width."""
    a, b = cell.operands
    return f"wire [{cell.width - 1}:0] {name} = {bits(a)} * {bits(b)};"


def _rom(cell: WordCell, name: str, bits: Names) -> str:
    """Entry number a of ``value``."""
    assert isinstance(cell.value, tuple)
    (a,) = cell.operands
    rows = "".join(f" {len(a)}'d{i}: {name} = {cell.width}'d{v};" for i, v in enumerate(cell.value))
    case = f"case ({bits(a)}){rows} default: {name} = {cell.width}'d0; endcase"
    return f"reg [{cell.width - 1}:0] {name};\n  always @* {case}"


TEXTS: dict[str, Callable[[WordCell, str, Names], str]] = {
    "add": _add,
    "gt": _gt,
    "at_least": _at_least,
    "mul": _mul,
    "rom": _rom,
}
"""Declaration of the wires that a word cell drives, by kind; each docstring defines the cell."""


class _Writer:
    """Names of all bits in all stages, and the text built from them."""

    def __init__(self, lowered: Lowered, plan: Schedule) -> None:
        self.net, self.plan, self.lowered = lowered.netlist, plan, lowered
        self.born: list[int] = plan.born.tolist()
        self.names: list[str] = ["1'b0", "1'b1"] + [""] * (self.net.bits - FIRST_BIT)
        for position, bit in enumerate(lowered.input_bits.tolist()):
            self.names[bit] = f"i_data[{position}]"
        self.crossing: list[np.ndarray] = []
        self.registered: list[dict[int, str]] = []
        for boundary in range(plan.latency):
            bits = np.flatnonzero((plan.born <= boundary) & (plan.last > boundary))
            self.crossing.append(bits[bits >= FIRST_BIT])
            places = enumerate(self.crossing[-1].tolist())
            self.registered.append({b: f"r{boundary}_{i // _CHUNK}[{i % _CHUNK}]" for i, b in places})

    def name(self, bit: int, stage: int) -> str:
        """What ``bit`` is called in ``stage``."""
        if bit < FIRST_BIT or self.born[bit] == stage:
            return self.names[bit]
        return self.registered[stage - 1][bit]

    def cells(self, out: StringIO) -> None:
        """Every live cell, part by part."""
        stage = self.plan.stage.tolist()
        number, label = 0, None
        for part in self.net.parts:
            count = len(part.tables) if isinstance(part, LutBlock) else 1
            stages = stage[number : number + count]
            number += count
            if max(stages, default=-1) < 0:
                continue
            if part.label != label:
                label = part.label
                out.write(f"\n  // {_comment(label)}\n")
            if isinstance(part, LutBlock):
                self.block(part, stages, out)
            else:
                self.word(part, stages[0], out)

    def block(self, part: LutBlock, stages: list[int], out: StringIO) -> None:
        """The tables of a block."""
        size = part.inputs.shape[1]
        names, born, registered = self.names, self.born, self.registered
        rows = zip(part.tables.tolist(), part.inputs.tolist(), stages, strict=True)
        for bit, (table, inputs, stage) in enumerate(rows, part.first):
            names[bit] = f"n{bit}"
            if stage < 0:
                continue
            seen = [names[b] if b < FIRST_BIT or born[b] == stage else registered[stage - 1][b] for b in inputs]
            out.write(f"  wire n{bit} = {template(table, size)[0].format(*seen)};\n")

    def word(self, part: WordCell, stage: int, out: StringIO) -> None:
        """A word cell."""
        name = f"w{part.first}"
        for i in range(part.width):
            self.names[part.first + i] = f"{name}[{i}]"

        def bits(word: Sequence[int]) -> str:
            text = [self.name(b, stage) for b in reversed(word)]
            return text[0] if len(text) == 1 else "{" + ", ".join(text) + "}"

        out.write(f"  {TEXTS[part.kind](part, name, bits)}\n")

    def vectors(self, boundary: int) -> list[tuple[str, list[int]]]:
        """The register vectors behind a stage: (name, bits)."""
        bits = self.crossing[boundary].tolist()
        starts = range(0, len(bits), _CHUNK)
        return [(f"r{boundary}_{start // _CHUNK}", bits[start : start + _CHUNK]) for start in starts]

    def declarations(self, out: StringIO) -> None:
        """Every register vector, by stage."""
        for boundary, crossing in enumerate(self.crossing):
            out.write(f"\n  // registers behind stage {boundary}: {len(crossing)} bits\n")
            for name, bits in self.vectors(boundary):
                out.write(f"  reg [{len(bits) - 1}:0] {name};\n")

    def registers(self, out: StringIO) -> None:
        """What every register vector takes."""
        for boundary in range(self.plan.latency):
            out.write(f"\n  // into the registers behind stage {boundary}\n")
            for name, bits in self.vectors(boundary):
                source = ", ".join(self.name(b, boundary) for b in reversed(bits))
                out.write(f"  always @(posedge clk) if (en) {name} <= {{{source}}};\n")


def emit(lowered: Lowered, plan: Schedule, name: str, title: str) -> str:
    """The module ``name`` with stream ports; its header comment states layout, latency and throughput."""
    out = StringIO()
    top = plan.latency - 1
    inputs, outputs = max(total_bits(lowered.inputs), 1), max(total_bits(lowered.outputs), 1)
    shift = f"{{valid[{top - 1}:0], i_valid}}" if top else "i_valid"
    out.write(_header(lowered, plan, name, title))
    out.write(
        f"module {name} (\n"
        "  input clk,\n  input rst,\n"
        f"  input i_valid,\n  output i_ready,\n  input [{inputs - 1}:0] i_data,\n"
        f"  output o_valid,\n  input o_ready,\n  output [{outputs - 1}:0] o_data\n);\n"
        f"  reg [{top}:0] valid;\n"
        f"  wire en = ~valid[{top}] | o_ready;\n"
        "  assign i_ready = en;\n"
        f"  assign o_valid = valid[{top}];\n"
        "  always @(posedge clk)\n"
        f"    if (rst) valid <= {plan.latency}'d0;\n"
        f"    else if (en) valid <= {shift};\n"
    )
    writer = _Writer(lowered, plan)
    writer.declarations(out)
    writer.cells(out)
    writer.registers(out)
    shown = ", ".join(writer.name(b, plan.latency) for b in reversed(lowered.output_bits.tolist()))
    out.write(f"\n  assign o_data = {{{shown}}};\nendmodule\n")
    return out.getvalue()


_HEADER = """\
// {title}
//
// A trained network as a spatial pipeline: one sample per clock, {latency} clock cycles of latency.
//
// Streams: a sample is taken at a rising edge of clk with i_valid and i_ready high, an answer at one with o_valid and
// o_ready high. An answer can be taken exactly {latency} edges after the one that took its sample, plus one for every edge at
// which an answer was waiting (o_valid high, o_ready low); then the whole pipeline stands still and i_ready is low. Answers
// come in the order of the samples. i_ready depends combinationally on o_ready; i_data reaches the first registers through
// {levels} of logic, so register it outside where timing needs that. rst is synchronous: samples on their
// way are dropped; registers of data have no reset.
//
// Bits, least significant first; arrays in row-major order, every element as wide as its column says
// (u unsigned, s two's complement):
{ports}//
// Registers: {registers} ({boundaries} by stage), and {latency} for valid.
"""


def _header(lowered: Lowered, plan: Schedule, name: str, title: str) -> str:
    def rows(port: str, fields: Sequence[Field]) -> str:
        return "".join(
            f"//   {port}[{f.offset + f.bits - 1}:{f.offset}]  {_comment(f.name)}  {f.count} x {f.type}, shape {list(f.shape)}\n"
            for f in fields
        )

    return _HEADER.format(
        title=_comment(title),
        latency=plan.latency,
        levels=f"up to {plan.interval} LUT levels" if plan.interval else "all of the levels",
        ports=rows("i_data", lowered.inputs) + rows("o_data", lowered.outputs),
        registers=plan.registers,
        boundaries=", ".join(map(str, plan.per_boundary)),
    )


def _comment(text: str) -> str:
    """Text that cannot end a comment line."""
    return "".join(c if c.isprintable() and c != "\\" else "?" for c in text)
