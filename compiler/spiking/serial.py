"""The instruction set of the serial learning unit, and its assembler; the unit is ``rtl/spiking/learn_serial.py``.

A small processor of 16 bits that learns on cores of one lane: registers A and B, a flag, 128 words of registers, and a
multiplier that always works on A and B. One instruction per cycle, whatever it does, so that cycles are counted from the
program alone (``serial_cycles.py``).

An instruction sees in Q the register that it names; the word before it carries the register's number, because the memory of
registers takes a cycle. It may

- compute ``fn`` of A and Q, and put that, or another ``src``, into ``to`` (A or B); with ``when`` only if that holds for A or
  the flag as they were,
- set the flag to the carry (``flag=CARRY``) or the sign (``SIGN``) of what it computed,
- write A, as it was, to the register ``wr``, which the next instruction can not read yet,
- go to ``jump``, always or ``when`` something holds,
- use a memory at the address that it computed (``mem``); the data are a ``src`` of the next instruction alone.

``HIGH`` and ``LOW`` are the product's halves: right in the second instruction behind the one that wrote A or B, and in the one
after that if A and B did not change before the second one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

from neuroloom.compiler.errors import InputError

REGISTER_BITS, ADDRESS_BITS = 7, 9
POWERS = 112
"""Registers from here on hold 2^0 to 2^15; ``index`` names one of them by the low bits of A."""

ONES = 0xFFFF


class Fn(IntEnum):
    """What is computed of A and Q."""

    Q = 0
    ADD = 1
    SUB = 2
    RSUB = 3
    AND = 4
    OR = 5
    XOR = 6


class Src(IntEnum):
    """What goes into A or B."""

    COMPUTED = 0
    POOL_LOW = 1
    POOL_HIGH = 2
    HIST = 3
    LOW = 4
    HIGH = 5
    PROGRAM_LOW = 6
    PROGRAM_HIGH = 7
    MIXED = 8
    LFSR_LOW = 9
    LFSR_HIGH = 10
    REWARD = 11


class When(IntEnum):
    """Conditions."""

    ALWAYS = 0
    ZERO = 1
    SOME = 2
    MINUS = 3
    SET = 4
    CLEAR = 5
    SPARSE = 6


class Mem(IntEnum):
    """Uses of memories, and the end of a command."""

    NONE = 0
    POOL = 1
    WRITE = 2
    HIST = 3
    PROGRAM = 4
    INDEX = 5
    CLIPPED = 6
    DONE = 7


class To(IntEnum):
    """Where the result goes."""

    NONE = 0
    A = 1
    B = 2


class Flag(IntEnum):
    """What the flag becomes."""

    KEEP = 0
    CARRY = 1
    SIGN = 2


@dataclass(frozen=True)
class Layout:
    """Fields of an instruction: name to (lowest bit, width)."""

    fields: Mapping[str, tuple[int, int]]
    width: int


def _layout() -> Layout:
    fields, at = {}, 0
    for name, width in (
        *(("fn", 3), ("src", 4), ("to", 2), ("flag", 2), ("when", 3), ("writes", 1), ("jumps", 1)),
        *(("mem", 3), ("next", REGISTER_BITS), ("place", ADDRESS_BITS)),
    ):
        fields[name] = (at, width)
        at += width
    return Layout(fields, at)


LAYOUT = _layout()


@dataclass
class _Item:
    values: dict[str, int]
    q: str | None
    wr: str | None
    jump: str | None
    word: int | None


class Assembler:
    """Collects instructions and labels, then makes the words of both memories."""

    def __init__(self) -> None:
        self._items: list[_Item] = []
        self.labels: dict[str, int] = {}
        self.registers: dict[str, int] = {}
        self.constants: dict[int, int] = {POWERS + bit: 1 << bit for bit in range(16)}

    def register(self, name: str) -> int:
        """The number of a register; its first use makes it."""
        if name not in self.registers:
            self.registers[name] = len(self.registers)
            if len(self.registers) > POWERS:
                raise InputError(f"registers of the serial learning unit must be {POWERS} at most")
        return self.registers[name]

    def constant(self, value: int) -> str:
        """The name of a register with a constant."""
        value &= 0xFFFF
        name = f"#{value}"
        if value & value - 1 == 0 and value:
            self.registers[name] = POWERS + value.bit_length() - 1
        else:
            self.constants[self.register(name)] = value
        return name

    def label(self, name: str) -> None:
        """The next instruction has this name."""
        if name in self.labels:
            raise InputError(f"label {name} must be used once")
        self.labels[name] = len(self._items)

    def __call__(
        self,
        q: str | int | None = None,
        fn: Fn = Fn.Q,
        *,
        src: Src = Src.COMPUTED,
        to: To | None = None,
        wr: str | None = None,
        flag: Flag = Flag.KEEP,
        when: When = When.ALWAYS,
        jump: str | None = None,
        mem: Mem = Mem.NONE,
        word: int | None = None,
    ) -> None:
        """One instruction. ``to`` is A when something is computed for no other use, or comes from a ``src``."""
        name = self.constant(q) if isinstance(q, int) else q
        if to is None:
            takes = src is not Src.COMPUTED or (name is not None and flag is Flag.KEEP and mem is Mem.NONE and not jump)
            to = To.A if takes else To.NONE
        if wr is not None and jump is not None:
            raise InputError("instruction must not write a register and jump")
        values: dict[str, int] = {"fn": fn, "src": src, "to": to, "flag": flag, "when": when, "mem": mem}
        values |= {"writes": wr is not None, "jumps": jump is not None}
        self._items.append(_Item({k: int(v) for k, v in values.items()}, name, wr, jump, word))

    def length(self, start: str, end: str) -> int:
        """Instructions from one label to another."""
        return self.labels[end] - self.labels[start]

    def words(self) -> list[int]:
        """The program. Raises InputError where an instruction could not see the register that it names."""
        out = []
        for number, item in enumerate(self._items):
            following = [] if item.jump and item.values["when"] == When.ALWAYS else [number + 1]
            if item.jump is not None:
                following.append(self.labels[item.jump])
            seen = {self._items[n].q for n in following if n < len(self._items)} - {None}
            if item.values["mem"] == Mem.INDEX:
                seen = set()
            if len(seen) > 1:
                raise InputError(
                    f"instruction {number}: what follows must read one register, not {sorted(map(str, seen))}"
                )
            if item.wr in seen and item.wr is not None:
                raise InputError(f"instruction {number}: {item.wr} must not be read while it is written")
            values = dict(item.values)
            values["next"] = self.register(str(next(iter(seen)))) if seen else 0
            if item.word is not None:
                if seen:
                    raise InputError(f"instruction {number}: behind a program word no register can be read")
                values["next"] = item.word
            place = self.register(item.wr) if item.wr is not None else self.labels[item.jump] if item.jump else 0
            values["place"] = place
            word = 0
            for name, value in values.items():
                low, width = LAYOUT.fields[name]
                if value >> width:
                    raise InputError(f"{name} of instruction {number} must fit {width} bits, not {value}")
                word |= value << low
            out.append(word)
        if len(out) > 1 << ADDRESS_BITS:
            raise InputError(f"program of the serial learning unit must have {1 << ADDRESS_BITS} words at most")
        return out

    def initial(self) -> list[int]:
        """What the registers hold at the beginning: constants, the others 0."""
        out = [0] * (1 << REGISTER_BITS)
        for number, value in self.constants.items():
            out[number] = value
        return out


def shifted(i: Assembler, name: str, bits: int, *, wr: str | None = None) -> None:
    """A becomes a register shifted down; ``wr``: it goes there first."""
    i(name, wr=wr)
    i(1 << 16 - bits, to=To.B)
    i()
    i(src=Src.HIGH)


def bumps(i: Assembler, steps: list[tuple[str, str | int, Fn]]) -> None:
    """Several registers changed by their steps; the last one's new value stays in A."""
    before = None
    for name, step, fn in steps:
        i(name, wr=before)
        i(step, fn)
        before = name
    i(wr=before)
