"""The instruction set of the spiking core: microcode and step commands as one table each, for the compiler and the RTL.

The meaning of every instruction and command is in ``docs/spiking-core.md``; this file has the encodings only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum

from neuroloom.compiler.errors import InputError


class Op(IntEnum):
    """Microcode operation, bits 30..26 of an instruction; bit 31 ends the group, bits 25 and 24 say whether an IMM rides on it,
    bits 23..0 are the immediate.
    """

    NOP = 0
    LDA = 1
    LDB = 2
    STA = 3
    STB = 4
    ACC = 5
    IMM = 6
    MOV = 7
    SWP = 8
    ADD = 9
    SUB = 10
    MUL = 11
    SQR = 12
    RND = 13
    CGT = 14
    CGE = 15
    CEQ = 16
    NOT = 17
    FSP = 18
    FK = 19
    KF = 20
    KAF = 21
    FAK = 22
    FOK = 23
    SEL = 24
    MIN = 25
    MAX = 26
    BST = 27
    WIN = 28
    INJ = 29


END_BIT = 1 << 31
IMM_BITS = 24
MUL_BITS = 17
RIDES, RIDES_SHORT = 1 << 25, 1 << 24
"""An IMM rides on the instruction: with its 24 bits, or with the 20 bits above the instruction's own four."""
SHORT_BITS, SHORT_LSB = 20, 4
LARGE_STORE_DISTANCE = 4
"""Instructions from a store to the first one that may load the same word, on large cores."""
SQR_BITS = 18

RND_SHIFT8, RND_HALF_UP, RND_TOWARD_ZERO = 1, 2, 4
"""Immediate bits of RND; without any: floor of P / 2^16."""

LOADS = frozenset({Op.LDA, Op.LDB})
STORES = frozenset({Op.STA, Op.STB})
STATE_OPS = LOADS | STORES
STATE_WORDS_MAX = 8
FREE_OPS = frozenset(Op) - STATE_OPS - {Op.IMM, Op.MOV, Op.SWP, Op.MUL, Op.RND}
"""Instructions with neither an immediate nor B as their destination."""
SHORT_OPS = (STATE_OPS - {Op.LDB}) | {Op.RND}
"""Those that use the immediate's low four bits only, and leave B alone."""


@dataclass(frozen=True, slots=True)
class Instruction:
    """One microcode instruction; ``imm`` is the state word of a load or store, or the immediate.

    ``parameter``: it is an IMM whose value may be written over later, so that it keeps all its bits. ``rider``: the immediate of
    the IMM that rides on the instruction, executed in the same cycle behind it.
    """

    op: Op
    imm: int = 0
    parameter: bool = False
    rider: int | None = None

    def encode(self, *, end: bool = False) -> int:
        """The 32-bit word; raises InputError when the immediate does not fit."""
        low, high = (-(1 << IMM_BITS - 1), (1 << IMM_BITS) - 1)
        if self.op in STATE_OPS:
            low, high = 0, STATE_WORDS_MAX - 1
        elif self.op is Op.MUL:
            low, high = 0, (1 << MUL_BITS) - 1
        if not low <= self.imm <= high:
            raise InputError(f"immediate of {self.op.name} must be in {low}..{high}, not {self.imm}")
        word = (END_BIT if end else 0) | int(self.op) << 26
        if self.rider is None:
            return word | self.imm & (1 << IMM_BITS) - 1
        if self.op in FREE_OPS:
            return word | RIDES | self.rider & (1 << IMM_BITS) - 1
        return word | RIDES_SHORT | (self.rider & (1 << SHORT_BITS) - 1) << SHORT_LSB | self.imm


def rider_of(word: int) -> int | None:
    """The immediate, sign-extended, of the IMM that rides on an instruction word; None when none does."""
    if word & RIDES:
        value, bits = word & (1 << IMM_BITS) - 1, IMM_BITS
    elif word & RIDES_SHORT:
        value, bits = word >> SHORT_LSB & (1 << SHORT_BITS) - 1, SHORT_BITS
    else:
        return None
    return value - (1 << bits) if value >> bits - 1 else value


