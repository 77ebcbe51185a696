"""Deep memories are cut so that one block of memory holds each slice whole."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from neuroloom.boards.registry import load_board
from neuroloom.compiler.errors import InputError
from neuroloom.host.gated.flow import engine_verilog
from neuroloom.rtl.gated.slices import SHAPES, WHOLE_DEPTH, slices

BLOCKS = 208
"""Blocks of memory of an ECP5-85F; the link takes three of them."""

SHAPE = re.compile(
    r"neuroloom_ram(?:_pair)? #\(\s*\.ADDR\([^)]*\),\s*\.DEPTH\(32'd(\d+)\),\s*\.WIDTH\(32'd(\d+)\)\s*\)", re.MULTILINE
)


@pytest.mark.parametrize(
    ("depth", "width", "widths"),
    [
        (16384, 3, [1, 1, 1]),
        (16383, 2, [1, 1]),
        (8192, 18, [2] * 9),
        (8192, 5, [2, 2, 1]),
        (4096, 18, [4, 4, 4, 4, 2]),
        (2049, 16, [4] * 4),
        (2048, 18, [9, 9]),
        (2048, 16, [9, 7]),
        (2048, 7, [7]),
        (1024, 36, [36]),  # no banks in either case
        (16, 100, [100]),
        (16385, 18, [18]),  # deeper than a block can be: banks there must be
    ],
)
def test_slices_are_as_narrow_as_the_depth_asks(depth: int, width: int, widths: list[int]) -> None:
    found = list(slices(depth, width))
    assert [part.stop - part.start for part in found] == widths
    assert [bit for part in found for bit in range(part.start, part.stop)] == list(range(width))


@pytest.mark.parametrize("profile", ["lanes16", "lanes128", "delta16"])
def test_no_memory_of_a_sliced_engine_has_banks(profile: str) -> None:
    config = next(c for c in load_board("ulx3s_85f").gated if c.profile == profile)
    text = engine_verilog(config)
    shapes = [(int(depth), int(width)) for depth, width in SHAPE.findall(text)]
    assert len(shapes) == len(re.findall(r"^  neuroloom_ram(?:_pair)? #\(", text, re.MULTILINE)) > 100
    blocks = 0
    for depth, width in shapes:
        if depth <= WHOLE_DEPTH:
            blocks += -(-width // (36 if depth <= 512 else 18))
            continue
        assert any(depth <= words and width <= bits for words, bits in SHAPES), (depth, width)
        blocks += 1
    assert blocks <= BLOCKS - 3


def test_engines_without_slices_are_what_they_were() -> None:
    """A device tells its engine by a hash of the configuration; whole memories are what the hash says nothing of."""
    whole = replace(next(c for c in load_board("ulx3s_85f").gated if c.profile == "lanes16"), sliced=False)
    cut = replace(whole, sliced=True)
    assert b"sliced" not in whole.to_bytes() and cut.hash() != whole.hash()
    assert cut.to_bytes() == whole.to_bytes() + b";sliced=True"
    with pytest.raises(InputError, match="sliced must be left out where deep is"):
        replace(whole, deep=False, sliced=True)
