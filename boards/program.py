"""The first image of a board, over its programming cable."""

from __future__ import annotations

from pathlib import Path

from neuroloom.boards import toolchain
from neuroloom.boards.board import Board
from neuroloom.compiler.errors import DeviceError, InputError

PROGRAM_TIMEOUT_S = 300


def program(board: Board, bitstream: Path, *, timeout_s: float = PROGRAM_TIMEOUT_S) -> str:
    """Write ``bitstream`` to the board's flash with the command of its board file; returns the tool's output.

    Raises InputError for an absent file, MissingToolError, and DeviceError when the board does not take it.
    """
    if not bitstream.is_file():
        raise InputError(f"Bitstream must be a file, not {str(bitstream)!r}; build one first")
    name, *words = board.flash.command
    arguments = [word.replace("{bitstream}", str(bitstream.resolve())) for word in words]
    done = toolchain.run(name, arguments, cwd=bitstream.resolve().parent, timeout=timeout_s, check=False)
    if done.returncode != 0:
        raise DeviceError(
            f"{name} could not write {bitstream.name} to {board.name}: {toolchain.last_lines(done.output)}; "
            "check the cable and the permission to use it"
        )
    return done.output
