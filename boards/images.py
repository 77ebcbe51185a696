"""From the bytes of an image in a flash to something that runs: its RTL, if it was built here, or the logic of its very bits."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neuroloom.boards import cache, emulate
from neuroloom.boards.board import BOOT_PORTS, CHIP_FLASH_PORTS, FLASH_PORTS, Board
from neuroloom.boards.cell_models import cell_models
from neuroloom.boards.ecp5_image import check_head
from neuroloom.boards.ice40.bitstream import parse
from neuroloom.boards.virtual import VirtualBoard
from neuroloom.compiler.errors import InputError

FIDELITIES = ("rtl", "netlist", "bitstream")
"""What a virtual board with a flash runs of an image: the RTL it was built from, the cells it was synthesised to, or its bits
unpacked."""

LARGEST_IMAGE = 1 << 18
"""Bytes that are looked at; an iCE40 image has at most 135,100 and a record."""

_ICE40_CELLS = """
// What the RTL of a board has beside logic: a PLL gives its clock on (the virtual board's clock is the logic's), a warm boot
// request is looked at from outside.
module SB_PLL40_PAD #(parameter FEEDBACK_PATH="SIMPLE", DIVR=0, DIVF=0, DIVQ=0, FILTER_RANGE=0)
  (input PACKAGEPIN, RESETB, BYPASS, output PLLOUTGLOBAL, LOCK);
  assign PLLOUTGLOBAL = PACKAGEPIN; assign LOCK = RESETB;
endmodule
module SB_PLL40_CORE #(parameter FEEDBACK_PATH="SIMPLE", DIVR=0, DIVF=0, DIVQ=0, FILTER_RANGE=0)
  (input REFERENCECLK, RESETB, BYPASS, output PLLOUTGLOBAL, LOCK);
  assign PLLOUTGLOBAL = REFERENCECLK; assign LOCK = RESETB;
endmodule
module SB_WARMBOOT(input BOOT, S0, S1);
endmodule
"""

_ECP5_CELLS = """
// What the RTL of a board has beside logic: a PLL gives its clock on (the virtual board's clock is the logic's), the flash's clock
// is looked at from outside.
module EHXPLLL #(parameter CLKI_DIV=1, CLKFB_DIV=1, CLKOP_DIV=1, CLKOP_CPHASE=0, CLKOP_FPHASE=0, PLLRST_ENA="", INTFB_WAKE="",
  STDBY_ENABLE="", DPHASE_SOURCE="", OUTDIVIDER_MUXA="", OUTDIVIDER_MUXB="", OUTDIVIDER_MUXC="", OUTDIVIDER_MUXD="",
  CLKOP_ENABLE="", CLKOS_ENABLE="", CLKOS_DIV=1, CLKOS_CPHASE=0, CLKOS_FPHASE=0, FEEDBK_PATH="")
  (input CLKI, CLKFB, RST, STDBY, PHASESEL0, PHASESEL1, PHASEDIR, PHASESTEP, PHASELOADREG, PLLWAKESYNC, ENCLKOP, ENCLKOS,
   output CLKOP, CLKOS, LOCK);
  assign CLKOP = CLKI; assign CLKOS = CLKI; assign LOCK = ~RST;
endmodule
module USRMCLK(input USRMCLKI, USRMCLKTS);
endmodule
"""

CELLS: Mapping[str, str] = {"ice40": _ICE40_CELLS, "ecp5": _ECP5_CELLS, "gowin": ""}
"""Models of the cells around the logic, by family."""


@dataclass(frozen=True)
class Design:
    """What runs an image: Verilog files by name, the top module, its clock in hertz and its line rate in baud."""

    files: Mapping[str, str]
    top: str
    clock_hz: int
    baud: int
    next_image: int | None = None
    """Address of the image that it boots, where the bitstream and not the gateware says so."""


Designs = Callable[[bytes], Design]
"""Takes what stands in the flash from an image's first byte on; raises InputError where that is no image."""


def designs_of(board: Board, fidelity: str, *, seed: int = 1) -> Designs:
    """How images of ``board`` become designs; raises InputError for an unknown fidelity."""
    if fidelity not in FIDELITIES:
        raise InputError(f"fidelity must be one of {', '.join(FIDELITIES)}, not {fidelity!r}")
    if fidelity != "rtl" and board.family not in emulate.READERS:
        raise InputError(
            f"fidelity must be rtl with a flash for {board.name}, whose bitstreams are not read back and whose cells are simulated"
            " without their PLL only; leave --fidelity out"
        )
    if fidelity != "bitstream":
        return lambda data: built_design(data, board, netlist=fidelity == "netlist")
    return lambda data: unpacked_design(data, board, seed)


def emulate_image(
    image: Path,
    board: Board,
    fidelity: str,
    *,
    seed: int = 1,
    progress: Callable[[str], None] | None = None,
    **options: Any,
) -> VirtualBoard:
    """The virtual board, without a flash, that runs a bitstream file at a fidelity of :data:`FIDELITIES`; not started yet.

    Its bits are unpacked, or looked up in the cache of builds. ``options`` as for :class:`VirtualBoard`. Raises as
    :func:`designs_of` and what it returns do.
    """
    if fidelity == "bitstream":
        return emulate.emulate_bitstream(image, board, seed=seed, progress=progress, **options)
    emulate.check_readable(board)
    if not image.is_file():
        raise InputError(f"Bitstream must be a file, not {str(image)!r}; build one first")
    design = designs_of(board, fidelity, seed=seed)(image.read_bytes())
    return VirtualBoard(
        *(design.files, design.top, design.clock_hz, design.baud), seed=seed, progress=progress, **options
    )


