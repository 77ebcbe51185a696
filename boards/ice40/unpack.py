"""The entry point: bytes of a packed iCE40 bitstream to one simulatable Verilog module."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from neuroloom.boards.readback.loops import sort_wires
from neuroloom.boards.readback.module import Port, identifier
from neuroloom.boards.readback.unpacked import Unpacked as AnyUnpacked
from neuroloom.boards.readback.writer import write
from neuroloom.compiler.errors import InputError

from . import clocks, dsp, extras, logic, memory, pads
from .bitstream import parse
from .fabric import Fabric
from .netlist import Netlist
from .tables import load

PACKAGES = {"5k": "sg48", "8k": "ct256", "1k": "tq144"}
"""Package assumed for each device when none is given."""

_TRANSLATORS = (clocks, pads, logic, memory, dsp, extras)
"""Each first declares what its cells drive, then connects what they read; clocks come first so that a PLL can claim its
pads' input paths, and connect last so that they see who uses which clock."""


@dataclass(frozen=True, kw_only=True)
class Unpacked(AnyUnpacked):
    """An iCE40 bitstream as logic."""

    package: str
    warmboot: bool
    """Whether the image allows SB_WARMBOOT."""
    sleeps: bool
    """Whether the device sends its flash to deep power-down after loading, so that it must be woken (0xAB) first."""


def read_pcf(pcf: str | Path | dict[str, str]) -> dict[str, str]:
    """Names to package pins, from a dict, a PCF file's path, or its text (``set_io [-options] NAME PIN``)."""
    if isinstance(pcf, dict):
        return {name: str(pin) for name, pin in pcf.items()}
    text = Path(pcf).read_text() if isinstance(pcf, Path) or "\n" not in pcf and Path(pcf).is_file() else pcf
    names = {}
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split("#")[0].split()
        if not words or words[0] != "set_io":
            continue
        takes_value = {"-pullup", "-pullup_resistor", "-io_standard"}
        plain, skip = [], False
        for word in words[1:]:
            if skip or word.startswith("-"):
                skip = not skip and word in takes_value
                continue
            plain.append(word)
        if len(plain) != 2:
            raise InputError(f"pin constraint file line {number} must read set_io NAME PIN, not {line.strip()!r}")
        names[plain[0]] = plain[1]
    return names


def unpack(
    image: bytes | str | Path,
    *,
    package: str | None = None,
    pcf: str | Path | dict[str, str] | None = None,
    module: str = "chip",
    pll: str = "pass",
) -> Unpacked:
    """Translate a packed iCE40 image (HX1K, HX8K, UP5K) to Verilog with the board's pins.

    ``package`` (default per device: :data:`PACKAGES`) names the pins, ``pcf`` gives them their design names; every pin
    of ``pcf`` becomes a port. ``pll`` is "pass" (a PLL's output is its reference clock; toggle that at the output's frequency)
    or "input" (each PLL output is an input port ``pll0_a``...). Oscillators are input ports ``hfosc`` and ``lfosc``.

    Raises :class:`InputError` for a file that is no iCE40 image, :class:`MissingToolError` without IceStorm's database and
    :class:`UnsupportedError`, naming tile and bit, for anything used that is not translated.
    """
    if pll not in ("pass", "input"):
        raise InputError(f"pll must be 'pass' or 'input', not {pll!r}")
    data = image if isinstance(image, bytes) else Path(image).read_bytes()
    stream = parse(data)
    package = package or PACKAGES[stream.device]
    netlist = Netlist(fabric=Fabric(stream, load(stream.device)), pass_clocks=pll == "pass")
    names = read_pcf(pcf) if pcf is not None else {}
    pads.name_pads(netlist, package, names)
    for translator in _TRANSLATORS:
        translator.declare(netlist)
    for name, pin in names.items():  # constrained, and not used by the design
        if name not in netlist.ports:
            site = netlist.tables.pins[package][pin]
            netlist.add_port(Port(name, pin, site, "input", input=identifier(name)))
    logic.simplify(netlist)
    for translator in reversed(_TRANSLATORS):
        translator.connect(netlist)
    netlist.fabric.claim_column_buffers()
    netlist.fabric.finish()
    sort_wires(netlist)
    comment = f"iCE40 {stream.device} ({package}) bitstream of {stream.size} bytes, unpacked by neuroloom"
    return Unpacked(
        verilog=write(netlist, module, comment),
        module=module,
        ports=netlist.ports,
        cells=netlist.cells,
        plls=netlist.plls,
        device=stream.device,
        package=package,
        warmboot=stream.warmboot,
        sleeps=not stream.nosleep,
        size=stream.size,
    )
