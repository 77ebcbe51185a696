"""Write a bitstream to a board's flash over its programming cable (openFPGALoader)."""

from __future__ import annotations

import argparse
from pathlib import Path

from neuroloom.boards.program import program
from neuroloom.boards.registry import load_board
from neuroloom.compiler.errors import InputError

from .ui import Ui


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's options."""
    parser.add_argument("bitstream", metavar="X.bin")
    parser.add_argument("--board", metavar="B", required=True)
    parser.add_argument("--via", choices=("openfpgaloader",), default="openfpgaloader", help="the programming tool")


def run(args: argparse.Namespace, ui: Ui) -> int:
    """Program and report."""
    board = load_board(args.board)
    path = Path(args.bitstream)
    if not path.is_file():
        raise InputError(f"{path} does not exist; build it with: neuroloom build M.nloom --board {board.name}")
    if path.stat().st_size > board.flash.size_bytes:
        raise InputError(
            f"{path} has {path.stat().st_size:,} bytes; the flash of {board.name} holds {board.flash.size_bytes:,}"
        )
    with ui.status(f"programming {board.title}"):
        program(board, path)
    ui.say(f"{path} is in the flash of {board.name}; press reset or power-cycle the board")
    ui.result({"board": board.name, "bitstream": str(path)})
    return 0
