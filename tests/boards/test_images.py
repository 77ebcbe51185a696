"""What runs an image that stands in a flash: found by its very bytes, or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from neuroloom.boards.ice40.bitstream import SEARCH_BYTES, parse
from neuroloom.boards.images import designs_of, image_size
from neuroloom.boards.registry import load_board
from neuroloom.compiler.errors import InputError

BLANK = b"\xff" * 4096


def test_an_image_is_found_by_its_bytes(small_build: tuple[Any, list[str], Path]) -> None:
    board, image = load_board("icebreaker"), small_build[0].bitstream.read_bytes()
    rtl, netlist = designs_of(board, "rtl"), designs_of(board, "netlist")
    design = rtl(image + BLANK)
    assert (design.top, design.clock_hz, design.baud) == ("board", 24_000_000, 3_000_000)
    assert set(design.files) == {"top.v", "invert.v", "cells.v", "board.v"} and "top chip (" in design.files["board.v"]
    cells = netlist(image + BLANK)
    assert set(cells.files) == {"netlist.v", "models.v", "cells.v", "board.v"}
    assert "module SB_LUT4" in cells.files["models.v"] and "module SB_PLL40_PAD" not in cells.files["models.v"]
    assert image_size(image) <= len(image)
    changed = bytearray(image)
    changed[-1] ^= 1  # behind the wake-up command: the same image for the device, and not the file that was built
    with pytest.raises(InputError, match=r"is not in the cache of builds; use --fidelity bitstream"):
        rtl(bytes(changed) + BLANK)
    with pytest.raises(InputError, match="is not in the cache of builds"):
        designs_of(load_board("ice40_hx8k_evn"), "rtl")(image + BLANK)
    with pytest.raises(InputError, match="fidelity must be one of rtl, netlist, bitstream, not 'spice'"):
        designs_of(board, "spice")


def test_a_blank_slot_is_not_a_later_image(small_build: tuple[Any, list[str], Path]) -> None:
    image = small_build[0].bitstream.read_bytes()
    assert parse(b"\xff" * 700 + image).device == "5k"
    with pytest.raises(InputError, match=f"must contain the preamble 7E AA 99 7E in its first {SEARCH_BYTES} bytes"):
        parse(BLANK + image)
    with pytest.raises(InputError, match="must not end inside a command"):
        designs_of(load_board("icebreaker"), "rtl")(image[:50_000])
