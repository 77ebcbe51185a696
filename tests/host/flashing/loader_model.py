"""Golden's loader in Python, written from the table of opcodes, on a flash with a Python model: for the host's side alone."""

from __future__ import annotations

import zlib
from collections.abc import Callable

from neuroloom.host.simulated import DeviceModel
from neuroloom.rtl.flash.layout import FLAGS, LABEL_BYTES, Layout, label
from neuroloom.rtl.link.protocol import Buffers, Command, Identity, Status

LAYOUT = Layout(golden_bytes=0x10000, slot_bytes=0x30000, slots=2, flash_bytes=1 << 19)
SIZES = {b"M": 0, b"J": 0, b"S": 6, b"R": 6, b"C": 6, b"E": 4, b"P": 5, b"B": 1}


def sfdp(size: int) -> bytes:
    """A table of JESD216 for a flash of ``size`` bytes."""
    words = [0xFFF120E5, 8 * size - 1, 0, 0, 0, 0, 0, 0x520F200C, 0x0000D810, 0, 0x80]
    head = b"SFDP\x05\x01\x00\xff" + bytes([0, 5, 1, 11]) + (0x80).to_bytes(3, "little") + b"\xff"
    return head.ljust(0x80, b"\xff") + b"".join(word.to_bytes(4, "little") for word in words)


class LoaderModel:
    """An engine for :class:`neuroloom.host.simulated.DeviceModel`: bytes in, bytes out."""

    def __init__(self, layout: Layout = LAYOUT, jedec: bytes = b"\xef\x40\x13", table: bytes | None = None) -> None:
        self.layout, self.jedec = layout, jedec
        self.flash = bytearray(b"\xff" * layout.flash_bytes)
        self.table = sfdp(layout.flash_bytes) if table is None else table
        self.booted: int | None = None
        self.erased: list[tuple[int, int]] = []
        self.programmed: list[tuple[int, int]] = []
        self.worn: set[int] = set()
        """Addresses that keep a bit."""
        self.reset()

    def reset(self) -> None:
        self._bytes = b""

    def __call__(self, data: bytes) -> bytes:
        self._bytes += data
        out = b""
        while self._bytes:
            name, size = self._bytes[:1], SIZES[self._bytes[:1]]
            fields = self._bytes[1 : 1 + size]
            extra = int.from_bytes(fields[3:5], "little") if name == b"P" else 0
            if len(self._bytes) < 1 + size + extra:
                break
            payload, self._bytes = self._bytes[1 + size : 1 + size + extra], self._bytes[1 + size + extra :]
            out += self._carry_out(name, fields, payload)
        return out

    def _carry_out(self, name: bytes, fields: bytes, payload: bytes) -> bytes:
        address, count = int.from_bytes(fields[:3], "little"), int.from_bytes(fields[3:6], "little")
        if name == b"M":
            return self.layout.to_bytes()
        if name == b"J":
            return self.jedec
        if name == b"S":
            return self.table[address : address + count].ljust(count, b"\xff")
        if name == b"R":
            return bytes(self.flash[address : address + count])
        if name == b"C":
            return zlib.crc32(self.flash[address : address + count]).to_bytes(4, "little")
        if name == b"B":
            return self._boot(fields[0])
        if not self.layout.golden_bytes <= address < self.layout.end:
            return b"\1"
        if name == b"E":
            size = 65536 if fields[3] else 4096
            start = address // size * size
            self.flash[start : start + size] = b"\xff" * size
            self.erased.append((start, size))
        else:
            page = address // 256 * 256
            for at, byte in enumerate(payload):
                where = page + (address + at) % 256
                self.flash[where] &= byte | (1 if where in self.worn else 0)
            self.programmed.append((address, len(payload)))
        return b"\0"

    def _boot(self, slot: int) -> bytes:
        if not 1 <= slot <= self.layout.slots:
            return b"\1"
        where, at = self.layout.slot_at(slot), self.layout.label_at(slot)
        length = int.from_bytes(self.flash[at + 4 : at + 8], "little")
        image = bytes(self.flash[where : where + length]) if length <= self.layout.image_bytes else b""
        if bytes(self.flash[at : at + 4]) != b"NLIM":
            return b"\3"
        if bytes(self.flash[at : at + LABEL_BYTES]) != label(image):
            return b"\4"
        self.flash[at + LABEL_BYTES + FLAGS.index("attempted")] = 0
        self.booted = slot
        return b"\0"


class BoardModel:
    """A board that runs golden or an image, over one line: what a host meets when images boot each other."""

    def __init__(self, loader: LoaderModel, images: dict[bytes, Identity], *, golden: bool = True) -> None:
        self.loader, self.images = loader, images
        self.confirmed: list[str] = []
        self.broken = False
        """Whether images that boot do not answer, and are left again by their guard."""
        self.golden() if golden else self.run(next(iter(images)))

    def golden(self) -> None:
        self.loader.reset()
        self.device = Core(Identity("loader", "icebreaker", bytes(32), 0, 0, 24_000_000), self.loader, self)

    def run(self, image: bytes) -> None:
        self.device = Core(self.images[image], lambda data: data, self)

    def feed(self, data: bytes) -> bytes:
        """Bytes from the line; whoever boots has answered before."""
        out = self.device.feed(data)
        if self.loader.booted is not None:
            slot, self.loader.booted = self.loader.booted, None
            at, length = self.loader.layout.slot_at(slot), self.loader.layout.label_at(slot) + 4
            size = int.from_bytes(self.loader.flash[length : length + 4], "little")
            self.golden() if self.broken else self.run(bytes(self.loader.flash[at : at + size]))
        return out


class Core(DeviceModel):
    """The link of one image."""

    def __init__(self, identity: Identity, engine: Callable[[bytes], bytes], board: BoardModel) -> None:
        self._board = board
        usual = Buffers()
        super().__init__(
            identity,
            engine,
            reset=getattr(engine, "reset", None),
            frame_bytes=usual.frame_bytes,
            window=usual.window,
        )

    def _execute(self, command: int, payload: bytes, arg: int) -> tuple[int, bytes]:
        if command == Command.CONFIRM and self.identity.boot:
            self._board.confirmed.append(self.identity.engine)
            return Status.OK, b""
        if command == Command.BOOT and self.identity.boot:
            self._board.golden()
            return Status.OK, b""
        return super()._execute(command, payload, arg)

    def _run(self, payload: bytes, arg: int) -> tuple[int, bytes]:
        self._results += self._engine(payload)
        if len(self._results) < arg:
            self._reset_engine()
            return Status.ENGINE_TIMEOUT, b""
        out, self._results = self._results[:arg], self._results[arg:]
        return Status.OK, out
