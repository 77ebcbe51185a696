"""What ``neuroloom flash`` does over the link, step by step: check the image, write it, boot it, see it answer, let it start."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from neuroloom.boards.image_record import ImageRecord, check_image, read_record
from neuroloom.boards.registry import load_board
from neuroloom.compiler.errors import DeviceError, InputError
from neuroloom.rtl.flash.layout import FLAGS, SlotState
from neuroloom.rtl.link.protocol import Identity

from .booting import after_boot, to_golden
from .device import Device
from .flashing import FlashLoader, InstallFacts, Progress

Say = Callable[[str], None]

HEAD_BYTES = 512
"""Of an image, which hold its record if it has one."""


@dataclass(frozen=True)
class SlotInfo:
    """One slot: its number, what its label says, and the record of the image in it."""

    slot: int
    state: SlotState
    record: ImageRecord | None


def open_loader(device: Device) -> FlashLoader:
    """Golden's loader of the board, which is brought to golden first."""
    to_golden(device)
    return FlashLoader(device)


def flash(
    device: Device, bitstream: Path | str, *, slot: int = 1, boot: bool = True, progress: Progress | None = None
) -> InstallFacts:
    """Write the image in a file into a slot of the device's board, and boot it and see it answer; ``device`` then is that image.

    Build it with ``boot="attended"``, or it does not know the way back. Raises InputError for an image that is not this board's,
    with nothing written, and DeviceError.
    """
    path = Path(bitstream)
    if not path.is_file():
        raise InputError(f"Bitstream must be a file, not {str(bitstream)!r}; build one first")
    image = path.read_bytes()
    record = check_for(device, image)
    loader = open_loader(device)
    facts = loader.install(slot, image, progress)
    if boot:
        boot_slot(device, loader, slot, record)
    return facts


def slots_of(loader: FlashLoader) -> list[SlotInfo]:
    """What stands in every slot."""
    out = []
    for slot in range(1, loader.layout.slots + 1):
        state = loader.state(slot)
        head = b"" if state.length is None else loader.read(loader.layout.slot_at(slot), min(state.length, HEAD_BYTES))
        out.append(slot_info(slot, state, head))
    return out


def slot_info(slot: int, state: SlotState, head: bytes) -> SlotInfo:
    """What stands in a slot, by its label and its first :data:`HEAD_BYTES` bytes."""
    head = b"" if state.length is None else head[: state.length]
    return SlotInfo(slot, state, read_record(head) if b"\0" in head[2:] else None)


def check_for(device: Device, image: bytes) -> ImageRecord | None:
    """Check that an image is whole and for the device's board; raises InputError, and nothing is written then."""
    board = load_board(device.identity.board)
    try:
        record = check_image(image, board.device, board.name)
    except InputError as error:
        raise InputError(f"{error}; nothing was written") from None
    if record is not None and record.boot == "golden":
        raise InputError(
            f"golden must be written by cable, not over the link: neuroloom flash golden.bin --board {board.name};"
            " nothing was written"
        )
    return record


def boot_slot(device: Device, loader: FlashLoader, slot: int, record: ImageRecord | None) -> Identity:
    """Boot a slot and see its image answer, which also confirms it; raises DeviceError for another one, or none."""
    loader.boot(slot)
    found = after_boot(device, slot)
    if record is not None and found.model_hash.hex() != record.model:
        raise DeviceError(
            f"the image in slot {slot} must answer with hash {record.model[:12]}, not {found.model_hash.hex()[:12]}; flash it again"
        )
    return found


def check_startable(record: ImageRecord | None) -> None:
    """Raise InputError for an image that golden could not be reached from any more if it were started at every power-up."""
    if record is None or record.boot == "none":
        raise InputError(
            "image must be built with --boot unattended (or attended) to be started by golden, because it must find back"
        )


def let_start(device: Device, slot: int, image: bytes, record: ImageRecord | None, say: Say) -> Identity:
    """Prove an image by booting it, then let golden start it at power-up; raises InputError for one that cannot come back."""
    check_startable(record)
    loader = open_loader(device)
    if "held" in loader.state(slot).flags:
        loader.relabel(slot, image)
    boot_slot(device, loader, slot, record)
    say("it answers; golden is told so")
    loader = open_loader(device)
    flags = loader.state(slot).flags
    for flag in ("confirmed", "start"):
        if flag not in flags:
            loader.mark(slot, flag)
    return boot_slot(device, loader, slot, record)


def hold(device: Device, slot: int) -> None:
    """Let golden no longer start a slot at power-up."""
    loader = open_loader(device)
    if loader.state(slot).length is None:
        raise InputError(f"slot {slot} must hold an image to be held back, and is empty")
    loader.mark(slot, "held")


def flags_text(state: SlotState) -> str:
    """The flags of a slot in words."""
    return ", ".join(flag for flag in FLAGS if flag in state.flags) or "-"
