"""One board: its chip, clock, pins and capacity, read strictly from a YAML file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import yaml
from neuroloom.compiler.errors import InputError
from neuroloom.compiler.gated.core import GatedConfig
from neuroloom.compiler.spiking.core import PROFILES
from neuroloom.rtl.boot_cells import BOOT_CELLS
from neuroloom.rtl.clocking import ClockPlan
from neuroloom.rtl.flash.layout import Layout
from neuroloom.rtl.link.uart import uart_divisor

FAMILIES = ("ice40", "ecp5", "gowin", "xilinx7")
"""FPGA families with a build flow."""

SUPPORT = ("bitstream", "vendor-project")
"""``bitstream``: built here with open tools; ``vendor-project``: sources and constraints for the vendor's tool."""


@dataclass(frozen=True)
class Pins:
    """Pins of one resource and how the FPGA drives them.

    ``resource`` is the name amaranth-boards gives it (``uart.rx`` for a part), ``attributes`` are the family's I/O
    settings, ``active_low`` says that level 0 means on.
    """

    resource: str
    pins: tuple[str, ...]
    attributes: Mapping[str, str | int | bool] = field(default_factory=dict)
    active_low: bool = False


@dataclass(frozen=True)
class Speed:
    """One clock the board can run its logic at: the plan in hertz, and the default UART speed in baud."""

    plan: ClockPlan
    baud: int


@dataclass(frozen=True)
class Resources:
    """What the FPGA offers: LUTs of ``lut_inputs`` inputs, flip-flops, memory in bits, hardware multipliers."""

    lut_inputs: int
    luts: int
    ffs: int
    bram_bits: int
    spram_bits: int
    dsps: int


@dataclass(frozen=True)
class Flash:
    """Configuration flash: bytes, and the command (``{bitstream}`` replaced) that writes the first image by cable.

    Where the FPGA can boot several images of it: its pins by port (:data:`FLASH_PORTS`), the map of golden and slots, what command
    0x9F answers, in hexadecimal, and the pins that a design which boots needs (:data:`BOOT_PORTS`).
    """

    size_bytes: int
    command: tuple[str, ...]
    pins: Mapping[str, Pins] = field(default_factory=dict)
    layout: Layout | None = None
    jedec: str = ""
    boot_pins: Mapping[str, Pins] = field(default_factory=dict)


FLASH_PORTS = ("flash_sck", "flash_cs_n", "flash_mosi", "flash_miso")
"""Ports of a design that works on its board's flash, in simulation and where the FPGA has pins for them all."""

CHIP_FLASH_PORTS: Mapping[str, tuple[str, ...]] = {
    "ice40": FLASH_PORTS,
    "ecp5": (*FLASH_PORTS[1:], *BOOT_CELLS["ecp5"].flash_ports),
}
"""Those on the chip, by family; of the others none can boot another image."""

BOOT_PORTS: Mapping[str, tuple[str, ...]] = {family: tuple(cell.ports) for family, cell in BOOT_CELLS.items()}
"""Ports of a design that boots another image, by family."""


SPIKE_PORTS = ("spike_data", "spike_req", "spike_ack", "event_data", "event_req", "event_ack", "loop_n")
"""Ports that a board may bring a spiking core's spikes to."""