def ride(program: Iterable[Instruction]) -> list[Instruction]:
    """The same program with every IMM on the instruction before it, where that one leaves B alone and has room for it."""
    out: list[Instruction] = []
    for item in program:
        last = out[-1] if out else None
        if item.op is Op.IMM and last is not None and last.rider is None:
            value = item.imm - (1 << IMM_BITS) if item.imm >= 1 << IMM_BITS - 1 else item.imm
            half = 1 << SHORT_BITS - 1
            if last.op in FREE_OPS or (last.op in SHORT_OPS and not item.parameter and -half <= value < half):
                out[-1] = replace(last, rider=value)
                continue
        out.append(item)
    return out


def spaced(program: Iterable[Instruction], *, large: bool = False) -> list[Instruction]:
    """The instructions of a microprogram as a core executes them: IMM on the instruction before it where ``large`` cores allow it,
    NOPs between a store and a load that may not follow it yet.

    A load may not directly follow a store; on ``large`` cores, which read and write the pool at once, one of the same word must
    be the fourth instruction behind it at least, and INJ must not be the first instruction.
    """
    out: list[Instruction] = []
    for item in ride(program) if large else program:
        if large and not out and item.op is Op.INJ:
            out.append(Instruction(Op.NOP))
        if large:
            for back in range(1, LARGE_STORE_DISTANCE):
                if item.op in LOADS and len(out) >= back and out[-back].op in STORES and out[-back].imm == item.imm:
                    out += [Instruction(Op.NOP)] * (LARGE_STORE_DISTANCE - back)
                    break
        elif out and out[-1].op in STORES and item.op in LOADS:
            out.append(Instruction(Op.NOP))
        out.append(item)
    return out


def assemble(program: Iterable[Instruction], *, large: bool = False) -> list[int]:
    """Words of one microprogram: its instructions as :func:`spaced` has them, the END bit on the last one; at least two on
    ``large`` cores. Raises InputError when there is none.
    """
    out = spaced(program, large=large)
    if not out:
        raise InputError("a microprogram must have at least one instruction")
    if large and len(out) == 1:
        out.append(Instruction(Op.NOP))
    return [item.encode(end=number == len(out) - 1) for number, item in enumerate(out)]


class Step(IntEnum):
    """Step command, bits 31..28 of its first word."""

    END = 0
    INPUTS = 1
    SCAN = 2
    DENSE = 3
    SPARSE = 4
    LEARN_DENSE = 5
    LEARN_SPARSE = 6
    DECIDE = 7
    EXCHANGE = 8


class Role(IntEnum):
    """What a core does in an EXCHANGE: the others' spike words are none of its business, or it sends or receives them."""

    NONE = 0
    SEND = 1
    RECEIVE = 2


@dataclass(frozen=True, slots=True)
class Place:
    """Where a field stands: program word of the command, lowest bit, width; ``signed`` fields are two's complement."""

    word: int
    lsb: int
    width: int
    signed: bool = False


_SOURCES = {"first_word": Place(0, 0, 12), "words": Place(0, 12, 12)}
_LEARN = {
    **_SOURCES,
    "base": Place(1, 0, 16),  # dense: rows; sparse: records
    "row_words": Place(1, 16, 12),
    "header_base": Place(2, 0, 16),  # sparse only
    "target": Place(2, 16, 16),  # first neuron of the target population
    "x_base": Place(3, 0, 16),  # source population's state block
    "x_k": Place(3, 16, 4),
    "x_stride": Place(3, 20, 4),
    "y_base": Place(4, 0, 16),
    "y_k": Place(4, 16, 4),
    "y_stride": Place(4, 20, 4),
    "w_min": Place(5, 0, 16, signed=True),
    "w_max": Place(5, 16, 16, signed=True),
    "f": Place(6, 0, 5),
    "soft": Place(6, 5, 1),
    "window": Place(6, 6, 1),
    "rounding": Place(6, 7, 2),  # 0 floor, 1 half up, 2 stochastic
    "eligible": Place(6, 9, 1),  # Δ goes to the eligibility
    "enables": Place(6, 10, 1),  # an enable plane is there
    "g": Place(6, 11, 5),
    "e_decay": Place(6, 16, 9),  # 0..256
    "pot": Place(7, 0, 16),
    "dep": Place(7, 16, 16),
    "e_base": Place(8, 0, 16),  # dense: eligibility plane, laid out like the rows
    "enable_base": Place(8, 16, 16),  # enable plane: one pool word per row word, bit f enables field f
    "targets": Place(9, 0, 16),  # neurons of the target population
    "sources": Place(9, 16, 16),  # neurons of the source population: rows past them do not exist and are left alone
    # several cores: bits 15..8 and 7..4 of 40503·j of the first source, of 27469·i of the first target, both multiples of 16
    "x_random": Place(3, 24, 8),
    "x_random_low": Place(0, 24, 4),
    "y_random": Place(4, 24, 8),
    "y_random_low": Place(1, 28, 4),
}

