"""The entry point: the text of a Gowin configuration file to one simulatable Verilog module."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from neuroloom.boards.ram_models import BLOCK_RAM
from neuroloom.boards.readback.loops import sort_wires
from neuroloom.boards.readback.unpacked import Unpacked
from neuroloom.boards.readback.writer import write

from . import logic, memory, multiply, pads, settings
from .bitstream import parse
from .fabric import Fabric
from .netlist import Netlist
from .tables import load


def unpack(
    image: bytes | str | Path, *, part: str, names: Mapping[str, str] | None = None, module: str = "chip"
) -> Unpacked:
    """Translate a Gowin configuration file (.fs) of a GW1N-9C to Verilog with the board's pins.

    ``part`` is the full part number, which tells the package; ``names`` gives package pins their design names, and every pin of
    ``names`` becomes a port.

    Raises :class:`InputError` for a file that is none of this device, or damaged, :class:`MissingToolError` without Apicula and
    :class:`UnsupportedError`, naming tile and fuse, for anything used that is not translated.
    """
    data = image if isinstance(image, bytes) else Path(image).read_bytes()
    stream = parse(data)
    netlist = Netlist(fabric=Fabric(stream, load(stream.device)))
    pads.declare(netlist, part, names or {})
    logic.declare(netlist)
    memory.declare(netlist)
    multiply.declare(netlist)
    settings.read(netlist)
    netlist.run()
    logic.finish(netlist)
    memory.finish(netlist)
    netlist.fabric.finish()
    sort_wires(netlist)
    comment = f"Gowin {stream.device} bitstream of {stream.size} bytes, unpacked by neuroloom"
    return Unpacked(
        verilog=write(netlist, module, comment),
        models=BLOCK_RAM if netlist.uses_memory else "",
        module=module,
        ports=netlist.ports,
        cells=netlist.cells,
        plls=netlist.plls,
        device=stream.device,
        size=stream.size,
    )
