"""Generalised products of two values: any contraction that an einsum equation states."""

from __future__ import annotations

import re
from dataclasses import dataclass

from neuroloom.compiler.errors import GraphError
from neuroloom.compiler.ir.types import Range

from .registry import Operands, Result, op


@dataclass(frozen=True, slots=True)
class Equation:
    """An einsum equation of two operands, letter by letter; ``summed`` are the letters that the result does not keep."""

    a: str
    b: str
    out: str

    @property
    def summed(self) -> str:
        """Letters of an operand that the result lacks, in order of appearance."""
        return "".join(dict.fromkeys(c for c in self.a + self.b if c not in self.out))

    @classmethod
    def parse(cls, text: str) -> Equation:
        """Read ``ab,bc->ac``; raises GraphError unless every letter occurs once per operand and the result's occur in one."""
        match = re.fullmatch(r"([A-Za-z]*),([A-Za-z]*)->([A-Za-z]*)", text)
        if not match:
            raise GraphError(f"equation must be like ab,bc->ac, two operands and one result, not {text!r}")
        for part in match.groups():
            if len(set(part)) != len(part):
                raise GraphError(
                    f"a letter must stand once in each operand and the result of an equation, not as in {text!r}"
                )
        missing = sorted(set(match[3]) - set(match[1] + match[2]))
        if missing:
            raise GraphError(f"letter {missing[0]} of the result must occur in an operand of {text!r}")
        return cls(match[1], match[2], match[3])

    def sizes(self, a: tuple[int, ...], b: tuple[int, ...]) -> dict[str, int]:
        """The length of every letter for operands of the shapes given; raises GraphError where they disagree."""
        out: dict[str, int] = {}
        for letters, shape in ((self.a, a), (self.b, b)):
            if len(letters) != len(shape):
                raise GraphError(f"operand {letters!r} must have {len(letters)} axes, not {list(shape)}")
            for letter, size in zip(letters, shape, strict=True):
                if out.setdefault(letter, size) != size:
                    raise GraphError(
                        f"axis {letter} must have one length in both operands, not {out[letter]} and {size}"
                    )
        return out


@op("contract", arity=2, attrs={"equation": "str"})
def contract(o: Operands) -> list[Result]:
    """Sum of products by an einsum ``equation``: out[result letters] = sum over the letters it lacks of a[...] * b[...].

    "hk,hv->hkv" is an outer product per h, "hkv,hk->hv" a matrix times a vector per h, "bij,bjk->bik" a batched matrix product.
    A letter stands once per operand; equal letters have equal lengths (nothing is broadcast). Fraction bits add; the result
    type holds the sum of as many products as there are terms.
    """
    equation = Equation.parse(o.attr("equation"))
    sizes = equation.sizes(o.values[0].shape, o.values[1].shape)
    terms = 1
    for letter in equation.summed:
        terms *= sizes[letter]
    corners = [x * y for x in o.ranges[0] for y in o.ranges[1]]
    bounds: Range = (min(corners) * terms, max(corners) * terms)
    return [Result(tuple(sizes[c] for c in equation.out), bounds, sum(v.type.frac for v in o.values))]
