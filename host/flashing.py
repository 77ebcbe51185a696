"""Writing images into a board's slots over the link: the host's side of golden's loader."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from neuroloom.compiler.errors import DeviceError, InputError
from neuroloom.rtl.flash.layout import (
    BLOCK_BYTES,
    ERASED,
    FLAGS,
    LABEL_BYTES,
    OPCODES,
    PAGE_BYTES,
    RESULTS,
    SECTOR_BYTES,
    STATUS_AT,
    Layout,
    SlotState,
    label,
)
from neuroloom.rtl.flash.network import NetworkImage, NetworkState
from neuroloom.rtl.flash.protection import protects

from .device import Device
from .flash_chip import HEADER_BYTES, FlashChip, check_id, read_chip, table_at

CODE = {opcode.name: opcode.code for opcode in OPCODES}
BLANK = bytes([ERASED])
SECTORS_AS_FAST = 3
"""So many sectors are erased in the time of one block: 45 ms and 150 ms by the W25Q128JV's data sheet."""

ATTEMPTS = 3
"""How often a block is begun anew before the flash, or the line, is given up."""
CRC_BYTES_AT_ONCE = 1 << 14
"""Bytes behind one answer when much is compared, so that a slow (virtual) board is not taken for a dead one."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class InstallFacts:
    """What an installation did: pages written, pages that were there already, and erasures of sectors and blocks."""

    written: int
    kept: int
    erased: int


class FlashLoader:
    """A session with golden's loader.

    Every method returns when the flash has done it, or raises DeviceError; InputError for what the flash's map forbids.
    Attributes: ``layout``, the flash's map; ``chip``; ``status``, the flash's status register when the session began.
    """

    def __init__(self, device: Device) -> None:
        if device.identity.engine != "loader":
            raise DeviceError(f"the board on {device.name} must run golden to be flashed, not {device.identity.engine}")
        # an erasure may be silent as long as the device's own watchdog allows, and a second for the way
        device.allow(1 + device.identity.watchdog_ms / 1000)
        self._device = device
        self._largest = device.identity.max_payload
        record = self._ask("MAP", 16)
        self.layout, self.status = Layout.from_bytes(record), record[STATUS_AT]
        jedec = self._ask("JEDEC", 3)
        check_id(jedec, device.name)
        at, size = table_at(self._read("SFDP", 0, HEADER_BYTES), jedec, device.name)
        self.chip: FlashChip = read_chip(jedec, self._read("SFDP", at, size), self.layout.end, device.name)

    @property
    def shielded(self) -> bool:
        """Whether the flash itself protects golden, as golden has set it."""
        return protects(self.layout, self.chip.jedec, self.status)

    # ------------------------------------------------------------------ opcodes

    def _ask(self, name: str, answer: int, *fields: tuple[int, int], data: bytes = b"") -> bytes:
        return self._device.stream([(request(name, *fields, data=data), answer)])

    def _read(self, name: str, address: int, count: int) -> bytes:
        pieces = range(address, address + count, self._largest)
        sizes = [min(self._largest, address + count - at) for at in pieces]
        return self._device.stream((request(name, (at, 3), (n, 3)), n) for at, n in zip(pieces, sizes, strict=True))

    def read(self, address: int, count: int) -> bytes:
        """Bytes of the flash."""
        return self._read("READ", address, count)

    def erase(self, address: int, size: int = SECTOR_BYTES) -> None:
        """Erase the sector or the block of 64 KiB at ``address``."""
        self._done(self._ask("ERASE", 1, (address, 3), (int(size == BLOCK_BYTES), 1)), f"erase {address:#x}")

    def program(self, address: int, data: bytes) -> None:
        """Program bytes of one page, and read them back."""
        answer = self._device.stream([program_request(address, data), crc_request(address, len(data))])
        crc = answer[1:]
        self._done(answer[:1], f"program {address:#x}")
        if crc != crc32(data):
            raise DeviceError(
                f"the flash on {self._device.name} must hold what was written at {address:#x}, and does not"
            )

    def _done(self, answer: bytes, what: str) -> None:
        if answer != b"\0":
            why = RESULTS.get(answer[0], f"result {answer[0]}")
            raise DeviceError(f"the board on {self._device.name} did not {what}: {why}")

    def _crcs(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """CRC-32s of (address, bytes)."""
        answer = self._device.stream(crc_request(*one) for one in ranges)
        return [answer[at : at + 4] for at in range(0, len(answer), 4)]

    # ------------------------------------------------------------------ slots

    def state(self, slot: int) -> SlotState:
        """What the label of a slot says."""
        return SlotState.from_bytes(self.read(self.layout.label_at(slot), LABEL_BYTES + len(FLAGS)))

    def holds(self, slot: int, image: bytes, progress: Progress | None = None) -> bool:
        """Whether a slot holds ``image``, whole and labelled, by the CRC-32 of its pieces."""
        state = self.state(slot)
        if (state.length, state.crc) != (len(image), zlib.crc32(image)):
            return False
        return self._same(self.layout.slot_at(slot), image, progress)

    def _same(self, at: int, data: bytes, progress: Progress | None) -> bool:
        """Whether the flash holds ``data``, by the CRC-32 of its pieces."""
        for start in range(0, len(data), CRC_BYTES_AT_ONCE):
            piece = data[start : start + CRC_BYTES_AT_ONCE]
            if self._crcs([(at + start, len(piece))]) != [crc32(piece)]:
                return False
            if progress:
                progress(start + len(piece), len(data))
        return True

    def install(self, slot: int, image: bytes, progress: Progress | None = None) -> InstallFacts:
        """Write an image into a slot; what an interrupted installation of the same image left there is kept.

        The label goes first and comes last, so that the slot holds either a whole image or none, whenever this ends.
        Raises InputError for an image that is larger than a slot.
        """
        where = self.layout.slot_at(slot)
        if not 0 < len(image) <= self.layout.image_bytes:
            raise InputError(
                f"image must have 1 to {self.layout.image_bytes:,} bytes to fit slot {slot}, not {len(image):,};"
                " nothing was written"
            )
        if self.holds(slot, image):
            return InstallFacts(0, -(-len(image) // PAGE_BYTES), 0)
        return self._write_sealed(where, image, self.layout.label_at(slot), label(image), progress)

    def _write_sealed(
        self, where: int, data: bytes, seal_at: int, seal: bytes, progress: Progress | None
    ) -> InstallFacts:
        """Write ``data`` from a block's beginning on; the page ``seal_at`` in a sector of its own is blank until all is right."""
        erased = self._blank_page(seal_at)
        written = kept = 0
        for start in range(0, len(data), BLOCK_BYTES):
            block = data[start : start + BLOCK_BYTES]
            facts = self._install_block(where + start, block, _shifted(progress, start, len(data)))
            written, kept, erased = written + facts.written, kept + facts.kept, erased + facts.erased
        self.program(seal_at, seal)
        return InstallFacts(written, kept, erased)

    def relabel(self, slot: int, image: bytes) -> None:
        """Give a slot that holds ``image`` a new label without flags."""
        self._blank_page(self.layout.label_at(slot))
        self.program(self.layout.label_at(slot), label(image))

    # ------------------------------------------------------------------ the network

    def network_state(self) -> NetworkState | None:
        """What the header of the flash's network says, None where there is none; raises DeviceError for a map without partition."""
        self._check_partition()
        return NetworkState.from_bytes(self.read(self.layout.network_header_at, PAGE_BYTES))

    def holds_network(self, network: NetworkImage, progress: Progress | None = None) -> bool:
        """Whether the partition holds ``network``, whole, by the CRC-32 of its pieces."""
        self._check_partition()
        layout = self.layout
        if self.read(layout.network_header_at, PAGE_BYTES) != network.header:
            return False
        return self._same(layout.network_data_at, network.data, progress)

    def install_network(self, network: NetworkImage, progress: Progress | None = None) -> InstallFacts:
        """Write a network into the partition, as :meth:`install` writes images: whole or none, and going on where it stopped."""
        self._check_partition()
        layout = self.layout
        if len(network.data) > layout.network_room:
            raise InputError(
                f"network must have at most {layout.network_room:,} bytes to fit the partition of the flash on"
                f" {self._device.name}, not {len(network.data):,}; nothing was written"
            )
        if self.holds_network(network):
            return InstallFacts(0, -(-len(network.data) // PAGE_BYTES), 0)
        return self._write_sealed(
            layout.network_data_at, network.data, layout.network_header_at, network.header, progress
        )

    def forget_network(self) -> bool:
        """Erase the network's header, so that no board starts with it; returns whether there was anything to erase."""
        self._check_partition()
        return bool(self._blank_page(self.layout.network_header_at))

    def _check_partition(self) -> None:
        if not self.layout.network_room:
            raise DeviceError(
                f"golden on {self._device.name} must know a partition for a network, and this one was built before there was"
                " any; build golden again and write it by cable"
            )

    def _blank_page(self, at: int) -> int:
        """Erase the sector of a page unless the page is blank; returns the erasures."""
        if self._crcs([(at, PAGE_BYTES)]) == [crc32(BLANK * PAGE_BYTES)]:
            return 0
        self.erase(at)
        return 1

    def _install_block(self, address: int, block: bytes, progress: Callable[[int], None]) -> InstallFacts:
        """Bring a block, or the beginning of one, into the flash; begins anew when the line or a page fails."""
        fresh, silent, problem = False, False, "its pages stayed different"
        erased = 0
        for _ in range(ATTEMPTS):
            try:
                done = 0 if fresh else self._pages_kept(address, block)
                if not done:
                    erased += self._erase_for(address, len(block))
                    fresh = False
                if self._program_pages(address, block, done * PAGE_BYTES, progress):
                    return InstallFacts(-(-len(block) // PAGE_BYTES) - done, done, erased)
                fresh = True  # a page is wrong: it was there before, or the flash is worn
            except DeviceError as error:
                if silent:
                    break  # twice in a row: the line, or the board, is gone
                problem, fresh, silent = str(error), False, True
            else:
                silent = False
        raise DeviceError(
            f"the flash on {self._device.name} must take the block at {address:#x}, but does not: {problem}; run the same command"
            " again to go on where it stopped"
        )

    def _pages_kept(self, address: int, block: bytes) -> int:
        """Pages at the beginning of a block that need not be written again; 0: it must be erased.

        All behind them are blank, and have been since before the first of them was written, so their erasure was complete. The last
        one right may have been under way when the power went, so it is written once more, which the flash allows.
        """
        pages = [block[at : at + PAGE_BYTES] for at in range(0, len(block), PAGE_BYTES)]
        if self._crcs([(address, len(pages[0]))]) != [crc32(pages[0])]:
            return 0
        places = [(address + at * PAGE_BYTES, len(page)) for at, page in enumerate(pages)]
        found = self._crcs(places)
        right = next((n for n, page in enumerate(pages) if found[n] != crc32(page)), len(pages))
        behind = zip(found[right:], pages[right:], strict=True)
        return right - 1 if all(crc == crc32(BLANK * len(page)) for crc, page in behind) else 0

    def _erase_for(self, address: int, size: int) -> int:
        """Erase what ``size`` bytes from a block's beginning on need; returns how many erasures it took."""
        sectors = -(-size // SECTOR_BYTES)
        if sectors > SECTORS_AS_FAST:
            self.erase(address, BLOCK_BYTES)
            return 1
        for sector in range(sectors):
            self.erase(address + sector * SECTOR_BYTES)
        return sectors

    def _program_pages(self, address: int, block: bytes, start: int, progress: Callable[[int], None]) -> bool:
        """Program ``block`` from ``start`` on, each page read back; False when one is not as it should be."""
        cuts = range(start, len(block), PAGE_BYTES)
        pages = [block[at : at + PAGE_BYTES] for at in cuts]

        def messages() -> Iterator[tuple[bytes, int]]:
            for at, page in zip(cuts, pages, strict=True):
                yield program_request(address + at, page)
                yield crc_request(address + at, len(page))
                progress(at + len(page))

        answers = self._device.stream(messages())
        for n, page in enumerate(pages):
            result, crc = answers[5 * n : 5 * n + 1], answers[5 * n + 1 : 5 * n + 5]
            self._done(result, f"program {address + n * PAGE_BYTES + start:#x}")
            if crc != crc32(page):
                return False
        return True

    def mark(self, slot: int, flag: str) -> None:
        """Program a flag of a slot's label; one that is programmed stays so until the image is written again."""
        self.program(self.layout.label_at(slot) + LABEL_BYTES + FLAGS.index(flag), b"\0")

    def boot(self, slot: int) -> None:
        """Let golden check and boot a slot; raises DeviceError with its reason if it does not. The session ends with it."""
        self.layout.slot_at(slot)
        self._done(self._ask("BOOT", 1, (slot, 1)), f"boot slot {slot}")
        self._device.expect_restart()


def _shifted(progress: Progress | None, start: int, total: int) -> Callable[[int], None]:
    """What tells the progress of a part that begins at ``start``."""
    return (lambda done: None) if progress is None else lambda done: progress(start + done, total)


def crc32(data: bytes) -> bytes:
    """As the loader answers it."""
    return zlib.crc32(data).to_bytes(4, "little")


def request(name: str, *fields: tuple[int, int], data: bytes = b"") -> bytes:
    """An opcode with its fields (value, bytes)."""
    return bytes([CODE[name]]) + b"".join(value.to_bytes(size, "little") for value, size in fields) + data


def program_request(address: int, data: bytes) -> tuple[bytes, int]:
    """A PROGRAM and the length of its answer."""
    return request("PROGRAM", (address, 3), (len(data), 2), data=data), 1


def crc_request(address: int, count: int) -> tuple[bytes, int]:
    """A CRC and the length of its answer."""
    return request("CRC", (address, 3), (count, 3)), 4
