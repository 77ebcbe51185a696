"""And-inverter graphs: built with structural hashing, written and read as binary AIGER, simulated.

A literal is 2 * variable + inverted; variable 0 is constant 0 (http://fmv.jku.at/aiger/FORMAT.aiger).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from neuroloom.compiler.errors import NeuroloomError


class Aig:
    """A growing and-inverter graph."""

    def __init__(self) -> None:
        self.fanins: list[tuple[int, int]] = [(0, 0)]
        """Per variable the literals of its two inputs; (0, 0) for constant 0 and for inputs."""
        self.inputs: list[int] = []
        self._known: dict[tuple[int, int], int] = {}

    def input(self) -> int:
        """A new input; returns its literal."""
        self.fanins.append((0, 0))
        self.inputs.append(len(self.fanins) - 1)
        return 2 * self.inputs[-1]

    def both(self, a: int, b: int) -> int:
        """a and b."""
        if a > b:
            a, b = b, a
        if a == 0 or a == b ^ 1:
            return 0
        if a == 1 or a == b:
            return b
        found = self._known.get((a, b))
        if found is None:
            self.fanins.append((a, b))
            found = self._known[a, b] = 2 * (len(self.fanins) - 1)
        return found

    def either(self, a: int, b: int) -> int:
        """a or b."""
        return self.both(a ^ 1, b ^ 1) ^ 1

    def choose(self, c: int, a: int, b: int) -> int:
        """a if c else b."""
        if a == b:
            return a
        return self.either(self.both(c, a), self.both(c ^ 1, b))

    def table(self, table: int, inputs: Sequence[int]) -> int:
        """The truth table of the inputs, the first as address LSB, by Shannon's expansion from the last."""
        n = len(inputs)
        every = (1 << (1 << n)) - 1
        if table in (0, every):
            return int(table != 0)
        half, rest = 1 << (n - 1), inputs[:-1]
        low, high = table & (1 << half) - 1, table >> half
        if low == high:
            return self.table(low, rest)
        return self.choose(inputs[-1], self.table(high, rest), self.table(low, rest))

    def at_least(self, bits: Sequence[int], limit: int, *, signed: bool = False) -> int:
        """Whether the integer of ``bits`` (least significant first, two's complement if ``signed``) is >= ``limit``."""
        if signed:  # flipping the sign bit adds 2**(width - 1) to both sides
            return self.at_least([*bits[:-1], bits[-1] ^ 1], limit + (1 << (len(bits) - 1)))
        if limit <= 0:
            return 1
        if limit >= 1 << len(bits):
            return 0
        result = 1
        for place, bit in enumerate(bits):
            result = self.both(bit, result) if limit >> place & 1 else self.either(bit, result)
        return result

    def aiger(self, outputs: Sequence[int]) -> bytes:
        """This graph with ``outputs`` as a binary AIGER file."""
        number = np.zeros(len(self.fanins), np.int64)
        number[self.inputs] = np.arange(1, len(self.inputs) + 1)
        gates = [v for v in range(1, len(self.fanins)) if self.fanins[v] != (0, 0)]
        number[gates] = np.arange(len(gates)) + len(self.inputs) + 1

        def literal(x: int) -> int:
            return 2 * int(number[x >> 1]) + (x & 1)

        total = len(self.inputs) + len(gates)
        head = f"aig {total} {len(self.inputs)} 0 {len(outputs)} {len(gates)}\n"
        out = bytearray((head + "".join(f"{literal(o)}\n" for o in outputs)).encode())
        for v in gates:
            a, b = sorted(map(literal, self.fanins[v]), reverse=True)
            for delta in (2 * int(number[v]) - a, a - b):
                while delta > 127:
                    out.append(delta & 127 | 128)
                    delta >>= 7
                out.append(delta)
        return bytes(out)

    def simulate(self, inputs: np.ndarray) -> np.ndarray:
        """Values uint64[variables, words] for the inputs uint64[inputs, words], 64 samples per word."""
        values = np.zeros((len(self.fanins), inputs.shape[1]), np.uint64)
        values[self.inputs] = inputs
        ones = ~np.uint64(0)
        for v, (a, b) in enumerate(self.fanins):
            if a or b:
                x = values[a >> 1] ^ ones if a & 1 else values[a >> 1]
                y = values[b >> 1] ^ ones if b & 1 else values[b >> 1]
                values[v] = x & y
        return values


def read_outputs(data: bytes, inputs: int, outputs: int) -> list[int]:
    """Output literals of a binary AIGER file that must have that many inputs and outputs; raises NeuroloomError."""
    lines = data.split(b"\n", 1 + outputs)
    head = lines[0].split()
    shape = [int(x) for x in head[1:5]] if len(head) >= 6 and head[0] == b"aig" else []
    if not shape or shape[1:] != [inputs, 0, outputs] or len(lines) < 1 + outputs:
        raise NeuroloomError(f"ABC's netlist must have {inputs} inputs and {outputs} outputs, not {lines[0][:40]!r}")
    return [int(x) for x in lines[1 : 1 + outputs]]
