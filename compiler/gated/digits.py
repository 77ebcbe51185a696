"""Element-wise sums as products of digits: what a VEC does with values of any width."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace

import numpy as np
from neuroloom.compiler.errors import UnsupportedError
from neuroloom.compiler.ir.types import Range

from .core import GatedConfig
from .elementwise import COUNT, REACH, sweep, with_lifts
from .forms import Const, Emitted, Form, Lin, Prod, Spec
from .locate import Loc, Space, signed_width
from .products import Product


class DigitSums(ABC):
    """The part of a machine that computes sums without matrix products."""

    config: GatedConfig
    space: Space
    source: str

    @abstractmethod
    def store(self, value: Form | Emitted, dest: Loc | None = None, name: str = "") -> Loc:
        """Compute a sum; the machine's."""

    @abstractmethod
    def parts_of(self, spec: Spec | None, dest: Loc, bounds: Range, shift: int = 0) -> list[tuple[int, Spec]]:
        """How each digit of the result leaves; the machine's."""

    def element_sum(self, form: Form, dest: Loc, parts: list[tuple[int, Spec]]) -> None:
        """Append the jobs of a sum without matrix products, one for each part of the result."""
        if signed_width(form.bounds) > self.config.wide:
            raise UnsupportedError(
                f"{self.source}: the sum needs {signed_width(form.bounds)} bits and profile {self.config.profile!r} sums "
                f"{self.config.wide}; requantize its operands to fewer bits, or take a board with wider sums"
            )
        products = self._products(form)
        if len(with_lifts(self.space, products, form.shape)) > self.config.terms:
            products = self._linear(Lin(self._digit_by_digit(products, form)), form.shape)
        for part, how in parts:
            sweep(self, sorted(products, key=lambda p: -p.level), dest.part(part), how)  # type: ignore[arg-type]

    def _digit_by_digit(self, products: list[Product], form: Form) -> Loc:
        """The sum stored digit after digit, lowest first, with what is carried over: any number of products, a few at once."""
        result = self.space.new(form.shape, form.bounds, "a sum of many products")
        carry: list[Product] = []
        for level in range(result.parts):
            last = level == result.parts - 1
            chosen = [p for p in products if p.level == level or (last and p.level > level)]
            here = self._few([*(replace(p, level=p.level - level) for p in chosen), *carry], form.shape)
            bounds = self._reach(here)
            digits = self.parts_of(None, result, form.bounds)
            how = replace(digits[level][1], shift=0)
            sweep(self, here, result.part(level), how)  # type: ignore[arg-type]
            if last:
                break
            bounds = bounds[0] >> self.config.digit, bounds[1] >> self.config.digit
            kept = self.space.new(form.shape, bounds, "a carry")
            for part, spec in self.parts_of(None, kept, bounds, self.config.digit):
                sweep(self, here, kept.part(part), spec)  # type: ignore[arg-type]
            carry = self._linear(Lin(kept), form.shape)
        return result

    def _few(self, products: list[Product], shape: tuple[int, ...]) -> list[Product]:
        """At most as many products as one instruction sums, topmost first: some are summed and stored before."""
        limit = self.config.terms
        products = sorted(products, key=lambda p: -p.level)
        while len(with_lifts(self.space, products, shape)) > limit:
            levels = [p.level for p in products]
            level = max(set(levels), key=levels.count)
            group = [p for p in products if p.level == level][:limit]
            rest = [p for p in products if not any(p is g for g in group)]
            group = [replace(p, level=0) for p in group]
            partial = self.space.new(shape, self._reach(group), "a partial sum")
            if partial.parts >= len(group):
                raise UnsupportedError(
                    f"{self.source}: a sum of {len(products)} products of digits must be computed by at most {limit} at once "
                    f"(profile {self.config.profile!r}); requantize its operands to {self.config.word} bits, or take a larger board"
                )
            for part, how in self.parts_of(None, partial, partial.bounds):
                sweep(self, group, partial.part(part), how)  # type: ignore[arg-type]
            added = [replace(p, level=p.level + level) for p in self._linear(Lin(partial), shape)]
            products = sorted([*rest, *added], key=lambda p: -p.level)
        return products

    def _reach(self, products: list[Product]) -> Range:
        """Bounds of a sum of products."""
        most = sum(p.reach * (p.a.shape[-1] if p.reduced else 1) << p.level * self.config.digit for p in products)
        return -most, most

    def _one(self, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        return np.full(shape, self.space.constant((1,))), np.zeros(shape, np.int64)

    def _products(self, form: Form) -> list[Product]:
        """The products of digits that make up the sum, topmost first."""
        out: list[Product] = []
        shape = form.shape
        for term in form.terms:
            if isinstance(term, Const):
                data = np.broadcast_to(term.values(), shape)
                if not data.size or (data == data.flat[0]).all():
                    out += self._constant(int(data.flat[0]) if data.size else 0, shape)
                else:
                    lo, hi = int(data.min()), int(data.max())
                    loc = self.space.new(shape, (lo, hi), "a constant")
                    self.space.write(loc, data)
                    out += self._linear(Lin(loc), shape)
            elif isinstance(term, Lin):
                out += self._linear(term, shape)
            else:
                assert isinstance(term, Prod)
                out += self._product(term, shape)
        cut = [piece for product in out for piece in product.split(COUNT, REACH)]
        return sorted(cut, key=lambda p: -p.level)

    def _digits(self, value: int) -> list[tuple[int, int]]:
        """(digit, level) of a number that is not negative; none of zero."""
        out, level, base = [], 0, self.config.digit
        while value:
            if value & (1 << base) - 1:
                out.append((value & (1 << base) - 1, level))
            value, level = value >> base, level + 1
        return out

    def _constant(self, value: int, shape: tuple[int, ...]) -> list[Product]:
        one = self._one(shape)
        digits = self._digits(abs(value)) or [(0, 0)]
        return [
            Product(np.full(shape, self.space.constant((d,))), one[1], *one, level, value < 0, reach=d)
            for d, level in digits
        ]

    def _linear(self, term: Lin, shape: tuple[int, ...]) -> list[Product]:
        out = []
        for part in range(term.a.parts):
            a = term.a.part(part)
            for digit, level in self._digits(abs(term.coef)):
                b = np.full(a.addr.shape, self.space.constant((digit,)))
                reach = digit << self.config.word - 1
                made = Product(a.addr, a.reg, b, np.zeros_like(b), part + level, term.coef < 0, term.reduced, reach)
                out.append(made.shaped(shape))
        return out

    def _product(self, term: Prod, shape: tuple[int, ...]) -> list[Product]:
        a, b = term.a, term.b
        if abs(term.coef) != 1:
            # the one that stays narrower; of equals the one stored earlier, which is sooner there
            spans = [sorted(v * abs(term.coef) for v in loc.bounds) for loc in (a, b)]
            parts = [self.config.planes(signed_width((s[0], s[1]))) for s in spans]
            if (parts[1] + a.parts, int(b.addr.min())) < (parts[0] + b.parts, int(a.addr.min())):
                a, b = b, a
            lo, hi = sorted(v * abs(term.coef) for v in a.bounds)
            a = self.store(Form((Lin(a, abs(term.coef)),), a.addr.shape, (lo, hi)), name="a multiple")
        out = []
        for p in range(a.parts):
            for q in range(b.parts):
                x, y, reach = a.part(p), b.part(q), 1 << 2 * self.config.word - 2
                made = Product(x.addr, x.reg, y.addr, y.reg, p + q, term.coef < 0, term.reduced, reach)
                out.append(made.shaped(shape))
        return out
