"""What an image says about itself: a line in front of a bitstream's preamble, where the device skips it.

``FF 00 text 00 .. 00 FF`` is the comment that icepack and ecppack write (Project IceStorm, "Bitstream File Format Documentation";
Project Trellis, "Bitstream format"); ours comes first in it, so that a host knows which board an image is for, and whether it
finds back to golden, before it writes a byte.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from neuroloom.boards import ecp5_image
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
    """The image with its record in front; raises InputError for a file that does not begin as icepack's or ecppack's do."""
    if ecp5_image.is_image(image):
        rest = image[len(_START) :]
        seal = " ".join(f"{name}={value}" for name, value in ecp5_image.seal_of(rest).items())
        return _START + record.line() + b" " + seal.encode("ascii") + b"\0" + rest
    if not image.startswith((_START, PREAMBLE)):
        raise InputError("iCE40 bitstream must begin with a comment or its preamble, and this one does not")
    rest = image[len(_START) :] if image.startswith(_START) else b"\0\xff" + image
    stamped = _START + record.line() + b"\0" + rest
    if PREAMBLE not in stamped[: SEARCH_BYTES + len(PREAMBLE)]:
        raise InputError(f"comments of an iCE40 bitstream must have at most {SEARCH_BYTES} bytes with its record")
    return stamped


def read_record(image: bytes) -> ImageRecord | None:
    """The record of an image, or None if it has none."""
    values, _ = _split(image)
    own = {f.name: values.pop(f.name) for f in fields(ImageRecord) if f.name in values}
    if len(own) != len(fields(ImageRecord)) or not set(values) <= set(ecp5_image.seal_of(b"")):
        return None
    return ImageRecord(**own)


def _split(image: bytes) -> tuple[dict[str, str], bytes]:
    """The words of the line by name, none where there is no line, and what stands behind it."""
    end = image.find(b"\0", len(_START))
    if not image.startswith(_START + _NAME) or end < 0:
        return {}, image
    line = image[len(_START + _NAME) : end].decode("ascii", "replace")
    return dict(word.partition("=")[::2] for word in line.split(" ")), image[end + 1 :]


def check_image(image: bytes, device: str, board: str) -> ImageRecord | None:
    """Check that ``image`` is a whole image for ``board``, whose chip is ``device``; returns its record.

    Raises InputError for a truncated or damaged image and for one of another board. An ECP5 image without a record is only
    looked at as far as its chip.
    """
    record = read_record(image)
    if record is not None and record.board != board:
        raise InputError(f"image must be built for {board}, not for {record.board}; build it with: --board {board}")
    if device in ecp5_image.IDCODES:
        head = ecp5_image.check_head(image, device, board)
        if record is not None:
            values, rest = _split(image)
            ecp5_image.check_seal(rest, {name: values[name] for name in ecp5_image.seal_of(b"") if name in values})
            if not head.control0 & ecp5_image.MULTI_BOOT:
                raise InputError(
                    "image beside golden must name the image that it boots, and this one does not; build it again"
                )
        return record
    found = parse(image).device
    if found != FPGAS.get(device):
        chip = next(name for name, short in FPGAS.items() if short == found) if found in FPGAS.values() else found
        raise InputError(
            f"image must be for the {device} of {board}, not for another iCE40 ({chip}); build it with: --board {board}"
        )
    return record
