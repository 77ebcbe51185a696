"""A virtual board with a flash, made ready: golden in it, and a design in slot 1 if one is given."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from neuroloom.boards.board import Board
from neuroloom.boards.flash_board import FlashBoard
from neuroloom.boards.flash_file import erased_flash, install, slot_state, write_image, write_network
from neuroloom.boards.image_formats import format_of
from neuroloom.boards.image_record import check_image, read_record
from neuroloom.boards.registry import load_board
from neuroloom.compiler.errors import DeviceError, InputError
from neuroloom.compiler.ir.file import load as load_graph
from neuroloom.rtl.flash.loader import START_SECONDS

from .engines import engine_of
from .flow import board_of, build_model
from .golden import build_golden
from .standalone import STANDALONE, booted_design, network_for

SLOT = 1
"""Where a design that is given goes."""

DECIDED = 1.5
"""Golden has booted a slot, or will not, when so many times the seconds are over that it leaves a host to speak."""


def flash_board(
    flash: Path,
    board_name: str | None,
    design: Path | None = None,
    *,
    standalone: bool = False,
    progress: Callable[[str], None] | None = None,
    **options: Any,
) -> FlashBoard:
    """The board whose flash is the file ``flash``, made with golden in it if it does not exist; not started yet.

    ``design``: a bitstream, or a .nloom that is built with ``--boot unattended``; it is put into slot 1 as known to be good and
    to be started. ``standalone``: a .nloom of a programmable engine is built with ``--boot standalone`` instead, and the network
    goes into the flash, too, from which the engine loads it. A golden file goes to golden's place. ``options`` as of
    :class:`~neuroloom.boards.flash_board.FlashBoard`.
    Raises InputError for a board that holds one image only, and for images of other boards.
    """
    image, network = b"", None
    if standalone and (design is None or design.suffix != ".nloom"):
        raise InputError("--standalone must come with a compiled network, M.nloom")
    if design is not None and design.suffix == ".nloom":
        graph = load_graph(design)
        board = board_of(graph, board_name)
        boot = STANDALONE if standalone else "unattended"
        made = engine_of(graph).design(graph, board, None)
        _, identity, _ = booted_design(made, board, boot)  # refusals come before minutes of building
        if standalone:
            network = network_for(graph, board, identity.engine, identity.model_hash)
        image = build_model(graph, board.name, boot=boot, seeds=(1,), progress=progress).bitstream.read_bytes()
    else:
        if not board_name:
            raise InputError("--board must be given with --flash and no model")
        board = load_board(board_name)
        if design is not None:
            if not design.is_file():
                raise InputError(f"{design} must be a file, and is not; build one first")
            image = design.read_bytes()
    _prepare(flash, board, image, progress)
    if network is not None:
        write_network(flash, board.layout, network)
    return FlashBoard(board, flash, progress=progress, **options)


def wait_for_start(board: FlashBoard, timeout_s: float = 600.0) -> None:
    """Wait until golden has booted the slot that the flash's labels let it start, if there is one; it waits for a host before.

    Golden that stays, because the slot's image is not what its label says, ends the wait, too. Raises DeviceError after
    ``timeout_s``, and at once when the board stays dark.
    """
    target, clock_hz = board.board, board.board.speed("loader").plan.logic_hz
    if not any(slot_state(board.flash, target, slot).starts for slot in range(1, target.layout.slots + 1)):
        return
    until = time.monotonic() + timeout_s
    while board.image in ("golden", "") and board.running and _cycles(board) < DECIDED * START_SECONDS * clock_hz:
        if board.dark:
            raise DeviceError(f"the virtual board did not start its slot and stays dark: {board.dark}")
        if time.monotonic() > until:
            shown = board.image or "nothing"
            raise DeviceError(f"the virtual board did not start its slot within {timeout_s:g} s; it shows {shown}")
        time.sleep(0.1)


def _cycles(board: FlashBoard) -> int:
    """Cycles of the image that runs; 0 while one is left for another."""
    try:
        return board.cycles()
    except DeviceError:
        return 0


def _prepare(flash: Path, board: Board, image: bytes, progress: Callable[[str], None] | None) -> None:
    address = format_of(board).inside(image) if image else 0
    if image:
        check_image(image[address:], board.device, board.name)
    record = read_record(image[address:])
    golden = record is not None and record.boot == "golden"
    if not flash.exists():
        if not flash.parent.is_dir():
            raise InputError(f"flash file must be in a folder that exists: {flash}")
        first = image if golden else build_golden(board, seeds=(1,), progress=progress).image.read_bytes()
        erased_flash(flash, board)
        write_image(flash, 0, first)
    elif golden:
        write_image(flash, 0, image)
    if image and not golden:
        install(flash, board, SLOT, image, ("confirmed", "start"))
