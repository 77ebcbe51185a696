"""A packed bitstream on a serial port, and files that are no bitstream of the board."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import serial
from neuroloom.boards.emulate import emulate_bitstream
from neuroloom.boards.registry import load_board
from neuroloom.compiler.errors import InputError, UnsupportedError
from neuroloom.rtl.link.protocol import Identity


def test_the_packed_bitstream_answers_on_the_port(
    small_build: tuple[Any, list[str], Path], frames: Any, require_tool: Callable[[str], None]
) -> None:
    require_tool("icebox")
    with emulate_bitstream(small_build[0].bitstream, load_board("icebreaker"), seed=7) as board:
        with serial.Serial(board.port, 3_000_000, timeout=30) as port:
            assert frames.ask(port, frames.SYNC, 1, payload=b"nonce") == (0x81, 1, 0, b"nonce")
            answer = Identity.from_bytes(frames.ask(port, frames.IDENTIFY, 2)[3])
            assert (answer.board, answer.clock_hz) == ("icebreaker", 24_000_000)
            payload = bytes(range(256))
            inverted = bytes(255 - value for value in payload)
            assert frames.ask(port, frames.RUN, 3, 256, payload) == (0x90, 3, 0, inverted)
        assert board.statistics().framing_errors == 0


def test_bitstream_of_another_board_is_refused(
    small_build: tuple[Any, list[str], Path], require_tool: Callable[[str], None], tmp_path: Path
) -> None:
    require_tool("icebox")
    with pytest.raises(InputError):
        emulate_bitstream(small_build[0].bitstream, load_board("ice40_hx8k_evn"))
    broken = tmp_path / "broken.bin"
    broken.write_bytes(small_build[0].bitstream.read_bytes()[:5000])
    with pytest.raises(InputError):
        emulate_bitstream(broken, load_board("icebreaker"))


def test_families_that_cannot_be_read_back_are_named() -> None:
    with pytest.raises(UnsupportedError, match=r"not for ulx3s_85f \(ecp5\); emulate the model instead"):
        emulate_bitstream(Path("x.bit"), load_board("ulx3s_85f"))


def test_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Bitstream must be a file, not .*absent.bin'; build one first"):
        emulate_bitstream(tmp_path / "absent.bin", load_board("icebreaker"))
