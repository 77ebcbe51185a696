"""A packed bitstream on a serial port, and files that are no bitstream of the board."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import serial
from neuroloom.boards.emulate import emulate_bitstream, emulate_netlist
from neuroloom.boards.images import designs_of, emulate_image
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


@pytest.mark.campaign
@pytest.mark.parametrize("name", ["icebreaker", "tang_nano_9k", "ulx3s_85f"])
def test_the_cells_answer_on_the_port(
    inverting: Callable[[], Any], identity: Identity, frames: Any, name: str, require_tool: Callable[[str], None]
) -> None:
    """What synthesis makes of the same RTL, with Verilog of the engine's own in it; every family's cells, its block RAM too."""
    require_tool("verilator")
    said: list[str] = []
    target = load_board(name)
    with emulate_netlist(inverting, identity, target, seed=3, progress=said.append) as board:
        with serial.Serial(board.port, target.speed().baud, timeout=30) as port:
            assert frames.ask(port, frames.SYNC, 1, payload=b"nonce") == (0x81, 1, 0, b"nonce")
            payload = bytes(range(224)) * 2
            assert frames.ask(port, frames.RUN, 2, 448, payload) == (
                0x90,
                2,
                0,
                bytes(255 - value for value in payload),
            )
            # the march over the response buffers finds every cell of their block RAM
            assert frames.ask(port, 0x05, 3, 0x55)[3][5] == 0
    said.clear()
    emulate_netlist(inverting, identity, target, progress=said.append)
    assert "synthesising" not in said


def test_an_image_runs_at_every_fidelity(
    small_build: tuple[Any, list[str], Path], frames: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The RTL and the cells of a bitstream are found in the cache of builds, by its bytes."""
    image, board = small_build[0].bitstream, load_board("icebreaker")
    for fidelity in ("rtl", "netlist"):
        design = designs_of(board, fidelity)(image.read_bytes())
        assert ("netlist.v" in design.files) == (fidelity == "netlist") and design.clock_hz == 24_000_000
    with emulate_image(image, board, "rtl") as virtual:
        with serial.Serial(virtual.port, 3_000_000, timeout=30) as port:
            assert frames.ask(port, frames.SYNC, 1, payload=b"x") == (0x81, 1, 0, b"x")
    monkeypatch.setenv("NEUROLOOM_CACHE", str(tmp_path))
    with pytest.raises(InputError, match=r"must be one that was built on this machine .* use --fidelity bitstream"):
        emulate_image(image, board, "rtl")
    with pytest.raises(InputError, match="fidelity must be one of rtl, netlist, bitstream, not 'dream'"):
        emulate_image(image, board, "dream")


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
    with pytest.raises(
        UnsupportedError, match=r"not for ulx3s_85f \(ecp5\); emulate the model instead, with --fidelity netlist"
    ):
        emulate_bitstream(Path("x.bit"), load_board("ulx3s_85f"))


def test_a_file_that_is_none_of_gowin_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.fs").write_bytes(b"hello\n")
    with pytest.raises(InputError, match="must be whole bytes of zeros and ones"):
        emulate_image(tmp_path / "x.fs", load_board("tang_nano_9k"), "bitstream")
    with pytest.raises(InputError, match=r"must be one that was built on this machine .* use --fidelity bitstream"):
        emulate_image(tmp_path / "x.fs", load_board("tang_nano_9k"), "rtl")


def test_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Bitstream must be a file, not .*absent.bin'; build one first"):
        emulate_bitstream(tmp_path / "absent.bin", load_board("icebreaker"))
