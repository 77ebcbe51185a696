"""What users may hand in, and the sentences they get when it does not fit."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from neuroloom.compiler.errors import InputError
from neuroloom.compiler.ir import Affine, Builder, Graph, Type
from neuroloom.sim.inputs import check, prepare


def graph(shape: tuple[int, ...] = (4,), **options) -> Graph:
    b = Builder("g")
    b.output("y", b.input("image", Type(5), shape, bounds=(0, 16), **options))
    return b.finish()


@pytest.mark.parametrize(
    ("array", "sentence"),
    [
        (np.zeros((0, 4), np.uint8), "input 'image' must hold at least one sample, not none"),
        (np.zeros((2, 5), np.uint8), r"input 'image' must have the shape (samples, 4), not (2, 5)"),
        (np.zeros(4, np.uint8), r"input 'image' must have the shape (samples, 4), not (4,)"),
        (np.array([[0, 1, 17, 3]]), "input 'image' must be in 0..16, not 17 (at [0, 2])"),
        (np.array([[0, -1, 1, 3]]), "input 'image' must be in 0..16, not -1 (at [0, 1])"),
        (np.array([["a"] * 4]), "input 'image' must be an array of integers or reals, not of <U1"),
        (np.array([[1, 2, 3, 4j]]), "input 'image' must be an array of integers or reals, not of complex128"),
        (np.array([[0, 0, 0, 0], [0, np.nan, 0, 0]]), "input 'image' must not contain NaN; sample 1 does"),
        ({"picture": np.zeros((1, 4), np.uint8)}, "inputs must be image, not picture"),
    ],
)
def test_refusals(array, sentence: str) -> None:
    with pytest.raises(InputError) as e:
        check(graph(), array)
    assert str(e.value) == sentence


def test_integers_keep_their_memory() -> None:
    x = np.full((3, 4), 16, np.uint8)
    assert check(graph(), x)["image"].dtype == np.uint8
    assert prepare(graph(), x)["image"].dtype == np.int64


def test_images_and_rows_fit_either_way() -> None:
    assert check(graph((4,)), np.zeros((3, 2, 2), np.uint8))["image"].shape == (3, 4)
    assert check(graph((2, 2)), np.zeros((3, 4), np.uint8))["image"].shape == (3, 2, 2)


def test_reals_are_quantised_by_the_inputs_rule() -> None:
    rule = Affine.of(Fraction(1, 16))
    x = np.array([[0.0, 1.0, 0.5 / 16, 1.5 / 16], [9.0, -9.0, np.inf, -np.inf]])
    assert prepare(graph(affine=rule), x)["image"].tolist() == [[0, 16, 0, 2], [16, 0, 16, 0]]


def test_inputs_must_agree_in_samples() -> None:
    b = Builder("two")
    x, y = b.input("x", Type(4), (1,)), b.input("y", Type(4), (1,))
    b.output("z", b.node("add", [x, y]))
    g = b.finish()
    with pytest.raises(InputError, match=r"same number of samples \(and steps\), not x: \[2\], y: \[3\]"):
        check(g, {"x": np.zeros((2, 1), int), "y": np.zeros((3, 1), int)})
    with pytest.raises(InputError, match="given by name, because the graph has 2: x, y"):
        check(g, np.zeros((2, 1), int))
