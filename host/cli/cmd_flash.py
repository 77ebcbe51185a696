"""Write a bitstream to a board's flash over its programming cable (openFPGALoader)."""

from __future__ import annotations

import argparse
from pathlib import Path

from neuroloom.boards import toolchain
from neuroloom.boards.registry import load_board
from neuroloom.compiler.errors import DeviceError, InputError

from .ui import Ui

TIMEOUT_S = 300.0


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
    tool = toolchain.find("openFPGALoader")
    _, *words = board.flash.command
    with ui.status(f"programming {board.title}"):
        done = toolchain.run(
            tool,
            [w.replace("{bitstream}", str(path.resolve())) for w in words],
            cwd=path.resolve().parent,
            timeout=TIMEOUT_S,
            check=False,
        )
    if done.returncode:
        raise DeviceError(
            f"openFPGALoader could not program {board.name}: {toolchain.last_lines(done.output)}; "
            "check the cable, the power, and the permission to use USB"
        )
    ui.say(f"{path} is in the flash of {board.name}; press reset or power-cycle the board")
    ui.result({"board": board.name, "bitstream": str(path), "seconds": done.seconds})
    return 0