@dataclass(frozen=True)
class Board:
    """A board file, checked. ``platform`` is ``module:Class`` of amaranth-boards; ``speeds`` always has ``logic``."""

    name: str
    title: str
    family: str
    device: str
    package: str
    support: str
    platform: str
    clock: Pins
    speeds: Mapping[str, Speed]
    uart_rx: Pins
    uart_tx: Pins
    leds: Pins
    resources: Resources
    flash: Flash
    notes: tuple[str, ...]
    gated: tuple[GatedConfig, ...] = ()
    """Gated engines that the board can be built with, by profile."""
    spike_pins: Mapping[str, Pins] = field(default_factory=dict)
    """Pins for spikes, by port, that a build may use; ``wired`` says that this one does."""
    wired: bool = False
    flash_wired: bool = False
    """Whether the design uses the flash's pins."""
    boot_wired: bool = False
    """Whether the design boots other images."""

    @property
    def layout(self) -> Layout:
        """The map of golden and slots; raises InputError for a board that holds one image only."""
        if self.flash.layout is None:
            raise InputError(
                f"board must be one that boots several images (iCE40 and ECP5 boards do), not {self.name}: it is cable only; "
                f"write its bitstream with: neuroloom flash X --board {self.name}"
            )
        return self.flash.layout

    def with_flash_pins(self) -> Board:
        """The board with its flash's pins in use, as golden has them; raises InputError when they are not known."""
        return replace(self, flash_wired=self.layout is not None, boot_wired=True)

    def with_boot_pins(self) -> Board:
        """The board with the pins in use that a design needs to boot another image."""
        return replace(self, boot_wired=True)

    def with_spike_pins(self) -> Board:
        """The board with its spike pins in use; raises InputError when it has none."""
        if not self.spike_pins:
            raise InputError(
                f"board must have pins for spikes in its file, and {self.name} has none; leave --spike-pins out"
            )
        return replace(self, wired=True)

    def speed(self, engine: str = "logic", profile: str = "") -> Speed:
        """The clock for an engine: its profile's own entry (``gated lanes128``), else its kind's, else the one called ``logic``.

        A profile that was folded from another one (``lanes128-64``) has the clock of that.
        """
        own = self.speeds.get(f"{engine} {profile.partition('-')[0]}")
        return own or self.speeds.get(engine, self.speeds["logic"])

    def clocked(self, engine: str, clock_hz: int) -> Board:
        """The board as a design of this clock is built for it: where a kind of engine has several clocks, it has this one."""
        for name, speed in self.speeds.items():
            if name.startswith(f"{engine} ") and speed.plan.logic_hz == clock_hz:
                return replace(self, speeds={**self.speeds, engine: speed})
        return self


class _StrictLoader(yaml.SafeLoader):
    """SafeLoader that refuses a key given twice."""