def image_size(data: bytes) -> int:
    """Bytes of the image that ``data`` begins with, up to its wake-up command; raises InputError where there is none."""
    return parse(data[:LARGEST_IMAGE]).size


def built_design(data: bytes, board: Board, *, netlist: bool = False) -> Design:
    """The RTL, or the cells, of the build whose bitstream stands in ``data``, byte for byte.

    Raises InputError when ``data`` holds no whole image, or one that is not in the cache of builds.
    """
    if board.family == "ice40":
        whole = f" of {image_size(data):,} bytes"
    else:
        if board.family == "ecp5":
            check_head(data, board.device, board.name)
        whole = ""
    for record_path in (cache.cache_root() / "build").glob("*/build.json"):
        entry = cache.lookup("build", record_path.parent.name)
        if entry is None:
            continue
        record = json.loads((entry / "build.json").read_text(encoding="utf-8"))
        bitstream = entry / record["bitstream"]
        if record["board"] != board.name:
            continue
        image = bitstream.read_bytes()
        if data[: len(image)] == image:
            return _built_design(entry, record["clock_hz"], record.get("next_image"), board, netlist)
    hint = "use --fidelity bitstream" if board.family in emulate.READERS else "build it again here"
    raise InputError(
        f"image must be one that was built on this machine to run as RTL or netlist, and this one{whole} is not in the cache of"
        f" builds; {hint}"
    )


def _built_design(entry: Path, clock_hz: int, next_image: int | None, board: Board, netlist: bool) -> Design:
    around = CELLS[board.family]
    if netlist:
        cells = (entry / "netlist.v").read_text(encoding="utf-8")
        kinds = set(re.findall(r"^  ([A-Z]\w+) ", cells, re.MULTILINE)) - set(re.findall(r"module (\w+)", around))
        files = {"netlist.v": cells, "models.v": cell_models(board.family, kinds)}
    else:
        sources = [
            path for path in sorted(entry.iterdir()) if path.suffix in (".v", ".sv") and path.name != "netlist.v"
        ]
        files = {path.name: path.read_text(encoding="utf-8") for path in sources}
    top = files["netlist.v" if netlist else "top.v"]
    baud = next(speed.baud for speed in board.speeds.values() if speed.plan.logic_hz == clock_hz)
    files = {**files, "cells.v": around, "board.v": _wrapper(top, board)}
    return Design(files, "board", clock_hz, baud, next_image)


def _wrapper(top: str, board: Board) -> str:
    """The board's pins, and what the design asks of its warm boot cell."""
    width = len(board.leds.pins)
    head = top[top.index("module top(") : top.index(");", top.index("module top("))].replace("module top(", "")
    ports = {name.strip() for name in head.split(",")}
    inputs = {"clk", "rx", "flash_miso"}
    own = CHIP_FLASH_PORTS.get(board.family, ())
    inner = {*BOOT_PORTS.get(board.family, ()), *(port for port in own if port not in FLASH_PORTS)}
    strange = sorted(ports - {"tx", "leds", *inputs, *FLASH_PORTS, *inner})
    if strange:
        raise InputError(
            f"image must use the pins of clock, UART, LEDs and flash only to run as RTL or netlist, not {', '.join(strange)};"
            " use --fidelity bitstream"
        )
    shown = sorted(ports - inner)
    lines = [
        f"  {'input' if name in inputs else 'output'} {f'[{width - 1}:0] ' if name == 'leds' else ''}{name}"
        for name in shown
    ]
    more, watch = _watched(top, ports, board.family)
    connections = ", ".join(
        [f".{name}({name})" for name in shown] + [f".{name}({name})" for name in sorted(ports & inner)]
    )
    wires = "".join(f"  wire {name};\n" for name in sorted(ports & inner))
    body = f"{wires}  top chip ({connections});\n{watch}endmodule\n"
    return "module board(\n" + ",\n".join(lines + more) + ");\n" + body


def _watched(top: str, ports: set[str], family: str) -> tuple[list[str], str]:
    """Further ports of a board around ``top``, and what drives them: its wish to boot, and a flash clock without a pin."""
    lines, watch = [], ""
    if family == "ice40" and "SB_WARMBOOT" in top:
        chosen = re.search(r"SB_WARMBOOT[^;]*\.S0\(", top) is not None  # open pins are 0
        image = "{chip.warmboot_cell.S1, chip.warmboot_cell.S0}" if chosen else "2'd0"
        lines += ["  output warmboot", "  output [1:0] warmboot_image"]
        watch += f"  assign warmboot = chip.warmboot_cell.BOOT; assign warmboot_image = {image};\n"
    if "program_n" in ports:
        lines += ["  output warmboot", "  output [1:0] warmboot_image"]
        watch += "  assign warmboot = ~program_n; assign warmboot_image = 2'd0;\n"
    if "USRMCLK" in top:
        lines += ["  output flash_sck"]
        watch += "  assign flash_sck = chip.usrmclk.USRMCLKI;\n"
    return lines, watch


def unpacked_design(data: bytes, board: Board, seed: int) -> Design:
    """The logic of the image's bits, as :func:`neuroloom.boards.emulate.emulate_bitstream` runs it, with flash and warm boot.

    Raises what that raises.
    """
    emulate.check_readable(board)
    with tempfile.TemporaryDirectory(prefix="neuroloom-image-") as folder:
        image = Path(folder) / "image.bin"
        image.write_bytes(data[: image_size(data)])
        files, speed = emulate.read_back(image, board, seed)
    return Design(files, "board", speed.plan.logic_hz, speed.baud)
