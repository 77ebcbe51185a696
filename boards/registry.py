"""The boards that exist: one YAML file each, next to this module."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from neuroloom.boards.board import Board, load_board_file
from neuroloom.compiler.errors import InputError

_FOLDER = Path(__file__).parent


@lru_cache(maxsize=1)
def all_boards() -> tuple[Board, ...]:
    """Every board, smallest first within bitstream boards, then the vendor-project ones."""
    boards = [load_board_file(path) for path in sorted(_FOLDER.glob("*.yaml"))]
    return tuple(sorted(boards, key=lambda board: (board.support != "bitstream", board.resources.luts, board.name)))


def load_board(name: str) -> Board:
    """The board called ``name``; raises InputError listing the names there are."""
    for board in all_boards():
        if board.name == name:
            return board
    raise InputError(f"Board must be one of {', '.join(board.name for board in all_boards())}, not {name!r}")