def _mapping(loader: _StrictLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    result: dict[Any, Any] = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        if key in result:
            raise InputError(f"Key {key!r} must be given once, not again at line {key_node.start_mark.line + 1}")
        result[key] = loader.construct_object(value_node, deep=True)
    return result


_StrictLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


class _Section:
    """Typed access to one mapping of the file; ``done()`` refuses what was not asked for."""

    def __init__(self, value: object, where: str) -> None:
        if not isinstance(value, dict):
            raise InputError(f"{where} must be a mapping, not {value!r}")
        self.value: dict[Any, Any] = value
        self.where = where
        self.known: list[str] = []

    def get(self, key: str, kind: type | tuple[type, ...], default: Any = ...) -> Any:
        self.known.append(key)
        if key not in self.value:
            if default is ...:
                raise InputError(f"{self.where} must have the key {key!r}, and it is missing; add it")
            return default
        value = self.value[key]
        wanted = kind if isinstance(kind, tuple) else (kind,)
        # a YAML true is an int to Python, and never meant as one here
        if not isinstance(value, wanted) or (isinstance(value, bool) and bool not in wanted):
            names = " or ".join(_NAMES[one] for one in wanted)
            raise InputError(f"{self.where}: {key} must be {names}, not {value!r}")
        return value

    def count(self, key: str, minimum: int = 0) -> int:
        value = self.get(key, int)
        if value < minimum:
            raise InputError(f"{self.where}: {key} must be at least {minimum}, not {value}")
        return int(value)

    def strings(self, key: str, default: Any = ...) -> tuple[str, ...]:
        value = self.get(key, list, default)
        for one in value:
            if not isinstance(one, str):
                raise InputError(f"{self.where}: {key} must hold texts, not {one!r}; put it in quotes")
        return tuple(value)

    def choice(self, key: str, allowed: tuple[str, ...]) -> str:
        value = self.get(key, str)
        if value not in allowed:
            raise InputError(f"{self.where}: {key} must be one of {', '.join(allowed)}, not {value!r}")
        return str(value)

    def section(self, key: str) -> _Section:
        return _Section(self.get(key, dict), f"{self.where}: {key}")

    def done(self) -> None:
        for key in self.value:
            if key not in self.known:
                raise InputError(f"{self.where}: key must be one of {', '.join(self.known)}, not {key!r}; correct it")


_NAMES = {str: "a text", int: "a whole number", dict: "a mapping", list: "a list", bool: "true or false"}


def load_board_file(path: Path) -> Board:
    """Read and check one board file; raises InputError naming the file and the key."""
    where = f"Board file {path.name}"
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{where} must be readable text: {error}") from None
    try:
        value = yaml.load(text, Loader=_StrictLoader)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    except yaml.YAMLError as error:
        raise InputError(f"{where} must be YAML: {' '.join(str(error).split())}") from None
    board = _board(_Section(value, where))
    if board.name != path.stem:
        raise InputError(f"{where}: name must be the file's, {path.stem!r}, not {board.name!r}")
    return board


def _board(top: _Section) -> Board:
    clock = top.section("clock")
    input_hz = clock.count("input_hz", 1)
    clock_pins = _pins(clock, "pin", clock.get("resource", str))
    speeds = _speeds(clock.section("speeds"), input_hz)
    clock.done()

    uart = top.section("uart")
    uart_resource = uart.get("resource", str)
    attributes = _attributes(uart)
    rx = Pins(f"{uart_resource}.rx", (uart.get("rx", str),), attributes)
    tx = Pins(f"{uart_resource}.tx", (uart.get("tx", str),), attributes)
    uart.done()

    leds = top.section("leds")
    led_pins = Pins(leds.get("resource", str), leds.strings("pins"), _attributes(leds), leds.get("active_low", bool))
    if not led_pins.pins:
        raise InputError(f"{leds.where}: pins must name at least one pin, not none")
    leds.done()

    resources = top.section("resources")
    minimum = {"lut_inputs": 4, "luts": 1, "ffs": 1}
    capacity = Resources(**{f.name: resources.count(f.name, minimum.get(f.name, 0)) for f in fields(Resources)})
    resources.done()

    flash = top.section("flash")
    flash_value = _flash(flash, top.choice("family", FAMILIES))
    if sum("{bitstream}" in word for word in flash_value.command) != 1:
        raise InputError(f"{flash.where}: command must hold {{bitstream}} once, not {list(flash_value.command)!r}")
    flash.done()

    platform = top.get("platform", str)
    if platform.count(":") != 1:
        raise InputError(f"{top.where}: platform must be module:Class of amaranth-boards, not {platform!r}")
    board = Board(
        name=top.get("name", str),
        title=top.get("title", str),
        family=top.choice("family", FAMILIES),
        device=top.get("device", str),
        package=top.get("package", str),
        support=top.choice("support", SUPPORT),
        platform=platform,
        clock=clock_pins,
        speeds=speeds,
        uart_rx=rx,
        uart_tx=tx,
        leds=led_pins,
        resources=capacity,
        flash=flash_value,
        notes=top.strings("notes", []),
        gated=_gated(top),
        spike_pins=_spike_pins(top.section("spike_pins")) if "spike_pins" in top.value else {},
    )
    top.get("spike_pins", dict, {})
    top.done()
    _check_clocks(board, top.where)
    return board


def _check_clocks(board: Board, where: str) -> None:
    """Raise InputError for a clock of a profile that there is not."""
    profiles = {"gated": {config.profile for config in board.gated}, "spiking": PROFILES}
    for name in board.speeds:
        kind, _, profile = name.partition(" ")
        if profile and profile not in profiles.get(kind, ()):
            raise InputError(
                f"{where}: clock {name!r} must be of a kind of engine, of a gated profile of the file, or of a spiking profile"
            )


def _gated(top: _Section) -> tuple[GatedConfig, ...]:
    """The profiles under ``gated``: sizes by name, as :class:`GatedConfig` explains them."""
    profiles = top.get("gated", dict, {})
    out = []
    for name, value in profiles.items():
        if not isinstance(value, dict) or any(not isinstance(v, (int, bool)) for v in value.values()):
            raise InputError(f"{top.where}: gated profile {name!r} must map names to whole numbers, not {value!r}")
        try:
            out.append(GatedConfig.from_mapping(str(name), value))
        except InputError as error:
            raise InputError(f"{top.where}: {error}") from None
    return tuple(out)


def _flash(flash: _Section, family: str) -> Flash:
    size, command = flash.count("size_bytes", 1), flash.strings("command")
    if "slots" not in flash.value:
        return Flash(size, command)
    if family not in CHIP_FLASH_PORTS:
        raise InputError(
            f"{flash.where}: slots must be left out for {family}, which cannot boot another image from a design"
        )
    resource, jedec = flash.get("resource", str), flash.get("jedec", str)
    named, slots = flash.section("pins"), flash.section("slots")
    pins = {port: _pins(named, port, resource) for port in CHIP_FLASH_PORTS[family]}
    boot_pins = {}
    if BOOT_PORTS[family]:
        boot = flash.section("boot")
        boot_resource = boot.get("resource", str)
        boot_pins = {port: _pins(boot, port, boot_resource) for port in BOOT_PORTS[family]}
        boot.done()
    named.done()
    try:
        golden, slot, number = (slots.count(key, 1) for key in ("golden_bytes", "slot_bytes", "slots"))
        layout = Layout(golden, slot, number, size, slots.count("network_bytes"))
    except InputError as error:
        raise InputError(f"{slots.where}: {error}") from None
    slots.done()
    if len(jedec) != 6 or not set(jedec) <= set("0123456789abcdef"):
        raise InputError(f"{flash.where}: jedec must be six lower-case hexadecimal digits, not {jedec!r}")
    return Flash(size, command, pins, layout, jedec, boot_pins)


def _spike_pins(section: _Section) -> Mapping[str, Pins]:
    """Pins of every port of :data:`SPIKE_PORTS`, lowest bit first; the last one is pulled up, so that open means off."""
    resource, attributes, pull = section.get("resource", str), _attributes(section), section.get("pull_up", dict)
    pins = {}
    for port in SPIKE_PORTS:
        found = section.strings(port)
        if len(found) != (4 if port.endswith("data") else 1):
            raise InputError(
                f"{section.where}: {port} must name {4 if port.endswith('data') else 1} pins, not {len(found)}"
            )
        pins[port] = Pins(resource, found, {**attributes, **(pull if port == "loop_n" else {})})
    section.done()
    return pins


def _pins(section: _Section, key: str, resource: str) -> Pins:
    return Pins(resource, (section.get(key, str),), _attributes(section))


def _attributes(section: _Section) -> Mapping[str, str | int | bool]:
    attributes = section.get("attributes", dict, {})
    for name, value in attributes.items():
        if not isinstance(name, str) or not isinstance(value, (str, int, bool)):
            raise InputError(f"{section.where}: attributes must map names to texts or numbers, not {name!r}: {value!r}")
    return dict(attributes)


def _speeds(section: _Section, input_hz: int) -> Mapping[str, Speed]:
    speeds = {}
    for name in section.value:
        entry = section.section(str(name))
        logic_hz = entry.count("hz", 1)
        baud = entry.count("baud", 1)
        primitive, settings = None, {}
        if entry.get("pll", dict, None) is not None:
            pll = entry.section("pll")
            primitive = pll.get("primitive", str)
            settings = pll.get("settings", dict)
            pll.done()
        entry.done()
        try:
            plan = ClockPlan(input_hz, logic_hz, primitive, settings)
            uart_divisor(logic_hz, baud)
        except InputError as error:
            raise InputError(f"{entry.where}: {error}") from None
        speeds[str(name)] = Speed(plan, baud)
    if "logic" not in speeds:
        raise InputError(f"{section.where} must have the key 'logic', and it is missing; add it")
    return speeds
