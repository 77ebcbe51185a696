"""Small hard cells: the warm boot request and the RGB LED driver."""

from __future__ import annotations

from neuroloom.boards.readback.module import ONE, ZERO, Port, identifier

from .netlist import Netlist
from .tables import ExtraCell

_RGB_LEVELS = ("CURRENT_MODE", "RGB0_CURRENT", "RGB1_CURRENT", "RGB2_CURRENT")
"""Options of the LED driver that set currents: no logic."""

_REFUSED = ("I2C", "SPI", "LEDDA_IP", "IO_I3C")


def _is_used(netlist: Netlist, cell: ExtraCell) -> bool:
    """Whether an input of a hard cell is routed, an output read, or an option of it set."""
    fabric = netlist.fabric
    nets = [netlist.tables.nets[pin] for pin in cell.pins.values()]
    settings = [f"IpConfig.{name}" in fabric.options.get((x, y), ()) for x, y, name in cell.config.values()]
    return any(net in fabric.driver or net in fabric.selected for net in nets) or any(settings)


def _cells(netlist: Netlist, kind: str) -> list[ExtraCell]:
    return [cell for cell in netlist.tables.extra_cells if cell.kind == kind]


def declare(netlist: Netlist) -> None:
    """Add the warm boot and LED ports; refuse hard cells that are not translated, by name."""
    for kind in _REFUSED:
        for cell in _cells(netlist, kind):
            if _is_used(netlist, cell):
                raise netlist.fabric.refuse((cell.x, cell.y), f"hard cell SB_{kind} is used and is not translated")
    for cell in _cells(netlist, "WARMBOOT"):
        if any(netlist.fabric.driven(*pin) for pin in cell.pins.values()):
            for port in ("BOOT", "S0", "S1"):
                name = f"warmboot_{port.lower()}"
                netlist.add_port(Port(name, None, None, "signal", output=name))
    for cell in _cells(netlist, "RGBA_DRV"):
        if _drives(netlist, cell):
            for index in range(3):
                site = cell.pads[f"RGB{index}"]
                label = netlist.pads.get(site, f"rgb{index}")
                netlist.add_port(Port(label, netlist.pad_pins.get(site), site, "output", output=identifier(label)))


def _drives(netlist: Netlist, cell: ExtraCell) -> bool:
    x, y, name = cell.config["RGBA_DRV_EN"]
    return netlist.fabric.option(x, y, f"IpConfig.{name}")


def connect(netlist: Netlist) -> None:
    """Connect them. The warm boot ports only tell the simulation; a LED pin is 0 while its driver sinks current."""
    for cell in _cells(netlist, "WARMBOOT"):
        if "warmboot_boot" in netlist.ports:
            netlist.cells["SB_WARMBOOT"] += 1
            for port in ("BOOT", "S0", "S1"):
                netlist.outputs.append((f"warmboot_{port.lower()}", netlist.value(*cell.pins[port])))
    for cell in _cells(netlist, "RGBA_DRV"):
        if not _drives(netlist, cell):
            continue
        netlist.cells["SB_RGBA_DRV"] += 1
        for name, (x, y, label) in cell.config.items():
            if name.startswith(_RGB_LEVELS):
                netlist.fabric.option(x, y, f"IpConfig.{label}")
        gates = [netlist.value(*cell.pins[port]) for port in ("CURREN", "RGBLEDEN")]
        for index in range(3):
            label = netlist.pads.get(cell.pads[f"RGB{index}"], f"rgb{index}")
            terms = [*gates, netlist.value(*cell.pins[f"RGB{index}PWM"])]
            on = ZERO if ZERO in terms else " & ".join(term for term in terms if term != ONE) or ONE
            netlist.outputs.append((identifier(label), f"~({on})"))
