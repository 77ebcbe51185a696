"""Tables of functions: every entry correctly rounded, against mpmath-free facts and against the intervals themselves."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from neuroloom.compiler.ir import Type
from neuroloom.compiler.real.functions import FUNCTIONS, entry, tabulate
from neuroloom.compiler.real.interval import Interval, Undecided, pi

PARAMETERS = {
    "silu": (1,),
    "leaky_relu": (Fraction(1, 100),),
    "thresholded_relu": (1,),
    "elu": (Fraction(3, 2),),
    "selu": (Fraction(167, 100), Fraction(105, 100)),
    "celu": (Fraction(1, 2),),
    "scaled_tanh": (2, Fraction(3, 2)),
    "hard_sigmoid": (Fraction(1, 5), Fraction(1, 2)),
}


def parameters(name: str) -> tuple[Fraction, ...]:
    return tuple(Fraction(p) for p in PARAMETERS.get(name, ()))


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
@pytest.mark.parametrize("out", [Type(16, True, 12), Type(8, True, -2), Type(12, False, 11)], ids=str)
def test_tables_are_what_intervals_prove(name: str, out: Type) -> None:
    lo = -90 if FUNCTIONS[name].least is None else 0
    table = tabulate(name, parameters(name), (lo, 90), 4, out)
    assert table.tolist() == [entry(name, parameters(name), Fraction(q, 16), out) for q in range(lo, 91)]
    assert out.lo <= table.min() and table.max() <= out.hi


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_float64_and_intervals_mean_the_same_function(name: str) -> None:
    """To 30 bits, where float64's own errors do not show."""
    out = Type(40, True, 30)
    xs = [Fraction(q, 7) for q in (1, 3, 8, 13)] + (
        [Fraction(q, 7) for q in (-13, -4, -1)] if FUNCTIONS[name].least is None else []
    )
    for x in xs:
        real = float(FUNCTIONS[name].real(np.array(float(x)), *map(float, parameters(name))))
        assert abs(entry(name, parameters(name), x, out) - real * 2**30) < 8, x


def test_known_digits() -> None:
    """Constants from tables of mathematical functions, 15 digits."""
    known = {
        ("exp", 1): "2.718281828459045",
        ("tanh", Fraction(1, 2)): "0.462117157260010",
        ("sigmoid", 2): "0.880797077977882",
        ("erf", Fraction(1, 2)): "0.520499877813047",
        ("log", 10): "2.302585092994046",
        ("gelu", 1): "0.841344746068543",
        ("softplus", 0): "0.693147180559945",
    }
    for (name, x), digits in known.items():
        got = entry(name, (), Fraction(x), Type(63, True, 52))
        assert abs(Fraction(got, 2**52) - Fraction(digits)) < Fraction(2, 10**15), name
    assert str(pi(80).lo * 10**15 >> 80).startswith("3141592653589793")


def test_ties_go_to_even_and_jumps_are_exact() -> None:
    half = Type(4, True, 0)
    assert tabulate("hard_sigmoid", (Fraction(1, 2), Fraction(0)), (1, 3), 1, Type(4, True, 1)).tolist() == [0, 1, 2]
    # x = 1/2, 1, 3/2: x/2 = 1/4, 1/2, 3/4; twice that is 1/2, 1, 3/2: ties go to 0 and to 2
    assert tabulate("round", (), (-3, 3), 1, half).tolist() == [-2, -1, 0, 0, 0, 1, 2]
    assert tabulate("sign", (), (-1, 1), 0, half).tolist() == [-1, 0, 1]
    assert tabulate("sigmoid", (), (0, 0), 3, Type(1)).tolist() == [0]  # 1/2 to integers: a tie, to even
    assert tabulate("log", (), (0, 1), 0, Type(4, True)).tolist() == [-8, 0]  # the limit at 0 saturates


def test_intervals_hold_the_truth_and_narrow() -> None:
    third = Interval.of(Fraction(1, 3), 20)
    assert third.hi - third.lo == 1
    assert (third * 3 - 1).lo <= 0 <= (third * 3 - 1).hi
    with pytest.raises(Undecided):
        Interval(-1, 1, 10).sign()
    with pytest.raises(Undecided):
        Interval((1 << 9) - 1, (1 << 9) + 1, 10).rounded()
