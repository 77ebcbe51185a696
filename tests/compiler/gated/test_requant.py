"""A multiplier, a constant and a shift give exactly what requantize's definition says, for every value in range."""

from __future__ import annotations

import random
from fractions import Fraction

import pytest
from neuroloom.compiler.errors import UnsupportedError
from neuroloom.compiler.gated.isa import Rounding
from neuroloom.compiler.gated.requant import ROUNDINGS, scaling
from neuroloom.compiler.ir.ops.arith import round_fraction

NAMES = {code: name for name, code in ROUNDINGS.items()}


def exact(factor: Fraction, rounding: str, bounds: tuple[int, int]) -> bool:
    found = scaling(factor, rounding, bounds, "here")
    return all(
        round_fraction(q * factor, rounding)
        == round_fraction(Fraction(q * found.multiplier + found.constant, 1 << found.shift), NAMES[found.rounding])
        for q in range(bounds[0], bounds[1] + 1)
    )


def test_random_factors_are_exact() -> None:
    rng, done = random.Random(7), 0
    while done < 300:
        factor = Fraction(rng.randint(1, 1 << rng.randint(1, 26)), rng.randint(1, 1 << rng.randint(1, 26)))
        lo = rng.randint(-400, 50)
        try:
            assert exact(factor, rng.choice(list(ROUNDINGS)), (lo, lo + rng.randint(0, 500)))
            done += 1
        except UnsupportedError:
            continue


@pytest.mark.parametrize("rounding", list(ROUNDINGS))
def test_a_power_of_two_is_a_shift(rounding: str) -> None:
    found = scaling(Fraction(3, 256), rounding, (-(1 << 40), 1 << 40), "here")
    assert (found.multiplier, found.constant, found.shift) == (3, 0, 8)


def test_a_float32_scale_on_a_wide_sum() -> None:
    """The factor of a quantised layer: the product of two float32 scales over a third; checked around every rounding step."""
    scale = [Fraction(f) for f in (0.0123456789, 0.00390625123, 0.0456789)]
    factor = (scale[0] * scale[1] / scale[2]).limit_denominator(1 << 48)
    bounds = -(1 << 22), (1 << 22) - 1
    found = scaling(factor, "half_even", bounds, "here")
    assert found.rounding == Rounding.FLOOR
    rng = random.Random(3)
    steps = [int((Fraction(k) + Fraction(1, 2)) / factor) + d for k in range(-4000, 4000, 7) for d in (-1, 0, 1, 2)]
    for q in [*(rng.randint(*bounds) for _ in range(2000)), *(s for s in steps if bounds[0] <= s <= bounds[1])]:
        assert round(q * factor) == (q * found.multiplier + found.constant) >> found.shift


def test_ties_of_half_even_are_refused_by_name() -> None:
    with pytest.raises(UnsupportedError, match=r"here: half_even with the factor 1/6 meets ties, .* choose half_up"):
        scaling(Fraction(1, 6), "half_even", (-10, 10), "here")
    assert exact(Fraction(1, 6), "half_even", (-2, 2))  # no tie in range
