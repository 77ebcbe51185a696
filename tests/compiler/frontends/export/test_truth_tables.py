"""Truth tables from weights: every gate by name, every address order, and rounding."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from neuroloom.compiler.errors import UnsupportedError
from neuroloom.compiler.frontends.export.truth_tables import (
    gate_tables,
    light_tables,
    raw_tables,
    reverse_addresses,
    warp_tables,
)

GATES = [
    lambda a, b: 0,
    lambda a, b: a & b,
    lambda a, b: a & ~b,
    lambda a, b: a,
    lambda a, b: ~a & b,
    lambda a, b: b,
    lambda a, b: a ^ b,
    lambda a, b: a | b,
    lambda a, b: ~(a | b),
    lambda a, b: ~(a ^ b),
    lambda a, b: ~b,
    lambda a, b: a | ~b,
    lambda a, b: ~a,
    lambda a, b: ~a | b,
    lambda a, b: ~(a & b),
    lambda a, b: 1,
]


@pytest.mark.parametrize("number", range(16))
def test_each_gate_by_number(number):
    table = gate_tables(np.array([number]))[0]
    for a, b in product((0, 1), repeat=2):
        assert table[a + 2 * b] == GATES[number](a, b) & 1


def test_the_first_of_equal_scores_wins():
    weight = np.zeros((1, 16), np.float32)
    weight[0, [6, 9]] = 1
    np.testing.assert_array_equal(raw_tables(weight, 2, "layer"), gate_tables(np.array([6])))


@pytest.mark.parametrize("rank", range(1, 7))
def test_reversing_addresses_twice_changes_nothing(rank):
    tables = np.random.default_rng(rank).integers(0, 2, (3, 1 << rank))
    swapped = reverse_addresses(tables)
    for bits in product((0, 1), repeat=rank):
        first_least = sum(bit << slot for slot, bit in enumerate(bits))
        first_most = sum(bit << (rank - 1 - slot) for slot, bit in enumerate(bits))
        np.testing.assert_array_equal(swapped[:, first_least], tables[:, first_most])
    np.testing.assert_array_equal(reverse_addresses(swapped), tables)


@pytest.mark.parametrize("rank", [1, 2, 4, 6])
def test_light_and_warp_agree_on_the_same_function(rank):
    """The Walsh-Hadamard coefficients of a table give that table back."""
    table = np.random.default_rng(rank).integers(0, 2, (20, 1 << rank))
    address = np.arange(1 << rank)
    signs = np.array([[1 - 2 * (int(i & j).bit_count() & 1) for j in address] for i in address])
    coefficients = ((1 - 2 * table) @ signs / (1 << rank)).astype(np.float32)
    want = light_tables(table.astype(np.float32) - 0.5, rank, "layer")
    np.testing.assert_array_equal(warp_tables(coefficients, rank, "layer"), want)
    np.testing.assert_array_equal(want, reverse_addresses(table.astype(bool)))


def test_warp_adds_in_float32_and_in_order():
    """1 + 2**-25 - 1 is 0 in float32, so the entry is 0, where exact arithmetic would say 1 at some addresses."""
    weight = np.array([[1, -(2.0**-25), -1, 0]], np.float32)
    total = np.float32(1) + np.float32(-(2.0**-25)) - np.float32(1)
    assert total == 0
    assert not warp_tables(weight, 2, "layer")[0, 0]


def test_an_open_order_of_addition_is_refused_where_it_decides():
    weight = np.array([[1, -(2.0**-25), -1, 0]], np.float32)
    with pytest.raises(UnsupportedError, match="layer: . table entries depend on the order .*materialize_basis=False"):
        warp_tables(weight, 2, "layer", ordered=False)
    clear = np.array([[0.1, 0.5, -0.3, 0.2]], np.float32)
    np.testing.assert_array_equal(warp_tables(clear, 2, "layer", ordered=False), warp_tables(clear, 2, "layer"))


@pytest.mark.parametrize(("reader", "entries"), [(raw_tables, 16), (light_tables, 8), (warp_tables, 8)])
def test_weights_of_the_wrong_size_are_refused(reader, entries):
    with pytest.raises(UnsupportedError, match="layer: "):
        reader(np.zeros((2, entries), np.float32), 4, "layer")
