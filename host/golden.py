"""The golden image of a board: link and loader, built, and written in front of the slots."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neuroloom.boards import cache
from neuroloom.boards.board import Board
from neuroloom.boards.build import BuildResult, build
from neuroloom.boards.emulate import emulate
from neuroloom.boards.image_formats import format_of
from neuroloom.boards.virtual import VirtualBoard
from neuroloom.rtl.flash.layout import LOADER_VERSION
from neuroloom.rtl.flash.loader import START_SECONDS, Loader
from neuroloom.rtl.link.protocol import Identity

GOLDEN_FILE = "golden"
"""The file for the cable, in the folder of a build, with the suffix of the board's bitstreams."""


@dataclass(frozen=True)
class GoldenResult:
    """A finished golden image: its build, and the file that is written to address 0 of the flash."""

    build: BuildResult
    image: Path


def golden_design(board: Board, *, start_seconds: float = START_SECONDS) -> tuple[Callable[[], Any], Identity]:
    """The loader behind the link, made anew by each call, and the identity of a device with it.

    ``start_seconds``: what golden leaves a host to speak before it boots a slot by itself. Raises InputError for a board that
    is cable only.
    """
    layout, clock_hz = board.layout, board.speed("loader").plan.logic_hz
    core = hashlib.sha256(bytes([LOADER_VERSION]) + layout.to_bytes()).digest()
    return lambda: Loader(layout, clock_hz, start_seconds), Identity("loader", board.name, core, 0, 0, clock_hz)


def build_golden(
    board: Board,
    *,
    seeds: Sequence[int] = (1, 2, 3),
    out_dir: Path | None = None,
    progress: Callable[[str], None] | None = None,
    use_cache: bool = True,
) -> GoldenResult:
    """Build golden and the file for the cable; ``out_dir`` as of :func:`neuroloom.boards.build.build`, whose errors it raises."""
    wired = board.with_flash_pins()
    factory, identity = golden_design(wired)
    result = build(factory, identity, wired, seeds=seeds, out_dir=out_dir, progress=progress, use_cache=use_cache)
    image = format_of(board).golden(board.layout, result.bitstream.read_bytes())
    target = (out_dir or cache.cache_root() / "golden" / result.key) / (GOLDEN_FILE + result.bitstream.suffix)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_suffix(".part")
    partial.write_bytes(image)
    partial.replace(target)
    return GoldenResult(result, target)


def emulate_golden(board: Board, *, start_seconds: float = START_SECONDS, **options: Any) -> VirtualBoard:
    """The virtual board with golden's RTL, for tests of one image; ``options`` as of :func:`neuroloom.boards.emulate.emulate`."""
    wired = board.with_flash_pins()
    return emulate(*golden_design(wired, start_seconds=start_seconds), wired, **options)
