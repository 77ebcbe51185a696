"""An SPI NOR flash at the level of its pins, in Python: what the loader's gateware is tested against.

Written from the W25Q128JV's data sheet: mode 0, deep power-down, write enable latch, pages that wrap, bits that only clear,
and protected blocks at the bottom by a volatile status register.
"""

from __future__ import annotations

ID = b"\xef\x70\x18"


class NorModel:
    """Call :meth:`step` once per clock cycle with the pins; returns miso. ``busy_cycles`` is what erasing and programming take."""

    def __init__(self, size: int, *, busy_cycles: int = 200) -> None:
        self.data = bytearray(b"\xff" * size)
        self.busy_cycles = busy_cycles
        self.asleep = True
        self.erased: list[int] = []
        self.programmed: list[tuple[int, bytes]] = []
        self.ignored: list[int] = []
        """Commands that came while the flash was busy or asleep."""
        self._busy = 0
        self._wel = self._volatile = False
        self.status = 0
        self._cs = self._sck = 1
        self._begin()

    def _begin(self) -> None:
        self._bits, self._in, self._out, self._miso = 0, bytearray(), 0, 0
        self._dead = False

    def step(self, sck: int, cs_n: int, mosi: int) -> int:
        self._busy = max(0, self._busy - 1)
        if cs_n:
            if not self._cs and self._in:
                self._end()
            self._begin()
        elif self._cs:
            self._begin()
        elif sck and not self._sck:
            self._bits = self._bits << 1 | mosi
            if self._count() == 8:
                self._in.append(self._bits & 0xFF)
                self._bits, self._taken = 0, 0
                self._decide()
        elif not sck and self._sck:
            self._miso = self._out >> 7 & 1
            self._out = self._out << 1 & 0xFF
        self._cs, self._sck = cs_n, sck
        return self._miso

    def _count(self) -> int:
        self._taken = getattr(self, "_taken", 0) + 1
        return self._taken

    def _decide(self) -> None:
        """A byte is in: what goes out next."""
        command, n = self._in[0], len(self._in)
        if n == 1:
            self._taken = 0
            self._dead = (self.asleep and command != 0xAB) or (self._busy > 0 and command != 0x05)
            if self._dead:
                self.ignored.append(command)
        if self._dead:
            return
        address = int.from_bytes(self._in[1:4], "big") % len(self.data)
        if command == 0x05:
            self._out = int(self._busy > 0) | self._wel << 1 | self.status
        elif command == 0x9F:
            self._out = ID[min(n - 1, 2)]
        elif command == 0x03 and n >= 4:
            self._out = self.data[(address + n - 4) % len(self.data)]
        elif command == 0x5A and n >= 5:
            self._out = (address + n - 5) & 0xFF  # a table that says where it was read

    def _protected(self, address: int) -> bool:
        """By the table of the W25Q128JV's data sheet for TB = 1 and SEC = 0: the lowest 1/64, 1/32 and so on."""
        level = self.status >> 2 & 7
        return bool(self.status & 0x20 and level) and address < len(self.data) // 64 << (level - 1)

    def _end(self) -> None:
        """Chip select went up: writing commands begin."""
        if self._dead or self._taken:
            return
        command, address = self._in[0], int.from_bytes(self._in[1:4], "big") % len(self.data)
        if command == 0xAB:
            self.asleep = False
        elif command == 0x06:
            self._wel = True
        elif command == 0x50:
            self._volatile = True
        elif command == 0x01 and self._volatile and len(self._in) == 2:
            self.status, self._volatile = self._in[1] & 0xFC, False
        elif command in (0x20, 0xD8, 0x02) and self._protected(address):
            self._wel = False
        elif command in (0x20, 0xD8) and self._wel and len(self._in) == 4:
            size = 4096 if command == 0x20 else 65536
            start = address // size * size
            self.data[start : start + size] = b"\xff" * size
            self.erased.append(start)
            self._wel, self._busy = False, self.busy_cycles
        elif command == 0x02 and self._wel and len(self._in) > 4:
            page, payload = address // 256 * 256, bytes(self._in[4:])
            for at, byte in enumerate(payload[-256:]):
                self.data[page + (address + at) % 256] &= byte
            self.programmed.append((address, payload))
            self._wel, self._busy = False, self.busy_cycles
