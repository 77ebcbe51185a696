"""Run the virtual board: RTL, or a bitstream's very logic, behind a serial port of this machine."""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import subprocess
import threading
from pathlib import Path
from typing import Any

from neuroloom.boards.faults import FORMS, LineFaults
from neuroloom.boards.flash_board import FlashBoard
from neuroloom.boards.images import FIDELITIES, emulate_image
from neuroloom.boards.registry import load_board
from neuroloom.boards.virtual import VirtualBoard
from neuroloom.compiler.errors import InputError
from neuroloom.host.flash_emulation import flash_board, wait_for_start
from neuroloom.host.flow import board_of, emulate_core, emulate_model

from neuroloom.model import load

from .emulate_control import CONTROL, AnyBoard, Control
from .ui import Ui

BITSTREAMS = (".bin", ".bit", ".fs")
FAULT_HELP = (
    "what goes wrong on the serial line, drawn from the seed: "
    + ", ".join(f"{name}={form}" for name, form in FORMS.items())
    + "; with to. or from. before the name for one direction. RATE is per bit (ber) or byte. "
    "For example ber=1e-4,from.stall=1e-3:20ms,baud=-1.5%%"
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's options."""
    parser.add_argument(
        "design", metavar="M.nloom|X.bin", nargs="?", help="a compiled model (RTL), or an iCE40 bitstream"
    )
    parser.add_argument(
        "--core", metavar="PROFILE", help="the board's spiking core of this profile, with nothing loaded"
    )
    parser.add_argument("--board", metavar="B", help="see 'neuroloom boards' (default: the one compiled for)")
    parser.add_argument("--link", metavar="PATH", help="make PATH a link to the serial port while it exists")
    parser.add_argument(
        "--then",
        metavar="COMMAND",
        help="run COMMAND, with {port} replaced, and stop with its exit code; with --flash when golden has started what it is to "
        "start",
    )
    parser.add_argument("--register-interval", type=int, metavar="R", help="LUT levels between pipeline registers")
    parser.add_argument("--seed", type=int, default=1, help="random content of memories and registers (default 1)")
    parser.add_argument("--pace", action="store_true", help="no faster than the real board")
    parser.add_argument(
        "--flash",
        metavar="FLASH.img",
        help="the board with its SPI flash, whose content is this file: golden starts, images boot each other, the power may be "
        "cut. A file that does not exist is made with golden in it; a design that is given goes into slot 1 and is started",
    )
    parser.add_argument(
        "--standalone",
        action="store_true",
        help="with --flash and M.nloom: the network stands in the flash, too, and its engine loads it without any host",
    )
    parser.add_argument(
        "--fidelity",
        choices=FIDELITIES,
        help="run the RTL (default), the cells that synthesis makes of it, or the bits of the bitstream, unpacked (default for "
        "X.bin and X.fs, whose RTL and cells are looked up in the cache of builds)",
    )
    parser.add_argument(
        "--flash-speed", type=float, metavar="F", help="with --flash: erase and program F times as fast as a real one"
    )
    parser.add_argument(
        "--fault",
        metavar="SPEC",
        action="append",
        default=[],
        help=FAULT_HELP,
    )


def run(args: argparse.Namespace, ui: Ui) -> int:
    """Start, print the port, and stay until interrupted."""
    link = Path(args.link) if args.link else None
    faults = LineFaults.parse(*args.fault)

    def moved(port: str) -> None:
        """The port came back under another name."""
        if link:
            _make_link(link, port)

    with ui.status("preparing the virtual board") as say:
        options = {"seed": args.seed, "pace": args.pace, "faults": faults, "on_port": moved}
        board = _board(args, {**options, "on_event": ui.note, "progress": say})
        port = board.start()
    if board.cached:
        ui.note("simulation found in the cache")
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    try:
        if link:
            _make_link(link, port)
        if args.fault:
            ui.note(f"line faults: {board.faults}, seed {args.seed}")
        if args.then:
            if isinstance(board, FlashBoard):
                wait_for_start(board)
            return _then(args.then, port)
        ui.say(f"serial port {port}" + (f" (also {link})" if link else ""))
        ui.result({"port": port})
        ui.note(f"stop with Ctrl-C; commands: {', '.join(one.usage for one in CONTROL.values())}")
        with Control(board, ui.note):
            while board.running and not stop.wait(0.2):
                pass
        if isinstance(board, VirtualBoard) and board.left:
            ui.note(f"the design asked for another image ({board.left}), which only a board with --flash has")
        return 0
    finally:
        if link and link.is_symlink():
            link.unlink()
        facts = board.stop()
        if facts:
            ui.note(f"{facts.cycles:,} cycles, {facts.cycles_per_second:,.0f} cycles/s")


def _board(args: argparse.Namespace, options: dict[str, Any]) -> AnyBoard:
    if args.flash:
        return _flash_board(args, options)
    options.pop("on_event")
    if args.flash_speed is not None:
        raise InputError("--flash-speed must come with --flash")
    if args.standalone:
        raise InputError("--standalone must come with --flash, which holds the network")
    if (args.core is None) == (args.design is None):
        raise InputError("either a model, a bitstream or --core PROFILE must be given, and one only")
    if args.core:
        if not args.board:
            raise InputError("--board must be given with --core")
        return emulate_core(args.core, args.board, fidelity=args.fidelity or "rtl", **options)
    path = Path(args.design)
    if path.suffix in BITSTREAMS:
        if not args.board:
            raise InputError("--board must be given with a bitstream")
        return emulate_image(path, load_board(args.board), args.fidelity or "bitstream", **options)
    model = load(path)
    board = board_of(model.graph, args.board)
    options["fidelity"] = args.fidelity or "rtl"
    return emulate_model(model.graph, board.name, register_interval=args.register_interval, **options)


def _flash_board(args: argparse.Namespace, options: dict[str, Any]) -> AnyBoard:
    for option in ("core", "register_interval"):
        if getattr(args, option) is not None:
            raise InputError(f"--{option.replace('_', '-')} must be left out with --flash, which holds what was built")
    speed = 1.0 if args.flash_speed is None else args.flash_speed
    if not speed > 0:
        raise InputError(f"--flash-speed must be above 0, not {speed:g}")
    return flash_board(
        Path(args.flash),
        args.board,
        Path(args.design) if args.design else None,
        standalone=args.standalone,
        fidelity=args.fidelity or "rtl",
        flash_speed=speed,
        **options,
    )


def _make_link(link: Path, port: str) -> None:
    if link.exists() and not link.is_symlink():
        raise InputError(f"--link must not be an existing file: {link}")
    link.unlink(missing_ok=True)
    os.symlink(port, link)


def _then(command: str, port: str) -> int:
    """Run a command line without a shell; its exit code is ours."""
    words = [word.replace("{port}", port) for word in shlex.split(command)]
    if not words:
        raise InputError("--then must hold a command")
    try:
        return subprocess.run(words, check=False).returncode
    except OSError as e:
        raise InputError(f"--then: {words[0]}: {e.strerror}") from e
