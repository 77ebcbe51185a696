"""The virtual board's flash, on its pins: a design that passes bytes from the UART to the flash and back, driven from here."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import serial
from neuroloom.boards.virtual import FlashFile, VirtualBoard
from neuroloom.compiler.errors import DeviceError

BRIDGE = """
// Four cycles per bit. The byte 0xA5 ends the transaction; 0x5A tells that the next byte is to be sent as it is, so that
// every byte can be sent. What the flash answers to a byte goes back by the UART. 0xC3 boots image 2.
module bridge(input clk, input rst, input rx, output reg tx, output flash_sck, output reg flash_cs_n, output flash_mosi,
              input flash_miso, output reg warmboot, output [1:0] warmboot_image);
    reg [1:0] rx_sync = 3; reg [5:0] rx_time = 0; reg [7:0] rx_byte; reg rx_done = 0;
    reg [5:0] tx_time = 0; reg [9:0] tx_byte = ~0;
    reg [4:0] spi_time = 0; reg [7:0] spi_byte; reg literal = 0;
    assign flash_sck = spi_time[0]; assign flash_mosi = spi_byte[7]; assign warmboot_image = 2;
    initial begin tx = 1; flash_cs_n = 1; warmboot = 0; end
    always @(posedge clk) begin
        rx_sync <= {rx_sync[0], rx}; rx_done <= 0;
        if (rx_time == 0) begin if (!rx_sync[1]) rx_time <= 1; end
        else begin
            rx_time <= rx_time == 38 ? 0 : rx_time + 1;
            if (rx_time[1:0] == 1 && rx_time < 37 && rx_time > 3) rx_byte <= {rx_sync[1], rx_byte[7:1]};
            if (rx_time == 37) rx_done <= 1;
        end
        if (spi_time != 0) begin
            spi_time <= spi_time - 1;
            if (spi_time[0]) spi_byte <= {spi_byte[6:0], flash_miso};
        end
        if (tx_time != 0) begin
            tx <= tx_byte[0]; tx_time <= tx_time - 1;
            if (tx_time[1:0] == 1) tx_byte <= {1'b1, tx_byte[9:1]};
        end else tx <= 1;
        if (spi_time == 1) begin tx_byte <= {1'b1, spi_byte[6:0], flash_miso, 1'b0}; tx_time <= 40; end
        if (rx_done) begin
            literal <= 0;
            if (!literal && rx_byte == 8'hA5) flash_cs_n <= 1;
            else if (!literal && rx_byte == 8'h5A) literal <= 1;
            else if (!literal && rx_byte == 8'hC3) warmboot <= 1;
            else begin flash_cs_n <= 0; spi_byte <= rx_byte; spi_time <= 16; end
        end
    end
endmodule
"""
SIZE, CLOCK_HZ, BAUD = 1 << 18, 4_000_000, 1_000_000
PAGE = bytes(range(100, 164)) * 4


class Wire:
    """Transactions with the flash through the bridge."""

    def __init__(self, board: VirtualBoard) -> None:
        assert board.port is not None
        self.board = board
        self.port = serial.Serial(board.port, BAUD, timeout=20)

    def __call__(self, out: bytes, count: int = 0) -> bytes:
        return self.burst((out, count))[0]

    def burst(self, *transactions: tuple[bytes, int]) -> list[bytes]:
        """Transactions back to back: no time passes between them but that on the line."""
        line = b""
        for out, count in transactions:
            for byte in out + bytes(count):
                line += (b"\x5a" if byte in b"\xa5\x5a\xc3" else b"") + bytes([byte])
            line += b"\xa5"
        self.port.write(line)
        answers = []
        for out, count in transactions:
            answer = self.port.read(len(out) + count)
            assert len(answer) == len(out) + count, "the flash bridge did not answer"
            answers.append(answer[len(out) :])
        return answers

    def wake(self) -> None:
        self(b"\xab")
        while self(b"\x9f", 3)[0] in (0x00, 0xFF):
            pass

    def ready(self) -> None:
        while self(b"\x05", 1)[0] & 1:
            pass

    def program(self, address: int, data: bytes) -> None:
        self(b"\x06")
        self(b"\x02" + address.to_bytes(3, "big") + data)

    def erase(self, address: int, command: int = 0x20) -> None:
        self(b"\x06")
        self(bytes([command]) + address.to_bytes(3, "big"))

    def read(self, address: int, count: int) -> bytes:
        return self(b"\x03" + address.to_bytes(3, "big"), count)


def board_of(path: Path, speed: float = 100, **options: Any) -> VirtualBoard:
    options = {"flash": FlashFile(path, b"\xef\x70\x12", speed), **options}
    return VirtualBoard({"bridge.v": BRIDGE}, "bridge", CLOCK_HZ, BAUD, **options)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "flash.img"
    path.write_bytes(b"\xff" * SIZE)
    return path


@pytest.fixture
def wire(image: Path) -> Iterator[Wire]:
    with board_of(image) as board:
        wire = Wire(board)
        yield wire
        wire.port.close()


def test_it_sleeps_until_it_is_woken_and_has_waited(wire: Wire) -> None:
    assert wire(b"\x9f", 3) == bytes(3)
    early, late = wire.burst((b"\xab", 0), (b"\x9f", 3), (b"\x9f", 3))[1:]
    assert early == bytes(3) and late == b"\xef\x70\x12", "140 cycles of tRES1 are over in between"
    assert wire.board.statistics().ignored == 2
    wire(b"\xb9")
    assert wire(b"\x9f", 3) == bytes(3)


def test_sfdp_says_what_the_flash_does(wire: Wire) -> None:
    wire.wake()
    head = wire(b"\x5a" + bytes(4), 16)
    assert head[:4] == b"SFDP" and head[8:12] == bytes([0, 5, 1, 11])
    table = wire(b"\x5a" + head[12:15][::-1] + b"\0", 44)
    words = [int.from_bytes(table[at : at + 4], "little") for at in range(0, 44, 4)]
    assert words[0] & 3 == 1 and words[0] >> 8 & 0xFF == 0x20 and words[1] + 1 == 8 * SIZE
    assert [(words[7] >> 8 * n & 0xFF, words[7] >> 8 * n + 8 & 0xFF) for n in (0, 2)] == [(12, 0x20), (15, 0x52)]
    assert words[8] & 0xFFFF == 0xD810 and 1 << (words[10] >> 4 & 15) == 256


def test_programming_clears_bits_wraps_in_its_page_and_needs_the_latch(wire: Wire, image: Path) -> None:
    wire.wake()
    wire(b"\x02" + (0x100).to_bytes(3, "big") + b"\0")  # not enabled
    wire.program(0x1F0, PAGE[:32])
    wire.ready()
    assert wire.read(0x1F0, 16) == PAGE[:16] and wire.read(0x100, 16) == PAGE[16:32]
    wire.program(0x1F0, b"\xf0")
    wire.ready()
    assert wire.read(0x1F0, 1)[0] == PAGE[0] & 0xF0
    assert wire.read(0x200, 300) == b"\xff" * 300
    wire.program(0x300, b"\0" * 44 + PAGE)  # of more than a page the last one counts
    wire.ready()
    assert wire.read(0x300, 256) == PAGE[212:] + PAGE[:212]
    assert image.read_bytes()[0x1F1:0x200] == PAGE[1:16]


def test_it_is_busy_for_its_time_and_ignores_what_comes_meanwhile(image: Path) -> None:
    with board_of(image, speed=0.05) as board:  # 8 ms for a page: 800 bytes on the line
        wire = Wire(board)
        wire.wake()
        program = b"\x02\0\0\0" + PAGE[:8]
        # the second latch is ignored, and with it the second page
        status = (b"\x05", 1)
        burst = [(b"\x06", 0), (program, 0), status, (b"\x03\0\0\0", 4), (b"\x06", 0), (program, 0)]
        answers = wire.burst(*burst, *[status] * 600)
        busy = [answer[0] & 1 for answer in answers[6:]]
        assert answers[2] == b"\x03" and answers[3] == bytes(4) and busy == sorted(busy, reverse=True)
        spent = 3 * 40 * busy.count(1) + 27 * 40  # the status transactions, and those before them
        assert abs(spent - 32_000) < 1_000
        assert wire.read(0, 8) == PAGE[:8] and board.statistics().programs == 1
        wire.port.close()


def test_erasing_frees_its_block_only(wire: Wire) -> None:
    wire.wake()
    for address in (0xFFF, 0x1000, 0x1FFF, 0x2000, 0x10000, 0x1FFFF, 0x20000):
        wire.program(address, b"\0")
        wire.ready()
    wire.erase(0x1234)
    wire.ready()
    assert [wire.read(at, 1)[0] for at in (0xFFF, 0x1000, 0x1FFF, 0x2000)] == [0, 255, 255, 0]
    wire.erase(0x1ABCD, 0xD8)
    wire.ready()
    assert [wire.read(at, 1)[0] for at in (0x2000, 0x10000, 0x1FFFF, 0x20000)] == [0, 255, 255, 0]


def test_protected_blocks_stay(wire: Wire) -> None:
    wire.wake()
    wire(b"\x06")
    wire(b"\x01\x64")  # SEC, TB, BP0: the lowest sector
    wire.ready()
    for address in (0xFFF, 0x1000):
        wire.program(address, b"\0")
        wire.ready()
    assert wire.read(0xFFF, 2) == b"\xff\0"
    wire.erase(0, 0xD8)
    assert not wire(b"\x05", 1)[0] & 1 and wire.read(0x1000, 1) == b"\0"


def test_a_volatile_protection_lasts_until_the_power_goes(image: Path) -> None:
    """Bottom, BP0: the lowest 64th, here one sector; by command 0x50, which needs no time, or for good."""
    flash = FlashFile(image, b"\xef\x70\x12", 100)
    for volatile, after in ((True, (0x24, 0)), (False, (0x24, 0x24))):
        with board_of(image) as board:
            wire = Wire(board)
            wire.wake()
            wire(b"\x50" if volatile else b"\x06")
            wire(b"\x01\x24")
            wire.ready()
            assert wire(b"\x05", 1) == b"\x24"
            for address in (0xFFF, 0x1000):
                wire.program(address, b"\0")
                wire.ready()
            assert wire.read(0xFFF, 2) == b"\xff\0"
            wire.port.write(b"\xc3")
            assert board.wait(20)
            wire.port.close()
        assert board.left == "boot 2" and board.flash_status == after
    for status, seen in ((0x24, b"\xff"), (0, b"\0")):  # the next image finds it as it was
        with board_of(image, flash=replace(flash, status=status)) as board:
            wire = Wire(board)
            wire.wake()
            wire.program(0x10, b"\0")
            wire.ready()
            assert wire.read(0x10, 1) == seen
            wire.port.close()


def test_other_makers_have_no_volatile_status(image: Path) -> None:
    with board_of(image, flash=FlashFile(image, b"\x20\xba\x12", 100)) as board:
        wire = Wire(board)
        wire.wake()
        ignored = board.statistics().ignored
        wire(b"\x50")
        wire(b"\x01\x24")
        assert wire(b"\x05", 1) == b"\0" and board.statistics().ignored == ignored + 2
        wire.port.close()


@pytest.mark.parametrize("what", ["program", "erase"])
def test_a_power_cut_leaves_it_half_done(what: str, image: Path) -> None:
    before = PAGE * 16
    image.write_bytes(b"\xff" * 4096 + before + b"\xff" * (SIZE - 8192))
    left: list[str] = []
    speed = 0.005 if what == "program" else 0.05  # 80 ms for a page, 0.9 s for a sector
    with board_of(image, speed=speed, on_left=left.append) as board:
        wire = Wire(board)
        wire.wake()
        now = board.statistics().cycles
        if what == "program":
            wire.program(0, bytes(256))
            board.cut_power(now + 40 * 260 + CLOCK_HZ * 4 // 100)
        else:
            wire.erase(0x1000)
            board.cut_power(now + CLOCK_HZ * 9 // 20 * 3 // 2)
        assert board.wait(30)
        wire.port.close()
    after = image.read_bytes()
    assert board.left == "off" and left == ["off"]
    torn = after[:256] if what == "program" else after[0x1000:0x2000]
    old, new = (b"\xff" * 256, bytes(256)) if what == "program" else (before, b"\xff" * 4096)
    assert torn not in (old, new) and len(set(torn)) > 16
    rest = after[256:] if what == "program" else after[:0x1000] + after[0x2000:]
    assert rest == (b"\xff" * (4096 - 256) + before if what == "program" else b"\xff" * 4096) + b"\xff" * (SIZE - 8192)


def test_booting_ends_the_board_and_a_terminal_may_outlive_it(image: Path, pty_master: Callable[[], int]) -> None:
    terminal = pty_master()
    ports = set()
    for _ in range(2):
        with board_of(image, terminal=terminal) as board:
            ports.add(board.port)
            with serial.Serial(board.port, BAUD, timeout=20) as port:
                port.write(b"\xc3")
                assert board.wait(20)
        assert board.left == "boot 2"
    assert len(ports) == 1


def test_a_flash_file_must_be_there_and_free(image: Path, tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match=r"cannot open the flash file .*absent.img"):
        board_of(tmp_path / "absent.img").start()
    with board_of(image):
        with pytest.raises(DeviceError, match="another virtual board has the flash file"):
            board_of(image).start()
    image.write_bytes(bytes(100_000))
    with pytest.raises(DeviceError, match="the size of the flash file .* must be a power of two"):
        board_of(image).start()


def test_an_idle_board_is_quick_as_long_as_it_is_eager(image: Path) -> None:
    with board_of(image, eager_s=0.5) as board:
        deadline = time.monotonic() + 20
        while board.statistics().cycles < CLOCK_HZ // 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert board.statistics().cycles_per_second > 1_000_000
