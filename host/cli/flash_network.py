"""``neuroloom flash`` for networks, and into the file of a virtual board's flash."""

from __future__ import annotations

import argparse
import time
from dataclasses import asdict
from pathlib import Path

from neuroloom.boards.flash_file import install, write_image
from neuroloom.boards.image_formats import format_of
from neuroloom.boards.image_record import check_image
from neuroloom.boards.registry import load_board
from neuroloom.compiler.errors import InputError
from neuroloom.compiler.ir.file import load as load_graph
from neuroloom.host.device import Device, connect
from neuroloom.host.flash_flow import boot_slot, check_startable, open_loader, slots_of
from neuroloom.host.flashing import FlashLoader
from neuroloom.host.network_flow import (
    file_holds,
    file_slots,
    network_into,
    network_of,
    see_loaded,
    slot_for,
    write_into,
)
from neuroloom.host.standalone import is_network

from .ports import port_options
from .ui import Ui


def over_port(args: argparse.Namespace, path: Path, ui: Ui) -> int:
    """Write a network into the partition of the board on a port, or compare it."""
    for option in ("start", "hold"):
        if getattr(args, option):
            raise InputError(
                f"--{option} must be left out with a network, which is loaded whenever its engine starts; give it with the image"
            )
    if not path.is_file():
        raise InputError(f"{path} does not exist; compile it with: neuroloom compile")
    graph = load_graph(path)
    with connect(args.port, **port_options(args, ui)) as device:
        board = load_board(device.identity.board)
        loader = open_loader(device)
        slot, record = slot_for(slots_of(loader), args.slot)
        network = network_of(graph, board, record)
        if args.verify_only:
            with ui.progress("comparing the network", "bytes") as progress:
                same = loader.holds_network(network, progress)
            return _compared(path, same, ui)
        started = time.monotonic()
        with ui.progress("writing the network", "bytes") as progress:
            facts = loader.install_network(network, progress)
        seconds = time.monotonic() - started
        kept = f", {facts.kept} pages were there" if facts.kept else ""
        ui.say(
            f"{path} is in the network's partition, for the {record.engine} engine in slot {slot}: {facts.written} pages written"
            f" and read back in {seconds:.2f} s{kept}"
        )
        if args.boot:
            boot_slot(device, loader, slot, record)
            see_loaded(device)
            ui.say(f"slot {slot} runs and has loaded it")
    ui.result({"slot": slot, **asdict(facts), "seconds": seconds, "network": network.state.model_hash.hex()})
    return 0


def forget(device: Device, ui: Ui) -> int:
    """Erase the header of the network in the flash."""
    erased = open_loader(device).forget_network()
    ui.say("the board starts without a network from now on" if erased else "there was no network in the flash")
    ui.result({"erased": erased})
    return 0


def network_line(loader: FlashLoader) -> tuple[str, dict[str, object] | None]:
    """What the partition holds, in words and as facts; of a golden without a partition that there is none."""
    if not loader.layout.network_room:
        return "golden knows no partition for a network: it was built before there was one", None
    state = loader.network_state()
    if state is None:
        return f"network at {loader.layout.network_at:#x}: none", None
    facts = {**asdict(state), "engine_hash": state.engine_hash.hex(), "model_hash": state.model_hash.hex()}
    text = (
        f"network at {loader.layout.network_at:#x}: {state.name!r}, {state.model_hash.hex()[:12]}, for engine"
        f" {state.engine_hash.hex()[:12]}, {state.length:,} bytes, CRC-32 {state.crc:08x}"
    )
    return text, facts


def into_file(args: argparse.Namespace, path: Path, ui: Ui) -> int:
    """Write a network or an image into the file of a virtual board's flash, or compare a network."""
    flash, board = Path(args.into), load_board(args.board)
    file_slots(flash, board)
    if not path.is_file():
        raise InputError(f"{path} does not exist")
    if is_network(path):
        network, slot = network_into(flash, board, load_graph(path), args.slot)
        if args.verify_only:
            return _compared(path, file_holds(flash, board, network), ui)
        write_into(flash, board, network)
        ui.say(
            f"{path} is in the network's partition of {flash}, for the engine in slot {slot}: {len(network.data):,} bytes"
        )
        ui.result({"slot": slot, "bytes": len(network.data), "network": network.state.model_hash.hex()})
        return 0
    if args.verify_only:
        raise InputError("--verify-only with --into must go with a network; compare an image over the port")
    image = path.read_bytes()
    address = format_of(board).inside(image)
    record = check_image(image[address:], board.device, board.name)
    if record is not None and record.boot == "golden":
        write_image(flash, 0, image)
        ui.say(f"{path} is golden of {flash}")
        ui.result({"slot": 0})
        return 0
    if args.start:
        check_startable(record)
    slot = 1 if args.slot is None else args.slot
    install(flash, board, slot, image, ("confirmed", "start") if args.start else ())
    ui.say(f"{path} is in slot {slot} of {flash}" + (", and golden starts it" if args.start else ""))
    ui.result({"slot": slot})
    return 0


def _compared(path: Path, same: bool, ui: Ui) -> int:
    ui.say(f"the network's partition {'holds' if same else 'does not hold'} {path}")
    ui.result({"holds": same})
    return 0 if same else 1
