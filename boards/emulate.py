"""Virtual boards of real ones: from an engine's RTL, or from a bitstream file exactly as it would be flashed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

from neuroloom.boards import emit
from neuroloom.boards.board import FLASH_PORTS, Board, Speed
from neuroloom.boards.build import make_top
from neuroloom.boards.flows import pin_names
from neuroloom.boards.gowin.unpack import unpack as unpack_gowin
from neuroloom.boards.ice40.unpack import unpack as unpack_ice40
from neuroloom.boards.readback.module import identifier
from neuroloom.boards.readback.unpacked import Unpacked
from neuroloom.boards.top_netlist import netlist_of
from neuroloom.boards.virtual import VirtualBoard
from neuroloom.compiler.errors import InputError, UnsupportedError
from neuroloom.rtl.link.protocol import Identity


def emulate(
    engine_factory: Callable[[], Any],
    identity: Identity,
    board: Board,
    *,
    extra_files: Mapping[str, str] | None = None,
    progress: Callable[[str], None] | None = None,
    **options: Any,
) -> VirtualBoard:
    """The virtual board that runs ``engine_factory()`` behind the link shell as ``board`` would; not started yet.

    Arguments as for :func:`neuroloom.boards.build.build`, ``options`` as for :class:`VirtualBoard`; the RTL is the board's
    without its PLL.
    """
    if progress is not None:
        progress("elaborating")
    engine = engine_factory()
    top, own = make_top(engine, identity, board, simulation=True)
    files = {"top.v": emit.to_verilog(top), **getattr(engine, "extra_files", {}), **(extra_files or {})}
    return VirtualBoard(files, "top", own.clock_hz, own.baud, progress=progress, **options)


def emulate_netlist(
    engine_factory: Callable[[], Any],
    identity: Identity,
    board: Board,
    *,
    extra_files: Mapping[str, str] | None = None,
    progress: Callable[[str], None] | None = None,
    **options: Any,
) -> VirtualBoard:
    """The virtual board that runs the cells which Yosys makes of the same RTL for the board's family; not started yet.

    Arguments as for :func:`emulate`. Raises UnsupportedError naming cells without a model, MissingToolError and
    ToolFailedError.
    """
    if progress is not None:
        progress("elaborating")
    engine = engine_factory()
    top, own = make_top(engine, identity, board, simulation=True)
    sources = {**getattr(engine, "extra_files", {}), **(extra_files or {})}
    files = netlist_of(emit.to_rtlil(top), sources, board, progress)
    return VirtualBoard(files, "top", own.clock_hz, own.baud, progress=progress, **options)


def emulate_bitstream(
    image: Path,
    board: Board,
    *,
    seed: int = 1,
    progress: Callable[[str], None] | None = None,
    **options: Any,
) -> VirtualBoard:
    """The virtual board that runs the logic read back from the packed bitstream ``image``; not started yet.

    The clock is the board's oscillator times the ratio that the bitstream's own PLL is set to, the line rate the one
    ``board`` has at that clock. ``options`` as for :class:`VirtualBoard`. Raises InputError for a file that is no bitstream
    of this board, UnsupportedError for families that cannot be read back, MissingToolError without IceStorm's or Apicula's tables.
    """
    check_readable(board)
    if progress is not None:
        progress("reading the bitstream back")
    if not image.is_file():
        raise InputError(f"Bitstream must be a file, not {str(image)!r}; build one first")
    files, speed = read_back(image, board, seed)
    return VirtualBoard(files, "board", speed.plan.logic_hz, speed.baud, seed=seed, progress=progress, **options)


def read_back(image: Path, board: Board, seed: int) -> tuple[dict[str, str], Speed]:
    """The logic of a bitstream as Verilog with module ``board`` at its top, and its clock; raises as :func:`emulate_bitstream`."""
    if board.flash.layout is not None:
        board = board.with_flash_pins()
    unpacked = READERS[board.family](image, board)
    speed = _speed(unpacked, board, image)
    files = {"chip.v": unpacked.verilog, "board.v": _wrapper(unpacked, board, image, seed)}
    return {**files, **({"models.v": unpacked.models} if unpacked.models else {})}, speed


def _read_ice40(image: Path, board: Board) -> Unpacked:
    return unpack_ice40(image, package=board.package, pcf=pin_names(board), module="chip")


def _read_gowin(image: Path, board: Board) -> Unpacked:
    return unpack_gowin(image, part=board.package, names=pin_names(board), module="chip")


READERS: Mapping[str, Callable[[Path, Board], Unpacked]] = {"ice40": _read_ice40, "gowin": _read_gowin}
"""By family, what reads a bitstream file back, with the pins of the board's designs named."""

