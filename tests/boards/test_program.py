"""Programming over the cable: the command of the board file, and what its failure says."""

from __future__ import annotations

import stat
import sys
from pathlib import Path

import pytest
from neuroloom.boards import toolchain
from neuroloom.boards.program import program
from neuroloom.boards.registry import all_boards, load_board
from neuroloom.compiler.errors import DeviceError, InputError


@pytest.fixture
def loader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "loader"
    path.write_text(f"#!{sys.executable}\nimport sys\nprint(*sys.argv[1:])\nsys.exit('bad' in sys.argv[-1])\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("OPENFPGALOADER", str(path))
    return path


def test_command_of_the_board_file_runs_with_the_absolute_path(loader: Path, tmp_path: Path) -> None:
    image = tmp_path / "image.bin"
    image.write_bytes(b"x")
    assert program(load_board("tang_nano_9k"), image) == f"-b tangnano9k -f {image}\n"


def test_refusing_board_is_a_device_error(loader: Path, tmp_path: Path) -> None:
    image = tmp_path / "bad.bin"
    image.write_bytes(b"x")
    with pytest.raises(DeviceError, match=r"openFPGALoader could not write bad\.bin to ulx3s_85f: .*check the cable"):
        program(load_board("ulx3s_85f"), image)


def test_absent_image_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Bitstream must be a file"):
        program(load_board("icebreaker"), tmp_path / "absent.bin")


def test_loader_knows_every_board(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toolchain, "_check_libraries", lambda *_: None)  # the file is read, not run
    toolchain._find.cache_clear()
    program_text = toolchain.find("openFPGALoader").path.read_bytes()
    toolchain._find.cache_clear()
    for board in all_boards():
        command = board.flash.command
        name = command[command.index("-b") + 1]
        assert b"\0" + name.encode() + b"\0" in program_text, board.name
