"""Write images and networks to a board: into its flash over its serial port, which golden must answer on, or by cable.

Over the port an interrupted update goes on where it stopped, and golden is never touched. A network goes into a partition of its
own, from which an engine built with --boot standalone loads it whenever it starts. By cable the beginning of the flash is
written, golden's place: once per board, and for boards that hold one image only.
"""

from __future__ import annotations

import argparse
import shlex
import time
from dataclasses import asdict
from pathlib import Path

from neuroloom.boards.program import cable_command, check_for_cable, program
from neuroloom.boards.registry import load_board
from neuroloom.compiler.errors import InputError
from neuroloom.host.device import Device, connect
from neuroloom.host.flash_flow import (
    boot_slot,
    check_for,
    check_startable,
    flags_text,
    hold,
    let_start,
    open_loader,
    slots_of,
)
from neuroloom.host.standalone import is_network
from neuroloom.rtl.flash.protection import why_not

from . import flash_network
from .ports import add_port, port_options
from .ui import Ui


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's options."""
    parser.add_argument("bitstream", metavar="X.bin|M.nloom", nargs="?", help="an image, or a compiled network")
    add_port(parser, required=False)
    parser.add_argument(
        "--slot", type=int, metavar="N", help="the slot, from 1 on (default 1); of a network that of its engine"
    )
    parser.add_argument("--boot", action="store_true", help="with --port: boot the slot and see its image answer")
    parser.add_argument(
        "--start", action="store_true", help="with --port: boot it, and let golden start it at power-up from now on"
    )
    parser.add_argument("--hold", action="store_true", help="with --port: golden no longer starts the slot at power-up")
    parser.add_argument("--verify-only", action="store_true", help="with --port: compare, write nothing")
    parser.add_argument("--info", action="store_true", help="with --port: show the flash and its slots")
    parser.add_argument(
        "--forget-network", action="store_true", help="with --port: boards start without a network from now on"
    )
    parser.add_argument(
        "--into", metavar="FLASH.img", help="instead of a board: the flash of a virtual one, see 'emulate --flash'"
    )
    parser.add_argument("--board", metavar="B", help="by cable, or with --into: the board")
    parser.add_argument("--via", choices=("openfpgaloader",), help="by cable: the programming tool (the only one)")
    parser.add_argument("--dry-run", action="store_true", help="by cable: check, and show the command only")


def run(args: argparse.Namespace, ui: Ui) -> int:
    """Decide between port, file and cable."""
    if args.into:
        return _into(args, ui)
    names = ("boot", "start", "hold", "verify_only", "info", "slot", "forget_network")
    over_port = {name: getattr(args, name) for name in names}
    by_cable = {name: getattr(args, name) for name in ("board", "via", "dry_run")}
    given = {key: f"--{next(n for n, v in names.items() if v).replace('_', '-')}" for key, names in
             (("port", over_port), ("cable", by_cable)) if any(names.values())}  # fmt: skip
    if args.port and "cable" in given:
        raise InputError(f"{given['cable']} must be left out with --port, whose board says itself what it is")
    if not args.port and "port" in given:
        raise InputError(f"{given['port']} must come with --port, because it is done by the board's golden image")
    if args.port:
        return _over_port(args, ui)
    if not args.board:
        raise InputError("--port P must be given to write into a slot, or --board B to write by cable")
    if args.bitstream is not None and is_network(Path(args.bitstream)):
        raise InputError(
            "a network must be written over --port P, or --into the flash of a virtual board; cables write images"
        )
    return _by_cable(args, ui)


def _into(args: argparse.Namespace, ui: Ui) -> int:
    for name in ("port", "boot", "hold", "info", "via", "dry_run", "forget_network"):
        if getattr(args, name):
            raise InputError(f"--{name.replace('_', '-')} must be left out with --into, which writes a file")
    if not args.board:
        raise InputError("--board must be given with --into")
    return flash_network.into_file(args, _file(args), ui)


def _by_cable(args: argparse.Namespace, ui: Ui) -> int:
    board = load_board(args.board)
    path = _file(args)
    check_for_cable(board, path)
    command = shlex.join(cable_command(board, path))
    if args.dry_run:
        ui.say(command)
    else:
        with ui.status(f"programming {board.title}"):
            program(board, path)
        ui.say(f"{path} is in the flash of {board.name}; press reset or power-cycle the board")
    ui.result({"board": board.name, "bitstream": str(path), "command": command, "written": not args.dry_run})
    return 0


def _file(args: argparse.Namespace) -> Path:
    if args.bitstream is None:
        raise InputError("an image X.bin must be given, or a network; build one with: neuroloom build")
    return Path(args.bitstream)


