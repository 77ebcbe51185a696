"""Integers in normal form: sums of atoms, so that two graphs' integers are equal when their forms are the same object.

An atom is a bit (a positive literal) or an opaque integer (the result of an operation that is not looked into). Forms are
interned; a form is known by its number.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

from neuroloom.compiler.ir.types import Range

Form = tuple[tuple[tuple[int, int], ...], int]
"""((atom, coefficient), ...) sorted, and the constant."""


class Forms:
    """The table of forms, with what is known about each: proven range, and its bits where it was made from bits."""

    def __init__(self) -> None:
        self.forms: list[Form] = []
        self.numbers: dict[Form, int] = {}
        self.ranges: dict[int, Range] = {}
        self.bits: dict[int, tuple[tuple[int, ...], bool]] = {}
        self.atoms: dict[Hashable, int] = {}

    def intern(self, terms: Mapping[int, int], constant: int = 0) -> int:
        """The number of constant + sum of coefficient * atom."""
        form = (tuple(sorted((a, c) for a, c in terms.items() if c)), constant)
        number = self.numbers.get(form)
        if number is None:
            number = self.numbers[form] = len(self.forms)
            self.forms.append(form)
        return number

    def atom(self, key: Hashable) -> int:
        """The form of the opaque integer ``key``; atoms of integers are negative, those of bits are positive literals."""
        name = self.atoms.setdefault(key, -1 - len(self.atoms))
        return self.intern({name: 1})

    def combine(self, parts: Sequence[tuple[int, int]], constant: int = 0) -> int:
        """The form of constant + sum of factor * form."""
        terms: dict[int, int] = {}
        for number, factor in parts:
            for name, coefficient in self.forms[number][0]:
                terms[name] = terms.get(name, 0) + factor * coefficient
            constant += factor * self.forms[number][1]
        return self.intern(terms, constant)

    def of_bits(self, literals: Sequence[int], weights: Sequence[int], constant: int = 0) -> int:
        """The form of constant + sum of weight * bit."""
        terms: dict[int, int] = {}
        for literal, weight in zip(literals, weights, strict=True):
            if literal & 1:  # w * (1 - x)
                constant += weight
                weight = -weight
            if literal >> 1:
                terms[literal & ~1] = terms.get(literal & ~1, 0) + weight
        return self.intern(terms, constant)

    def constant(self, number: int) -> int | None:
        """The form's integer if it is constant."""
        terms, constant = self.forms[number]
        return None if terms else constant

    def span(self, number: int) -> Range | None:
        """Proven bounds of the form's integer: from its atoms, and from what was noted about it; None without any."""
        terms, constant = self.forms[number]
        lo = hi = constant
        for name, coefficient in terms:
            if name < 0 and len(terms) == 1 and coefficient == 1 and not constant:
                return self.ranges.get(number)
            bounds = (0, 1) if name > 0 else self.span(self.intern({name: 1}))
            if bounds is None:
                return self.ranges.get(number)
            ends = bounds[0] * coefficient, bounds[1] * coefficient
            lo, hi = lo + min(ends), hi + max(ends)
        least, most = self.ranges.get(number, (lo, hi))
        return max(lo, least), min(hi, most)

    def restrict(self, number: int, bounds: Range) -> None:
        """Note that the form's integer is proven to lie in ``bounds``."""
        lo, hi = self.ranges.get(number, bounds)
        self.ranges[number] = max(lo, bounds[0]), min(hi, bounds[1])