FIELDS: Mapping[Step, Mapping[str, Place]] = {
    Step.END: {},
    Step.INPUTS: {"words": Place(0, 12, 12), "raster_base": Place(1, 0, 16), "first_word": Place(0, 0, 12)},
    Step.SCAN: {
        "first_group": Place(0, 0, 12),
        "groups": Place(0, 12, 12),
        "state_base": Place(1, 0, 16),
        "stride": Place(1, 16, 4),
        "pc": Place(2, 0, 12),
        "watch": Place(2, 12, 1),
        "reset_best": Place(2, 13, 1),
        "neurons": Place(2, 16, 16),
    },
    Step.DENSE: {
        **_SOURCES,
        "base": Place(1, 0, 16),
        "row_words": Place(1, 16, 12),
        "delay": Place(2, 0, 6),
        "shift8": Place(2, 6, 1),
        "target": Place(2, 16, 16),
    },
    Step.SPARSE: {
        **_SOURCES,
        "eligible": Place(0, 24, 1),  # the records carry eligibilities
        "header_base": Place(1, 0, 16),
        "record_base": Place(1, 16, 16),
        "delays_low": Place(2, 0, 32),
        "delays_high": Place(3, 0, 32),
    },
    Step.LEARN_DENSE: _LEARN,
    Step.LEARN_SPARSE: _LEARN,
    Step.DECIDE: {
        "neurons": Place(0, 0, 16),
        "mode": Place(0, 16, 2),  # 0 margin, 1 confidence
        "state_base": Place(1, 0, 16),
        "stride": Place(1, 16, 4),
        "k": Place(1, 20, 4),
        "margin": Place(2, 0, 32),  # margin, or the largest sum of table entries
        "table": Place(3, 0, 16),  # confidence: first program word of the table
        "entries": Place(3, 16, 12),
    },
    Step.EXCHANGE: {
        **_SOURCES,
        "role": Place(0, 24, 2),  # of Role
    },
}
"""Fields of every command. A command takes as many program words as its fields need, rounded up to 4."""


def command_words(step: Step) -> int:
    """Program words that the command takes, a multiple of 4."""
    last = max((place.word for place in FIELDS[step].values()), default=0)
    return (last // 4 + 1) * 4


def encode_command(step: Step, values: Mapping[str, int]) -> list[int]:
    """Program words of one command; fields not named are 0. Raises InputError when a value does not fit its field."""
    words = [0] * command_words(step)
    words[0] = int(step) << 28
    unknown = set(values) - set(FIELDS[step])
    if unknown:
        raise InputError(f"{step.name} has no field {', '.join(sorted(unknown))}")
    for name, value in values.items():
        place = FIELDS[step][name]
        low = -(1 << place.width - 1) if place.signed else 0
        high = (1 << place.width - place.signed) - 1
        if not low <= value <= high:
            raise InputError(f"{name} of {step.name} must be in {low}..{high}, not {value}")
        words[place.word] |= (value & (1 << place.width) - 1) << place.lsb
    return words


def decode_command(words: Sequence[int]) -> tuple[Step, dict[str, int]]:
    """The command that starts at ``words[0]`` and its fields."""
    step = Step(words[0] >> 28)
    values = {}
    for name, place in FIELDS[step].items():
        value = words[place.word] >> place.lsb & (1 << place.width) - 1
        values[name] = value - (1 << place.width) if place.signed and value >> place.width - 1 else value
    return step, values
