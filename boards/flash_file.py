"""The flash of a virtual board as a file: made, and written as a cable or golden would write it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from neuroloom.boards.board import Board
from neuroloom.compiler.errors import InputError
from neuroloom.rtl.flash.layout import BLOCK_BYTES, ERASED, FLAGS, LABEL_BYTES, PAGE_BYTES, Layout, SlotState, label
from neuroloom.rtl.flash.network import CRC_BYTES, NetworkImage, NetworkState


def erased_flash(path: Path, board: Board) -> None:
    """Make the flash of a new board: every byte 0xFF. Raises InputError where a file stands already."""
    if path.exists():
        raise InputError(f"flash file must not exist yet to be made: {path}")
    try:
        path.write_bytes(bytes([ERASED]) * board.flash.size_bytes)
    except OSError as error:
        raise InputError(f"flash file must be one that can be written: {path}: {error.strerror}") from None


def write_image(path: Path, address: int, image: bytes) -> None:
    """Write bytes as a cable does, which erases their sectors first; raises InputError where they do not fit."""
    size = path.stat().st_size
    if not 0 <= address <= address + len(image) <= size:
        raise InputError(
            f"image of {len(image):,} bytes must fit into the flash of {size:,} bytes from address {address:#x}"
        )
    try:
        with path.open("r+b") as file:
            file.seek(address)
            file.write(image)
    except OSError as error:
        raise InputError(f"flash file must be one that can be written: {path}: {error.strerror}") from None


def install(path: Path, board: Board, slot: int, image: bytes, flags: Iterable[str] = ()) -> None:
    """Put an image into a slot with its label and these flags (:data:`~neuroloom.rtl.flash.layout.FLAGS`) programmed."""
    layout = board.layout
    if len(image) > layout.image_bytes:
        raise InputError(f"image must have at most {layout.image_bytes:,} bytes to fit slot {slot}, not {len(image):,}")
    page = bytearray(label(image).ljust(PAGE_BYTES, bytes([ERASED])))
    for flag in flags:
        page[LABEL_BYTES + FLAGS.index(flag)] = 0
    write_image(path, layout.slot_at(slot), image.ljust(layout.slot_bytes - PAGE_BYTES, bytes([ERASED])) + page)


def write_network(path: Path, layout: Layout, network: NetworkImage) -> None:
    """Put a network into the partition of a flash's file; raises InputError where it does not fit."""
    if len(network.data) > layout.network_room:
        raise InputError(
            f"network must have at most {layout.network_room:,} bytes to fit the flash's partition, not {len(network.data):,}"
        )
    blank = bytes([ERASED])
    write_image(path, layout.network_header_at + PAGE_BYTES - BLOCK_BYTES, network.header.rjust(BLOCK_BYTES, blank))
    size = -(-len(network.data) // BLOCK_BYTES) * BLOCK_BYTES
    write_image(path, layout.network_data_at, network.data.ljust(size, blank))


def read_network(path: Path, layout: Layout) -> NetworkImage | None:
    """The network that stands in the partition of a flash's file, whole or not; None without a header."""
    with path.open("rb") as file:
        file.seek(layout.network_header_at)
        header = file.read(PAGE_BYTES)
        state = NetworkState.from_bytes(header)
        if state is None:
            return None
        file.seek(layout.network_data_at)
        return NetworkImage(header, file.read(min(state.length + CRC_BYTES, layout.network_room)))


def read_slot(path: Path, layout: Layout, slot: int, count: int) -> bytes:
    """The first bytes of what stands in a slot of a flash's file."""
    with path.open("rb") as file:
        file.seek(layout.slot_at(slot))
        return file.read(count)


def slot_state(path: Path, board: Board, slot: int) -> SlotState:
    """What the label of a slot says."""
    at = board.layout.label_at(slot)
    with path.open("rb") as file:
        file.seek(at)
        return SlotState.from_bytes(file.read(PAGE_BYTES))


def image_name(layout: Layout, address: int) -> str:
    """``golden`` or ``slot N``: whose image stands at an address."""
    if address < layout.golden_bytes:
        return "golden"
    return f"slot {1 + (address - layout.golden_bytes) // layout.slot_bytes}"
