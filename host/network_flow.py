"""What ``neuroloom flash M.nloom`` does, step by step: the engine that the network is for, the partition, and seeing it start."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from neuroloom.boards.board import Board
from neuroloom.boards.flash_file import read_network, read_slot, slot_state, write_network
from neuroloom.boards.image_record import ImageRecord
from neuroloom.boards.registry import load_board
from neuroloom.compiler.errors import DeviceError, InputError
from neuroloom.compiler.ir import Graph
from neuroloom.compiler.ir.file import load as load_graph
from neuroloom.rtl.flash.network import START_ABOUT, NetworkImage, Start

from .device import Device
from .flash_flow import HEAD_BYTES, SlotInfo, boot_slot, open_loader, slot_info, slots_of
from .flashing import InstallFacts, Progress
from .standalone import STANDALONE, network_for

LOADING_S = 60.0
"""What a board, or a virtual one, takes at most until it knows what became of its network; a real one takes 0.3 s."""


def slot_for(slots: Sequence[SlotInfo], slot: int | None) -> tuple[int, ImageRecord]:
    """The slot whose engine a network is for: the one named, or the only one there is.

    Raises InputError where the image there does not load networks, and where the choice is not clear.
    """
    found = [(info.slot, info.record) for info in slots if info.record is not None and info.record.boot == STANDALONE]
    if slot is not None:
        if not 1 <= slot <= len(slots):
            raise InputError(f"slot must be 1 to {len(slots)}, not {slot}")
        found = [one for one in found if one[0] == slot]
    where = "one of the slots" if slot is None else f"slot {slot}"
    if not found:
        raise InputError(
            f"{where} must hold an engine that loads its network from the flash, and none does; build one with: neuroloom build"
            " M.nloom --boot standalone, and flash it"
        )
    if len({(record.engine, record.model) for _, record in found}) > 1:
        numbers = ", ".join(str(number) for number, _ in found)
        raise InputError(
            f"--slot must say which engine the network is for, because slots {numbers} hold different ones"
        )
    return found[0]


def network_of(graph: Graph, board: Board, record: ImageRecord) -> NetworkImage:
    """The network for the engine of an image; raises as :func:`~neuroloom.host.standalone.network_for`, with nothing written."""
    return network_for(graph, board, record.engine, bytes.fromhex(record.model))


def flash_network(
    device: Device,
    network: Graph | Path | str,
    *,
    slot: int | None = None,
    boot: bool = True,
    progress: Progress | None = None,
) -> InstallFacts:
    """Write a compiled network (a graph or a .nloom file) into the partition of the device's flash, from which it starts by itself.

    ``slot`` says which engine it is for where slots hold different ones. ``boot``: boot that engine and see it load the network.
    Raises InputError and DoesNotFitError with nothing written, and DeviceError.
    """
    graph = network if isinstance(network, Graph) else load_graph(Path(network))
    loader = open_loader(device)
    number, record = slot_for(slots_of(loader), slot)
    facts = loader.install_network(network_of(graph, load_board(device.identity.board), record), progress)
    if boot:
        boot_slot(device, loader, number, record)
        see_loaded(device)
    return facts


def see_loaded(device: Device, seconds: float = LOADING_S) -> None:
    """Wait until the image that runs has loaded its network; raises DeviceError saying why it did not."""
    clock = device.now()
    state = device.network()
    while state == Start.LOADING and device.now() - clock < seconds:
        state = device.network()
    if state is None:
        raise DeviceError(f"the image on {device.name} must load its network from the flash, and was not built to")
    if state != Start.LOADED:
        raise DeviceError(
            f"the board on {device.name} must load its network from the flash, but {START_ABOUT[state]}; flash the network again"
        )


# ---------------------------------------------------------------------- a flash's file


def file_slots(path: Path, board: Board) -> list[SlotInfo]:
    """What stands in every slot of a virtual board's flash; raises InputError for a file that is none of the board."""
    size = board.flash.size_bytes
    if not path.is_file() or path.stat().st_size != size:
        raise InputError(
            f"--into must name the flash of a virtual {board.name}, a file of {size:,} bytes, not {path}; make one with: neuroloom"
            f" emulate --flash {path} --board {board.name}"
        )
    layout = board.layout
    return [
        slot_info(slot, slot_state(path, board, slot), read_slot(path, layout, slot, HEAD_BYTES))
        for slot in range(1, layout.slots + 1)
    ]


def network_into(path: Path, board: Board, graph: Graph, slot: int | None) -> tuple[NetworkImage, int]:
    """The network for the engine in a flash's file, and that engine's slot."""
    number, record = slot_for(file_slots(path, board), slot)
    return network_of(graph, board, record), number


def file_holds(path: Path, board: Board, network: NetworkImage) -> bool:
    """Whether a flash's file holds this network, whole."""
    return read_network(path, board.layout) == network


def write_into(path: Path, board: Board, network: NetworkImage) -> None:
    """Write the network into a flash's file."""
    write_network(path, board.layout, network)
