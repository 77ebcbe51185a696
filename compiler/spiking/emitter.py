"""Collects the microcode of one population: instructions, the state words that they use, and constants per neuron.

Register use that every generator relies on: ``MUL 65536`` keeps A in P and ``RND 0`` brings it back unchanged, so P is
a third register wherever no product is under way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from neuroloom.compiler.errors import UnsupportedError

from .isa import IMM_BITS, RND_HALF_UP, RND_SHIFT8, RND_TOWARD_ZERO, STATE_WORDS_MAX, Instruction, Op

ONE = 1 << 16
ROUNDINGS = {"floor": 0, "half_up": RND_HALF_UP, "toward_zero": RND_TOWARD_ZERO}
IMM_LOW, IMM_HIGH = -(1 << IMM_BITS - 1), (1 << IMM_BITS - 1) - 1

Parameter = int | np.ndarray
"""One integer for the population, or an int array [n]."""


@dataclass
class Code:
    """Microcode of a population.

    ``passes``: one instruction list per SCAN of the population in a step. ``words``: names of its state words, in
    order. ``constants``: state words that hold parameters per neuron, with their values [n]; all other words are states
    or scratch. ``immediates``: for parameters that stand in the code, (pass, position) of each IMM by name.
    """

    passes: list[list[Instruction]] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    constants: dict[str, np.ndarray] = field(default_factory=dict)
    immediates: dict[str, list[tuple[int, int]]] = field(default_factory=dict)


class Emitter:
    """Appends instructions to the current pass of a :class:`Code`; ``where`` names the node in refusals."""

    def __init__(self, where: str, states: Sequence[str], size: int, *, keep_words: bool = False) -> None:
        self.where = where
        self.size = size
        self.keep_words = keep_words
        self.code = Code(passes=[[]], words=list(states))

    def __call__(self, op: Op, imm: int = 0) -> None:
        """Append one instruction."""
        self.code.passes[-1].append(Instruction(op, imm))

    def many(self, *ops: Op) -> None:
        """Append instructions without immediate."""
        for op in ops:
            self(op)

    def next_pass(self) -> None:
        """Begin the program of the next SCAN."""
        self.code.passes.append([])

    def word(self, name: str) -> int:
        """Number of the state word ``name``; a new one is taken when there is none."""
        words = self.code.words
        if name not in words:
            words.append(name)
        if len(words) > STATE_WORDS_MAX:
            raise UnsupportedError(
                f"{self.where} must need at most {STATE_WORDS_MAX} state words per neuron, not {len(words)} "
                f"({', '.join(words)}); use fewer options, or one parameter for the whole population"
            )
        return words.index(name)

    def lda(self, name: str) -> None:
        """A ← state word."""
        self(Op.LDA, self.word(name))

    def ldb(self, name: str) -> None:
        """B ← state word."""
        self(Op.LDB, self.word(name))

    def sta(self, name: str) -> None:
        """State word ← A."""
        self(Op.STA, self.word(name))

    def save(self) -> None:
        """P ← A, to be brought back by :meth:`restore`."""
        self(Op.MUL, ONE)

    def restore(self) -> None:
        """A ← the A that was saved in P."""
        self(Op.RND)

    def scale(self, factor: int, rounding: str, *, by8: bool = False) -> None:
        """A ← sat(rnd(A·factor, 16 or 8)). A factor of 1.0 costs nothing: every rounding leaves it exact."""
        if factor == ONE and not by8:
            return
        self(Op.MUL, factor)
        self(Op.RND, ROUNDINGS[rounding] | (RND_SHIFT8 if by8 else 0))

    def parameter(self, name: str, value: Parameter) -> None:
        """B ← a parameter: an immediate when it is one integer for all that fits, else a state word."""
        array = np.asarray(value, np.int64)
        uniform = array.ndim == 0 or bool((array == array.flat[0]).all())
        first = int(array.flat[0])
        if uniform and IMM_LOW <= first <= IMM_HIGH and not (self.keep_words and array.ndim):
            number = len(self.code.passes) - 1
            self.code.immediates.setdefault(name, []).append((number, len(self.code.passes[-1])))
            self.code.passes[-1].append(Instruction(Op.IMM, first, parameter=True))
            return
        self.code.constants.setdefault(name, np.broadcast_to(array, (self.size,)).copy())
        self.ldb(name)

    def imm(self, value: int, what: str) -> None:
        """B ← a constant of the model; refused when it exceeds an immediate."""
        if not IMM_LOW <= value <= IMM_HIGH:
            raise UnsupportedError(
                f"{what} of {self.where} must be in {IMM_LOW}..{IMM_HIGH} (24 bits of an instruction), not {value}; "
                "use a smaller scale"
            )
        self(Op.IMM, value)
