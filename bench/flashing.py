"""An update of the iCEBreaker over its port, in the virtual board's time: against what erasing, line and programming take."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from neuroloom.boards.flash_board import FlashBoard
from neuroloom.boards.flash_file import erased_flash, write_image
from neuroloom.boards.registry import load_board
from neuroloom.host.device import connect
from neuroloom.host.flashing import FlashLoader
from neuroloom.host.golden import build_golden

from bench.benchmark import Benchmark, Say, register
from bench.results import table

TARGET = 1.15
PAGE_S, SECTOR_S, BLOCK_S = 400e-6, 45e-3, 150e-3
"""Typical times of the W25Q128JV, which the virtual board's flash has (boards/nor_flash.hpp)."""


def run(say: Say, seed: int) -> dict[str, Any]:
    """A first image into an empty slot, then another one over it; the images are golden's bits, forwards and backwards."""
    board = load_board("icebreaker")
    golden = build_golden(board, seeds=(1,), progress=say)
    image = golden.build.bitstream.read_bytes()
    speed = board.speed("loader")
    found = {}
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        flash = Path(name) / "flash.img"
        erased_flash(flash, board)
        write_image(flash, 0, golden.image.read_bytes())
        with (
            FlashBoard(board, flash, seed=seed + 1, progress=say) as running,
            connect(running.port, timeout=60) as device,
        ):
            loader = FlashLoader(device)
            for label, data in (("into an empty slot", image), ("over another image", image[::-1])):
                before = running.statistics()
                facts = loader.install(1, data)
                after = running.statistics()
                blocks = -(-len(data) // 65536)
                erase = blocks * BLOCK_S + (facts.erased - blocks) * SECTOR_S
                line, program = 10 * len(data) / speed.baud, facts.written * PAGE_S
                least = erase + max(line, program)
                took = (after.cycles - before.cycles) / speed.plan.logic_hz
                found[label] = {
                    "bytes": len(data),
                    "erase_s": round(erase, 4),
                    "line_s": round(line, 4),
                    "program_s": round(program, 4),
                    "took_s": round(took, 4),
                    "ratio": round(took / least, 3),
                    "wall_cycles_per_second": round((after.cycles - before.cycles) / (after.seconds - before.seconds)),
                }
                say(f"{label}: {took:.3f} s of the board's time, {took / least:.3f} times the least")
    return found


def render(found: dict[str, Any]) -> str:
    """One row per installation."""
    names = ("bytes", "erase_s", "line_s", "program_s", "took_s", "ratio")
    head = ["image", "bytes", "erasing, s", "line, s", "programming, s", "took, s", "ratio"]
    return f"{table(head, [[k, *(b[n] for n in names)] for k, b in found.items()])}\n\nTarget: at most {TARGET} times the least."


register(
    Benchmark("flash", "An image over the UART into a virtual iCEBreaker's flash, written and read back.", run, render)
)