def _over_port(args: argparse.Namespace, ui: Ui) -> int:
    slot = 1 if args.slot is None else args.slot
    if args.verify_only and (args.boot or args.start or args.hold):
        raise InputError("--verify-only must be given without --boot, --start and --hold: it changes nothing")
    if args.hold and args.start:
        raise InputError("--hold and --start must not be given together")
    if args.info or (args.hold and args.bitstream is None):
        if args.info and (args.bitstream or args.boot or args.start or args.verify_only):
            raise InputError("--info must be given without an image and without other steps")
        with connect(args.port, **port_options(args, ui)) as device:
            if args.hold:
                hold(device, slot)
            return _info(device, ui)
    if args.forget_network:
        if args.bitstream or args.boot or args.start or args.verify_only:
            raise InputError("--forget-network must be given without a file and without other steps")
        with connect(args.port, **port_options(args, ui)) as device:
            return flash_network.forget(device, ui)
    path = _file(args)
    if is_network(path):
        return flash_network.over_port(args, path, ui)
    if not path.is_file():
        raise InputError(f"{path} does not exist; build it with: neuroloom build M.nloom --boot attended")
    with connect(args.port, **port_options(args, ui)) as device:
        return _write(args, device, slot, path, ui)


def _write(args: argparse.Namespace, device: Device, slot: int, path: Path, ui: Ui) -> int:
    image = path.read_bytes()
    record = check_for(device, image)
    if args.start:
        check_startable(record)
    loader = open_loader(device)
    loader.layout.slot_at(slot)
    if args.verify_only:
        with ui.progress(f"comparing slot {slot}", "bytes") as progress:
            same = loader.holds(slot, image, progress)
        ui.say(f"slot {slot} {'holds' if same else 'does not hold'} {path}")
        ui.result({"slot": slot, "holds": same})
        return 0 if same else 1
    started = time.monotonic()
    with ui.progress(f"writing slot {slot}", "bytes") as progress:
        facts = loader.install(slot, image, progress)
    seconds = time.monotonic() - started
    kept = f", {facts.kept} pages were there" if facts.kept else ""
    ui.say(f"{path} is in slot {slot}: {facts.written} pages written and read back in {seconds:.2f} s{kept}")
    identity = None
    if args.start:
        if record is not None and record.boot == "attended":
            ui.note(
                "an attended image goes back to golden when no host finds it in time; --boot unattended is for images alone"
            )
        identity = let_start(device, slot, image, record, ui.note)
        ui.say(f"golden starts slot {slot} at power-up from now on")
    elif args.boot:
        identity = boot_slot(device, loader, slot, record)
    if args.hold:
        loader.mark(slot, "held")
    if identity is not None:
        ui.say(f"slot {slot} runs: {identity.engine} on {identity.board}, model {identity.model_hash.hex()[:12]}")
        if not identity.boot:
            ui.note("it does not know the way back: switch the board off and on to reach golden (build with --boot)")
    ui.result(
        {
            "slot": slot,
            **asdict(facts),
            "seconds": seconds,
            "running": None if identity is None else identity.model_hash.hex(),
        }
    )
    return 0


def _info(device: Device, ui: Ui) -> int:
    loader = open_loader(device)
    layout = loader.layout
    ui.say(f"{device.identity.board}: {loader.chip}; golden in the first {layout.golden_bytes:,} bytes")
    why = "" if loader.shielded else f": {why_not(layout, loader.chip.jedec)}"
    ui.say(f"golden is {'' if loader.shielded else 'not '}write-protected by the flash itself{why}")
    slots = slots_of(loader)
    rows = []
    for info in slots:
        record, state = info.record, info.state
        what = ("empty" if state.length is None else "image without a record") if record is None else record.engine
        size = "" if state.length is None else f"{state.length:,}"
        crc = "" if state.crc is None else f"{state.crc:08x}"
        model, boot = (record.model[:12], record.boot) if record else ("", "")
        rows.append((info.slot, f"{layout.slot_at(info.slot):#x}", what, model, boot, size, crc, flags_text(state)))
    ui.table("", (">slot", "address", "image", "model", "boot", ">bytes", "CRC-32", "flags"), rows)
    text, network = flash_network.network_line(loader)
    ui.say(text)
    ui.result(
        {
            "board": device.identity.board,
            "jedec": loader.chip.jedec.hex(),
            "size_bytes": loader.chip.size_bytes,
            "layout": asdict(layout),
            "shielded": loader.shielded,
            "slots": [
                {
                    "slot": info.slot,
                    "length": info.state.length,
                    "crc": info.state.crc,
                    "flags": sorted(info.state.flags),
                    "starts": info.state.starts,
                    "record": None if info.record is None else asdict(info.record),
                }
                for info in slots
            ],
            "network": network,
        }
    )
    return 0
