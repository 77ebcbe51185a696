"""The first image of a board, over its programming cable."""

from __future__ import annotations

from pathlib import Path

from neuroloom.boards import toolchain
from neuroloom.boards.board import Board
from neuroloom.boards.image_formats import format_of
from neuroloom.boards.image_record import check_image
from neuroloom.compiler.errors import DeviceError, InputError

PROGRAM_TIMEOUT_S = 300


def cable_command(board: Board, bitstream: Path) -> list[str]:
    """The command that writes ``bitstream`` to the beginning of the board's flash."""
    return [word.replace("{bitstream}", str(bitstream.resolve())) for word in board.flash.command]


def check_for_cable(board: Board, bitstream: Path) -> None:
    """Check what can be checked of an image before it is written over everything at the flash's beginning.

    Raises InputError for an absent or empty file, one larger than the flash, and of boards with slots for a truncated image,
    another chip's or board's, and one that belongs into a slot.
    """
    if not bitstream.is_file():
        raise InputError(f"{bitstream} does not exist; build it with: neuroloom build M.nloom --board {board.name}")
    data = bitstream.read_bytes()
    if not 0 < len(data) <= board.flash.size_bytes:
        raise InputError(
            f"{bitstream} has {len(data):,} bytes; the flash of {board.name} holds {board.flash.size_bytes:,}"
        )
    if board.flash.layout is None:
        return
    record = check_image(data[format_of(board).inside(data) :], board.device, board.name)
    if record is not None and record.boot not in ("none", "golden"):
        raise InputError(
            f"{bitstream} must go into a slot beside golden, because it was built with --boot {record.boot}: write it with "
            "neuroloom flash X.bin --port P, or build it without --boot"
        )


def program(board: Board, bitstream: Path, *, timeout_s: float = PROGRAM_TIMEOUT_S) -> str:
    """Write ``bitstream`` to the board's flash with the command of its board file; returns the tool's output.

    Raises InputError for an absent file, MissingToolError, and DeviceError when the board does not take it.
    """
    if not bitstream.is_file():
        raise InputError(f"Bitstream must be a file, not {str(bitstream)!r}; build one first")
    name, *arguments = cable_command(board, bitstream)
    done = toolchain.run(name, arguments, cwd=bitstream.resolve().parent, timeout=timeout_s, check=False)
    if done.returncode != 0:
        raise DeviceError(
            f"{name} could not write {bitstream.name} to {board.name}: {toolchain.last_lines(done.output)}; "
            "check the cable and the permission to use it"
        )
    return done.output
