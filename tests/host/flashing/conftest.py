"""A virtual iCEBreaker with a flash for these tests: golden that does not wait long, and images whose guard is short."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from neuroloom.boards import emit
from neuroloom.boards.build import make_top
from neuroloom.boards.flash_board import FlashBoard
from neuroloom.boards.flash_file import erased_flash, write_image
from neuroloom.boards.images import Design
from neuroloom.boards.registry import load_board
from neuroloom.boards.virtual import VirtualBoard
from neuroloom.compiler.errors import InputError
from neuroloom.host.golden import golden_design
from neuroloom.rtl.flash.layout import golden_image
from neuroloom.rtl.link.protocol import BOOTS, GUARDED, Identity

START_S, GUARD_S = 0.03, 0.12
"""Of golden and of the guarded image, in the board's seconds; a real one waits 1 and 10. A host on a busy machine must make it."""

CAMPAIGN_SEED = int(os.environ.get("NEUROLOOM_SEED", "0")) or int(time.time())
"""Of the campaigns, which print it."""
PATIENCE_S = 60.0
"""A host's, where an answer is certain to come: a busy machine may take its time."""

GOLDEN = b"\x7e\xaa\x99\x7e golden"


class Echo(wiring.Component):
    """Gives bytes back."""

    def __init__(self) -> None:
        super().__init__({"i": In(stream.Signature(8)), "o": Out(stream.Signature(8)), "reset": In(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.d.comb += [self.o.payload.eq(self.i.payload), self.o.valid.eq(self.i.valid), self.i.ready.eq(self.o.ready)]
        return m


def image_of(seed: int, size: int = 3000) -> bytes:
    """Bytes that stand for a bitstream."""
    return b"\x7e\xaa\x99\x7e" + np.random.default_rng(seed).integers(0, 256, size - 4, np.uint8).tobytes()


IMAGES = {"attended": image_of(1), "unattended": image_of(2), "mute": image_of(3)}
BOOT = {"attended": BOOTS | GUARDED, "unattended": BOOTS}


def identity_of(kind: str) -> Identity:
    return Identity("loopback", "icebreaker", kind.encode().ljust(32), 1, 1, 24_000_000, boot=BOOT[kind])


@pytest.fixture(scope="session")
def designs() -> Callable[[bytes], Design]:
    """What stands in the flash, by its bytes: golden, an image that goes back unless confirmed, one that stays, and one that is
    configured but says nothing and has no guard."""
    board = load_board("icebreaker")
    speed = board.speed("loader")

    def simulated(engine: Any, identity: Identity, **options: Any) -> Design:
        top, _ = make_top(engine, identity, board, simulation=True, **options)
        return Design({"top.v": emit.to_verilog(top)}, "top", speed.plan.logic_hz, speed.baud)

    factory, identity = golden_design(board, start_seconds=START_S)
    guard = {"guard_cycles": round(GUARD_S * speed.plan.logic_hz)}
    known = {
        GOLDEN: simulated(factory(), identity),
        IMAGES["attended"]: simulated(Echo(), identity_of("attended"), **guard),
        IMAGES["unattended"]: simulated(Echo(), identity_of("unattended")),
        IMAGES["mute"]: Design(
            {"mute.v": "module mute(input clk, input rst, input rx, output tx); assign tx = 1; endmodule\n"},
            "mute",
            speed.plan.logic_hz,
            speed.baud,
        ),
    }

    for design in known.values():  # a host does not wait for compilers
        VirtualBoard(design.files, design.top, design.clock_hz, design.baud).compile()

    def find(data: bytes) -> Design:
        for image, design in known.items():
            if data[: len(image)] == image:
                return design
        raise InputError("there is no such image")

    return find


@pytest.fixture
def flash(tmp_path: Path) -> Path:
    """A flash with golden in it."""
    path = tmp_path / "flash.img"
    board = load_board("icebreaker")
    erased_flash(path, board)
    write_image(path, 0, golden_image(board.layout, GOLDEN))
    return path


@pytest.fixture
def board(flash: Path, designs: Callable[[bytes], Design]) -> Iterator[FlashBoard]:
    """The board, off; its flash is fifty times as fast as a real one."""
    board = FlashBoard(load_board("icebreaker"), flash, designs=designs, flash_speed=50.0, eager_s=0.5)
    yield board
    board.stop()


@pytest.fixture
def images() -> dict[str, bytes]:
    return dict(IMAGES)
