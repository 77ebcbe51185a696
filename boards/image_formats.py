"""How images stand in the flash of a family's boards, and which one the device loads: one entry per family that boots several."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from neuroloom.boards.board import Board
from neuroloom.boards.ice40.boot import image_address
from neuroloom.compiler.errors import InputError
from neuroloom.rtl.flash.layout import Layout, golden_image

from . import ecp5_image


@dataclass(frozen=True)
class ImageFormat:
    """One family.

    ``golden(layout, bitstream)`` is the file for the cable, at address 0; ``inside(file)`` where the image stands in such a file,
    or in one for a slot; ``loaded(flash, image, next_image)`` the address that power-up (image None) or a boot of ``image`` loads,
    when the design that boots names ``next_image``. Each raises InputError for what is none.
    """

    golden: Callable[[Layout, bytes], bytes]
    inside: Callable[[bytes], int]
    loaded: Callable[[bytes, int | None, int | None], int]


def _ice40_inside(file: bytes) -> int:
    try:
        return image_address(file)
    except InputError:
        raise InputError(
            "iCE40 image must begin with a comment, its preamble or boot headers; is it a bitstream?"
        ) from None


def _ecp5_golden(layout: Layout, bitstream: bytes) -> bytes:
    if len(bitstream) > layout.golden_bytes:
        raise InputError(f"golden must have at most {layout.golden_bytes:,} bytes, not {len(bitstream):,}")
    return bitstream


def _ecp5_loaded(flash: bytes, image: int | None, next_image: int | None) -> int:
    """Power-up loads the image at 0, PROGRAMN the one that the configuration before names."""
    at = 0 if image is None else (next_image or 0)
    what = "at power-up" if image is None else "for PROGRAMN"
    if not ecp5_image.is_image(flash[at : at + ecp5_image.SEARCH_BYTES + len(ecp5_image.PREAMBLE)]):
        raise InputError(f"flash must hold an image at address {at:#x} {what}, and does not")
    return at


FORMATS: Mapping[str, ImageFormat] = {
    "ice40": ImageFormat(golden_image, _ice40_inside, lambda flash, image, next_image: image_address(flash, image)),
    "ecp5": ImageFormat(_ecp5_golden, lambda file: 0, _ecp5_loaded),
}


def format_of(board: Board) -> ImageFormat:
    """The format of a board's images; raises InputError for a board that holds one image only."""
    assert board.layout
    return FORMATS[board.family]
