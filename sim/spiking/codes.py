"""Instruction numbers and operand references of the step machine.

An instruction is a row of int64: its number, then operands. A *reference* names the first element of an array in one of three
memories: bits in bytes (0), int32 (1), int64 (2); it is ``offset << 2 | memory``. Weights live in three memories of their own
(int8, int16, int32). A *ring* holds the events (indices of ones) of a bit vector for the last steps.
"""

from __future__ import annotations

COLUMNS = 40
"""Length of an instruction row."""

BLOCK = 512
"""Elements worked on at a time: the scratch rows stay in the first-level cache."""

SCRATCH = 12
"""Scratch rows int64[BLOCK]."""

(
    COPY,
    GATHER,
    MOVE,
    BINARY,
    SELECT,
    SHIFT,
    REQUANTIZE,
    SUM,
    ARGMAX,
    MATVEC,
    INPUT,
    SCAN,
    SCAN_INPUT,
    ROWS,
    DELIVER,
    DELIVER_DENSE,
    RECORD,
    RECORD_EVENTS,
    RESET_RING,
    UNPERMUTE,
    LIF,
    IZHIKEVICH,
    TRACE,
    STDP,
    LFSR,
    DECIDE,
    SET_WEIGHTS,
    TABLE,
    FILL,
    LIF_32,
    ALPHA,
    BERNOULLI,
) = range(32)

ADD, SUB, MUL, MAX, MIN, GE, GT, EQ, AND, OR, XOR = range(11)
"""Operations of BINARY."""

FLOOR, HALF_UP, TOWARD_ZERO, HALF_EVEN, STOCHASTIC = range(5)
"""Roundings."""

NARROW_STATE = 30
"""Widest state for which sums of two fit 32 bits."""

NONE = -1
"""An absent operand."""
