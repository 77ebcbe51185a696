"""What an image says about itself: a line in front of an iCE40 bitstream's preamble, where the device skips it.

``FF 00 text 00 .. 00 FF`` is the comment that icepack writes (Project IceStorm, "Bitstream File Format Documentation"); ours comes
first in it, so that a host knows which board an image is for, and whether it finds back to golden, before it writes a byte.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from neuroloom.boards.ice40.bitstream import PREAMBLE, SEARCH_BYTES, parse
from neuroloom.compiler.errors import InputError

_START, _NAME = b"\xff\0", b"neuroloom "
FPGAS = {"up5k": "5k", "hx8k": "8k"}
"""What a bitstream calls the device of a board file."""


@dataclass(frozen=True)
class ImageRecord:
    """Board, engine, hash of the graph or core in hexadecimal, and how it boots: ``golden``, ``attended`` or ``unattended``."""

    board: str
    engine: str
    model: str
    boot: str

    def line(self) -> bytes:
        """The line, with the name that tells it from others."""
        return _NAME + " ".join(f"{f.name}={getattr(self, f.name)}" for f in fields(self)).encode("ascii")


def stamp(image: bytes, record: ImageRecord) -> bytes:
    """The image with its record in front; raises InputError for a file that does not begin as icepack's do."""
    if not image.startswith((_START, PREAMBLE)):
        raise InputError("iCE40 bitstream must begin with a comment or its preamble, and this one does not")
    rest = image[len(_START) :] if image.startswith(_START) else b"\0\xff" + image
    stamped = _START + record.line() + b"\0" + rest
    if PREAMBLE not in stamped[: SEARCH_BYTES + len(PREAMBLE)]:
        raise InputError(f"comments of an iCE40 bitstream must have at most {SEARCH_BYTES} bytes with its record")
    return stamped


def read_record(image: bytes) -> ImageRecord | None:
    """The record of an image, or None if it has none."""
    if not image.startswith(_START + _NAME):
        return None
    line = image[len(_START + _NAME) : image.index(b"\0", len(_START))]
    values = dict(word.partition("=")[::2] for word in line.decode("ascii", "replace").split(" "))
    if set(values) != {f.name for f in fields(ImageRecord)}:
        return None
    return ImageRecord(**values)


def check_image(image: bytes, device: str, board: str) -> ImageRecord | None:
    """Check that ``image`` is a whole iCE40 image for ``board``, whose chip is ``device``; returns its record.

    Raises InputError for a truncated or damaged image and for one of another board.
    """
    record = read_record(image)
    if record is not None and record.board != board:
        raise InputError(f"image must be built for {board}, not for {record.board}; build it with: --board {board}")
    found = parse(image).device
    if found != FPGAS.get(device):
        chip = next(name for name, short in FPGAS.items() if short == found) if found in FPGAS.values() else found
        raise InputError(
            f"image must be for the {device} of {board}, not for another iCE40 ({chip}); build it with: --board {board}"
        )
    return record
