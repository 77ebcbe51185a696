"""A loop-back engine, its identity, a private cache, and a minimal independent encoder of link frames."""

from __future__ import annotations

import os
import struct
import tty
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import serial
from amaranth.hdl import Instance, Module
from amaranth.lib import stream, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out
from neuroloom.boards.build import BuildResult, build
from neuroloom.boards.registry import load_board
from neuroloom.rtl.link.protocol import Identity


class LoopbackEngine(wiring.Component):
    """Gives back the bytes it takes, in order."""

    def __init__(self) -> None:
        super().__init__({"i": In(stream.Signature(8)), "o": Out(stream.Signature(8)), "reset": In(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.fifo = fifo = SyncFIFOBuffered(width=8, depth=512)
        m.d.comb += [
            fifo.w_data.eq(self.i.payload),
            fifo.w_en.eq(self.i.valid),
            self.i.ready.eq(fifo.w_rdy),
            self.o.payload.eq(fifo.r_data),
            self.o.valid.eq(fifo.r_rdy),
            fifo.r_en.eq(self.o.ready),
        ]
        return m


class InvertingEngine(wiring.Component):
    """An engine whose inside is Verilog text: every byte comes back with its bits inverted."""

    extra_files = {"invert.v": "module invert(input [7:0] a, output [7:0] y); assign y = ~a; endmodule\n"}

    def __init__(self) -> None:
        super().__init__({"i": In(stream.Signature(8)), "o": Out(stream.Signature(8)), "reset": In(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.invert = Instance("invert", i_a=self.i.payload, o_y=self.o.payload)
        m.d.comb += [self.o.valid.eq(self.i.valid), self.i.ready.eq(self.o.ready)]
        return m


@pytest.fixture(scope="session")
def inverting() -> Callable[[], InvertingEngine]:
    return InvertingEngine


@pytest.fixture(scope="session")
def small_build(
    identity: Identity, private_cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[BuildResult, list[str], Path]:
    """(result, what progress said, output folder) of one real iCEBreaker build with one seed."""
    out = tmp_path_factory.mktemp("out")
    said: list[str] = []
    result = build(InvertingEngine, identity, load_board("icebreaker"), seeds=(1,), out_dir=out, progress=said.append)
    return result, said, out


@pytest.fixture(scope="session")
def loopback() -> Callable[[], LoopbackEngine]:
    return LoopbackEngine


@pytest.fixture(scope="session")
def identity() -> Identity:
    return Identity("loopback", "any", bytes(range(32)), bytes_in=1, bytes_out=1, clock_hz=1)


@pytest.fixture(scope="session", autouse=True)
def private_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Builds of the tests neither find nor leave anything in the user's cache."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEUROLOOM_CACHE", str(folder))
        yield folder


class Frames:
    """Frames written from the protocol's description, without the host's code."""

    SYNC, PING, IDENTIFY, RUN = 0x01, 0x02, 0x03, 0x10

    @staticmethod
    def encode(command: int, sequence: int, argument: int = 0, payload: bytes = b"") -> bytes:
        body = struct.pack("<BBH", command, sequence, argument) + payload
        body += struct.pack("<I", zlib.crc32(body))
        out = bytearray(b"\0")
        for block in body.split(b"\0"):
            while len(block) >= 254:
                out += b"\xff" + block[:254]
                block = block[254:]
            out += bytes([len(block) + 1]) + block
        return bytes(out + b"\0")

    @staticmethod
    def decode(line: bytes) -> tuple[int, int, int, bytes]:
        """(command, sequence, status, payload) of the bytes between two borders; the CRC must be right."""
        body = bytearray()
        at = 0
        while at < len(line):
            code = line[at]
            body += line[at + 1 : at + code]
            at += code
            if code < 255 and at < len(line):
                body += b"\0"
        assert zlib.crc32(bytes(body[:-4])) == struct.unpack("<I", body[-4:])[0]
        return body[0], body[1], body[2], bytes(body[4:-4])

    @classmethod
    def ask(
        cls, port: serial.Serial, command: int, sequence: int, argument: int = 0, payload: bytes = b""
    ) -> tuple[int, int, int, bytes]:
        """Send one request and decode the next frame that comes back."""
        port.write(cls.encode(command, sequence, argument, payload))
        line = b""
        while not line:
            line = port.read_until(b"\0")
            assert line, "the virtual board did not answer"
            line = line.rstrip(b"\0")
        return cls.decode(line)


@pytest.fixture(scope="session")
def frames() -> type[Frames]:
    return Frames


@pytest.fixture
def pty_master() -> Iterator[Callable[[], int]]:
    """Master sides of new pseudo-terminals, closed at the end."""
    opened: list[int] = []

    def make() -> int:
        master, slave = os.openpty()
        os.set_inheritable(master, True)
        tty.setraw(slave)
        os.close(slave)
        opened.append(master)
        return master

    yield make
    for fd in opened:
        os.close(fd)
