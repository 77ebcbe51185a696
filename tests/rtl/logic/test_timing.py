"""The default register interval follows clock and device."""

from __future__ import annotations

import pytest
from neuroloom.boards.registry import all_boards
from neuroloom.compiler.errors import InputError
from neuroloom.rtl.logic.timing import LEVEL_NS, default_interval


def test_faster_clocks_get_more_registers():
    intervals = [default_interval("up5k", mhz * 1_000_000) for mhz in (1, 12, 24, 48, 500)]
    assert intervals == sorted(intervals, reverse=True) and intervals[0] == 12 and intervals[-1] == 1
    assert default_interval("up5k", 24_000_000) == 4


def test_every_board_has_its_own_figure():
    for board in all_boards():
        assert any(board.device.lower().startswith(name.lower()) for name in LEVEL_NS), board.name


def test_a_stopped_clock_is_refused():
    with pytest.raises(InputError, match="clock must be above 0 Hz"):
        default_interval("up5k", 0)