UNREADABLE = {"ecp5": ", with --fidelity netlist for its cells: ecpunpack gives the settings of tiles, not a netlist"}
"""Why bitstreams of other families cannot be read back, and what comes nearest."""


def check_readable(board: Board) -> None:
    """Raise UnsupportedError for a board whose bitstreams cannot be read back."""
    if board.family not in READERS:
        raise UnsupportedError(
            f"Bitstream must be for an iCE40 or a Gowin board to be read back, not for {board.name} ({board.family}); "
            f"emulate the model instead{UNREADABLE.get(board.family, '')}"
        )


def _speed(unpacked: Unpacked, board: Board, image: Path) -> Speed:
    """The board's speed whose clock the bitstream's PLL makes."""
    ratios = {ratio for pll in unpacked.plls for ratio in pll.ratio.values()} or {Fraction(1)}
    for speed in board.speeds.values():
        if ratios == {Fraction(speed.plan.logic_hz, speed.plan.input_hz)}:
            return speed
    made = ", ".join(f"{float(ratio) * board.speed().plan.input_hz / 1e6:.3f} MHz" for ratio in sorted(ratios))
    raise InputError(
        f"Bitstream {image.name} must run at a clock of {board.name}, not at {made}; was it built for another board?"
    )


def _wrapper(unpacked: Unpacked, board: Board, image: Path, seed: int) -> str:
    """A module with the ports of the simulated top around the chip's pins."""
    wanted = {"clk": "input", "rx": "input", "tx": "output"}
    for name, direction in wanted.items():
        port = unpacked.ports.get(name)
        if port is None or port.direction != direction:
            pin = {"clk": board.clock, "rx": board.uart_rx, "tx": board.uart_tx}[name].pins[0]
            raise InputError(
                f"Bitstream {image.name} must have {name} as {direction} on pin {pin} of {board.name}, and does not; "
                "was it built for another board?"
            )
    connections = [f".{name}({name})" for name in wanted]
    lights = []
    for index in range(len(board.leds.pins)):
        name = f"leds[{index}]" if len(board.leds.pins) > 1 else "leds"
        port = unpacked.ports.get(name)
        if port is not None and port.direction == "output":
            connections.append(f".{identifier(name)}(leds[{index}])")
        else:
            lights.append(f"  assign leds[{index}] = 1'b0;\n")
    width = len(board.leds.pins)
    extra, watched = _boot_ports(unpacked)
    return (
        f"module board(input clk, input rx, output tx, output [{width - 1}:0] leds{extra});\n{''.join(lights)}"
        f"  chip #(.SEED(32'd{seed % (1 << 32)})) chip ({', '.join([*connections, *watched])});\nendmodule\n"
    )


def _boot_ports(unpacked: Unpacked) -> tuple[str, list[str]]:
    """Further ports of the board and their connections: the flash's pins if the design uses them, and the warm boot cell."""
    ports, connections = "", []
    wanted = {name: "input" if name == "flash_miso" else "output" for name in FLASH_PORTS}
    found = {name: unpacked.ports.get(name) for name in wanted}
    if all(port is not None and port.direction == wanted[name] for name, port in found.items()):
        ports += "".join(f", {direction} {name}" for name, direction in wanted.items())
        connections += [f".{name}({name})" for name in wanted]
    if "warmboot_boot" in unpacked.ports:
        ports += ", output warmboot, output [1:0] warmboot_image"
        connections += [
            ".warmboot_boot(warmboot)",
            ".warmboot_s0(warmboot_image[0])",
            ".warmboot_s1(warmboot_image[1])",
        ]
    return ports, connections
