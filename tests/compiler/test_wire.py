"""The wire format: documented by hand-made bytes, and its own inverse."""

from __future__ import annotations

import numpy as np
import pytest
from neuroloom.compiler import wire
from neuroloom.compiler.errors import InputError
from neuroloom.compiler.ir import BIT, Builder, Type


def two_inputs():
    b = Builder("wire")
    x = b.input("x", Type(8), (3,), bounds=(0, 16))  # 5 bits each
    y = b.input("y", Type(8, signed=True), (2,), bounds=(-3, 2))  # 3 bits each
    z = b.input("z", BIT, ())
    b.output("sum", b.node("sum", [x], axes=(0,)))  # 0..48: 6 bits
    b.output("y", y)
    b.output("z", z)
    return b.finish()


def test_bytes_of_a_sample_by_hand():
    graph = two_inputs()
    packed = wire.pack_samples(graph, {"x": np.array([[16, 1, 3]]), "y": np.array([[-3, 2]]), "z": np.array([1])})
    # bits from the least significant: 16 = 00001, 1 = 10000, 3 = 11000, -3 = 101, 2 = 010, 1
    bits = "00001" + "10000" + "11000" + "101" + "010" + "1"
    want = [int(bits[i : i + 8][::-1], 2) for i in range(0, len(bits), 8)]
    assert packed.dtype == np.uint8 and packed.tolist() == [want]


def test_fields_and_sizes():
    graph = two_inputs()
    assert [(f.name, str(f.type), f.offset, f.bits) for f in wire.sample_fields(graph)] == [
        ("x", "u5", 0, 15),
        ("y", "s3", 15, 6),
        ("z", "bit", 21, 1),
    ]
    assert wire.total_bytes(wire.sample_fields(graph)) == 3
    assert [(f.name, str(f.type)) for f in wire.answer_fields(graph)] == [("sum", "u6"), ("y", "s3"), ("z", "bit")]


def test_round_trip():
    graph, rng = two_inputs(), np.random.default_rng(0)
    arrays = {"sum": rng.integers(0, 49, (99,)), "y": rng.integers(-3, 3, (99, 2)), "z": rng.integers(0, 2, 99)}
    fields = wire.answer_fields(graph)
    for name, back in wire.unpack_answers(graph, wire.pack(fields, arrays)).items():
        assert back.dtype == np.int64
        np.testing.assert_array_equal(back, arrays[name])


def test_what_does_not_fit_is_refused():
    graph = two_inputs()
    good = {"x": np.zeros((1, 3), int), "y": np.zeros((1, 2), int), "z": np.zeros(1, int)}
    with pytest.raises(InputError, match="'x' must be in 0..31 to travel as u5"):
        wire.pack_samples(graph, {**good, "x": np.array([[0, 32, 0]])})
    with pytest.raises(InputError, match="'y' must have the shape"):
        wire.pack_samples(graph, {**good, "y": np.zeros((1, 3), int)})
    with pytest.raises(InputError, match="same number of samples"):
        wire.pack_samples(graph, {**good, "z": np.zeros(2, int)})
    with pytest.raises(InputError, match=r"packed data must be bytes \[samples, 2\]"):
        wire.unpack_answers(graph, np.zeros((1, 3), np.uint8))
