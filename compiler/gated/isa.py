"""The gated engine's instructions: one table of fields, read by the compiler, the executor and the hardware.

A program word has 112 bits; every instruction is one word. Addresses count elements of the vector memory or rows of the
weight memory. An address field is followed by an offset register (0: none), whose content is added when the instruction is
issued. What each instruction does and how long it takes stands in ``docs/gated-engine.md``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

from neuroloom.compiler.errors import GraphError

WORD_BITS = 112
WORD_BYTES = WORD_BITS // 8

OFFSETS = 16
"""Offset registers; number 0 reads as zero and is never written."""

LEVELS = 8
"""Loop counters, so that many loops may be nested."""

ENTRIES = 2
"""Words 0 and 1 are where a run begins: 0 goes on with the states, 1 resets them first."""


class Op(IntEnum):
    """Operation codes."""

    HALT = 0
    MAC = 1
    TERM = 2
    VEC = 3
    DRAIN = 4
    PICK = 5
    IN = 6
    OUT = 7
    LOOP = 8
    END = 9
    OFF = 10
    LDO = 11
    BR = 12
    JUMP = 13
    CMAC = 14
    DELTA = 15


class Rounding(IntEnum):
    """Codes of the graph's four roundings."""

    FLOOR = 0
    HALF_UP = 1
    HALF_EVEN = 2
    TOWARD_ZERO = 3


class Source(IntEnum):
    """What a DRAIN sends through the ports: the row of sums, going once around it; a pick's value or index; the row of sums for
    the last time, which ends with the last row asked for.
    """

    HOLD = 0
    VALUE = 1
    INDEX = 2
    LAST = 3


@dataclass(frozen=True)
class Slot:
    """One field: its lowest bit, its width, and whether it is two's complement."""

    name: str
    at: int
    width: int
    signed: bool = False


ADDRESS0, ADDRESS1, DELAY = 4, 24, 44
"""Where every instruction that has them keeps its addresses (16 bits, then 4 of the register), and its delay (12 bits)."""


def _place(*items: tuple[str, int] | tuple[str, int, bool]) -> dict[str, Slot]:
    """Fields one behind the other; ``delay`` at its place, what comes behind it behind it."""
    slots, at = {}, 0
    for name, width, *signed in (("op", 4), *items):
        if name == "delay":
            at = DELAY
        slots[str(name)] = Slot(str(name), at, int(width), bool(signed and signed[0]))  # type: ignore[call-overload]
        at += int(width)  # type: ignore[call-overload]
    if at > WORD_BITS:
        raise GraphError(f"instruction must have at most {WORD_BITS} bits, not {at}")
    return slots


_EMIT = _place(
    ("d_addr", 16),
    ("d_reg", 4),
    ("terms", 4),
    ("tail", 5),
    ("shift", 6),
    ("width", 5),
    ("delay", 12),
    ("rows", 12),
    ("element", 1),
    ("d_rs", 12, True),
    ("rounding", 2),
    ("wrap", 1),
    ("signed", 1),
    ("table", 1),
    ("tbase", 16, True),
    ("source", 2),
)
_STREAM = _place(
    ("addr", 16),
    ("reg", 4),
    ("n", 12),
    ("stride", 12, True),
    ("width", 5),
    ("signed", 1),
    ("parts", 3),
    ("part_stride", 16, True),
    ("first", 1),
    ("last", 1),
)

FORMATS: Mapping[Op, dict[str, Slot]] = {
    Op.HALT: _place(),
    Op.MAC: _place(
        ("x_addr", 16),
        ("x_reg", 4),
        ("w_addr", 16),
        ("w_reg", 4),
        ("delay", 12),
        ("first", 1),
        ("capture", 1),
        ("same", 1),
        ("n0", 12),
        ("s0", 12, True),
        ("n1", 10),
        ("s1", 16, True),
    ),
    Op.TERM: _place(
        ("a_addr", 16),
        ("a_reg", 4),
        ("b_addr", 16),
        ("b_reg", 4),
        ("slot", 3),
        ("n", 10),
        ("a_bcast", 1),
        ("b_bcast", 1),
        ("negate", 1),
        ("lift", 1),
        ("a_rs", 12, True),
        ("a_ks", 12, True),
        ("b_rs", 12, True),
        ("b_ks", 12, True),
    ),
    Op.VEC: _EMIT,
    Op.DRAIN: _EMIT,
    Op.PICK: _place(
        ("x_addr", 16),
        ("x_reg", 4),
        ("n", 12),
        ("parts", 3),
        ("largest", 1),
        ("again", 1),
        ("delay", 12),
        ("stride", 12, True),
        ("part_stride", 16, True),
    ),
    Op.IN: _STREAM,
    Op.OUT: _STREAM,
    Op.LOOP: _place(("level", 3), ("count", 16)),
    Op.END: _place(("level", 3), ("target", 14)),
    Op.OFF: _place(("reg", 4), ("src", 4), ("imm", 17, True), ("delay", 12)),
    Op.LDO: _place(("addr", 16), ("areg", 4), ("reg", 4)),
    Op.BR: _place(("addr", 16), ("areg", 4), ("imm", 18, True), ("unequal", 1), ("target", 14)),
    Op.JUMP: _place(("target", 14)),
    Op.CMAC: _place(
        ("entry", 16),
        ("e_reg", 4),
        ("w_addr", 16),
        ("w_reg", 4),
        ("delay", 12),
        ("list", 3),
        ("bank", 12),
        ("pad", 12),
        ("first", 1),
        ("load", 1),
        ("capture", 1),
    ),
    Op.DELTA: _place(
        ("a_addr", 16),
        ("a_reg", 4),
        ("b_addr", 16),
        ("b_reg", 4),
        ("delay", 12),
        ("n", 12),
        ("list", 3),
        ("threshold", 18),
        ("entry", 12),
    ),
}
"""The fields of every instruction, lowest bits first."""

MAX_DELAY = (1 << 12) - 1

LISTS = 7
"""Lists of changes, numbered from 1; list 0 is always empty."""


def limits(op: Op, field: str) -> tuple[int, int]:
    """Least and greatest value of a field."""
    slot = FORMATS[op][field]
    return (-(1 << slot.width - 1), (1 << slot.width - 1) - 1) if slot.signed else (0, (1 << slot.width) - 1)


def encode(op: Op, fields: Mapping[str, int]) -> int:
    """One program word; raises GraphError when a field does not exist or its value does not fit."""
    word = int(op)
    for name, value in fields.items():
        if name not in FORMATS[op] or name == "op":
            raise GraphError(f"{op.name} has no field {name}")
        slot = FORMATS[op][name]
        lo, hi = limits(op, name)
        if not lo <= value <= hi:
            raise GraphError(f"field {name} of {op.name} must be in {lo}..{hi}, not {value}")
        word |= (value & (1 << slot.width) - 1) << slot.at
    return word


def decode(word: int) -> tuple[Op, dict[str, int]]:
    """Operation and all fields of a program word; there are as many operations as codes."""
    op = Op(word & 15)
    fields = {}
    for name, slot in FORMATS[op].items():
        if name == "op":
            continue
        value = word >> slot.at & (1 << slot.width) - 1
        if slot.signed and value >> slot.width - 1:
            value -= 1 << slot.width
        fields[name] = value
    return op, fields
