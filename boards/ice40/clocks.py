"""Phase-locked loops and internal oscillators, as clocks for a cycle-based simulation.

A simulation has no frequencies: a PLL's output is either its reference clock ("pass": the testbench toggles the
reference at the output's frequency) or an input port of its own. The divider settings are returned as :class:`Pll`, with the
exact output-to-reference ratio, so that the caller checks them. LOCK is RESETB. Source: Lattice TN1251 (PLL usage guide).
"""

from __future__ import annotations

from fractions import Fraction

from neuroloom.boards.readback.module import ONE, ZERO, Pll

from .netlist import Netlist
from .tables import ExtraCell

_TYPES = {2: "SB_PLL40_PAD", 3: "SB_PLL40_CORE", 4: "SB_PLL40_2_PAD", 6: "SB_PLL40_2F_PAD", 7: "SB_PLL40_2F_CORE"}
_PATHS = {0: "DELAY", 1: "SIMPLE", 2: "PHASE_AND_DELAY", 6: "EXTERNAL"}
_OFF = ("TEST_MODE", "ENABLE_ICEGATE_PORTA", "ENABLE_ICEGATE_PORTB", "DELAY_ADJMODE_FB", "DELAY_ADJMODE_REL")
_UNREAD = ("EXTFEEDBACK", "LATCHINPUTVALUE", "SCLK", "SDI", *(f"DYNAMICDELAY_{i}" for i in range(8)))


def _parameters(netlist: Netlist, cell: ExtraCell) -> dict[str, int]:
    result: dict[str, int] = {}
    for name, (x, y, label) in cell.config.items():
        bit = int(netlist.fabric.option(x, y, f"PLL.{label}"))
        base, _, index = name.rpartition("_")
        if index.isdigit() and base:
            result[base] = result.get(base, 0) | bit << int(index)
        else:
            result[name] = bit
    return result


def _used(netlist: Netlist, cell: ExtraCell) -> bool:
    places = [cell.config[f"PLLTYPE_{i}"] for i in range(3)]
    return any(f"PLL.{label}" in netlist.fabric.options.get((x, y), ()) for x, y, label in places)


def declare(netlist: Netlist) -> None:
    """Claim the I/O blocks whose input path a PLL replaces, and the oscillators' global networks."""
    for number, cell in enumerate(_plls(netlist)):
        parameters = _parameters(netlist, cell)
        kind = _kind(netlist, cell, parameters)
        for output in _outputs(kind):
            x, y, z = site = cell.pads[f"PLLOUT_{output}"]
            netlist.taken_inputs.add(site)
            netlist.sources[x, y, f"io_{z}/D_IN_0"] = f"pll{number}_{output.lower()}"
            if site in netlist.tables.gbufpin:
                netlist.global_sources[netlist.tables.gbufpin[site]] = f"pll{number}_{output.lower()}"
        netlist.sources[cell.pins["LOCK"]] = f"pll{number}_lock"
    for cell in netlist.tables.extra_cells:
        if cell.kind in ("HFOSC", "LFOSC") and _oscillates(netlist, cell):
            port = "CLKHF" if cell.kind == "HFOSC" else "CLKLF"
            name = cell.kind.lower()
            netlist.sources[cell.pins[f"{port}_FABRIC"]] = name
            netlist.global_sources[int(cell.pins[port][2].rpartition("_")[2])] = name


def _plls(netlist: Netlist) -> list[ExtraCell]:
    return [cell for cell in netlist.tables.extra_cells if cell.kind == "PLL" and _used(netlist, cell)]


def _kind(netlist: Netlist, cell: ExtraCell, parameters: dict[str, int]) -> str:
    kind = _TYPES.get(parameters["PLLTYPE"])
    if kind is None or parameters["FEEDBACK_PATH"] not in _PATHS:
        raise netlist.fabric.refuse((cell.x, cell.y), "PLL type or feedback path is reserved and not translated")
    return kind


def _outputs(kind: str) -> str:
    return "AB" if "_2" in kind else "A"


def connect(netlist: Netlist) -> None:
    """Emit the clocks of all PLLs and oscillators."""
    for number, cell in enumerate(_plls(netlist)):
        _pll(netlist, cell, number)
    for cell in netlist.tables.extra_cells:
        if cell.kind in ("HFOSC", "LFOSC") and _oscillates(netlist, cell):
            _oscillator(netlist, cell)


def _ratio(netlist: Netlist, cell: ExtraCell, parameters: dict[str, int], output: str) -> Fraction:
    """Output frequency over reference frequency. Only the feedback paths with a fixed, known divider are translated."""
    path = _PATHS[parameters["FEEDBACK_PATH"]]
    select = parameters[f"PLLOUT_SELECT_{output}"]
    where = (cell.x, cell.y)
    if path == "SIMPLE":
        ratio = Fraction(parameters["DIVF"] + 1, (parameters["DIVR"] + 1) << parameters["DIVQ"])
    elif path == "DELAY":
        ratio = Fraction(parameters["DIVF"] + 1, parameters["DIVR"] + 1)
    else:
        raise netlist.fabric.refuse(where, f"PLL feedback path {path} with output select {select} is not translated")
    if select > 1:
        raise netlist.fabric.refuse(where, f"PLL output {output} selects the phase shifter, which is not translated")
    return ratio / 2 if select == 1 else ratio


def _pll(netlist: Netlist, cell: ExtraCell, number: int) -> None:
    parameters = _parameters(netlist, cell)
    kind, where = _kind(netlist, cell, parameters), (cell.x, cell.y)
    for name in _OFF:
        if parameters.get(name):
            raise netlist.fabric.refuse(where, f"PLL option {name} is set and is not translated")
    for name in _UNREAD:
        if netlist.value(*cell.pins[name]) not in (ZERO, ONE):
            raise netlist.fabric.refuse(where, f"PLL input {name} is connected and is not translated")
    if kind.endswith("PAD"):
        site = cell.pads["PLLOUT_A"]
        if site not in netlist.pad_inputs:
            raise netlist.fabric.refuse(site[:2], "the PLL's reference pad is no input")
        reference = netlist.pad_inputs[site]
    else:
        reference = netlist.value(*cell.pins["REFERENCECLK"])
    if reference in (ZERO, ONE):
        raise netlist.fabric.refuse(where, "PLL has no reference clock")
    if netlist.value(*cell.pins["BYPASS"]) != ZERO:
        raise netlist.fabric.refuse(where, "PLL bypass is connected, which is not translated")
    reset = netlist.value(*cell.pins["RESETB"])
    if reset == ZERO:
        raise netlist.fabric.refuse(where, "PLL is held in reset (RESETB is low)")
    outputs = _outputs(kind)
    ratio = {out: _ratio(netlist, cell, parameters, out) for out in outputs}
    if kind == "SB_PLL40_2_PAD":
        ratio["A"] = Fraction(1)
    used = [out for out in outputs if _output_used(netlist, cell, out)]
    clocks = {}
    if netlist.pass_clocks and len({ratio[out] for out in used}) > 1:
        raise netlist.fabric.refuse(where, "PLL has outputs of different frequency; unpack with pll='input'")
    if netlist.pass_clocks and used and ratio[used[0]] != 1 and reference in netlist.clocks:
        raise netlist.fabric.refuse(where, f"{reference} clocks both the PLL and other logic; unpack with pll='input'")
    for out in used:
        name = f"pll{number}_{out.lower()}"
        clocks[out] = reference
        if netlist.pass_clocks or ratio[out] == 1:
            netlist.wire(name, reference)
        else:
            clocks[out] = netlist.clock_port(name)
    if netlist.tables.nets[cell.pins["LOCK"]] in netlist.fabric.selected:
        netlist.wire(f"pll{number}_lock", reset)
    netlist.cells[kind] += 1
    netlist.plls.append(Pll((cell.x, cell.y), kind, parameters, ratio, reference, clocks))
    settings = ", ".join(f"{name} {value}" for name, value in sorted(parameters.items()))
    netlist.blocks.append(f"  // {kind} at ({cell.x}, {cell.y}): {settings}")


def _output_used(netlist: Netlist, cell: ExtraCell, output: str) -> bool:
    x, y, z = site = cell.pads[f"PLLOUT_{output}"]
    number = netlist.tables.gbufpin.get(site)
    return netlist.tables.net(x, y, f"io_{z}/D_IN_0") in netlist.fabric.selected or number in netlist.fabric.padin


def _oscillates(netlist: Netlist, cell: ExtraCell) -> bool:
    port = "CLKHF" if cell.kind == "HFOSC" else "CLKLF"
    return any(netlist.fabric.driven(*cell.pins[port + pin]) for pin in ("EN", "PU"))


def _oscillator(netlist: Netlist, cell: ExtraCell) -> None:
    port = "CLKHF" if cell.kind == "HFOSC" else "CLKLF"
    for pin in ("EN", "PU"):
        if netlist.value(*cell.pins[port + pin]) != ONE:
            raise netlist.fabric.refuse((cell.x, cell.y), f"{cell.kind} must have {port}{pin} tied high, not switched")
    divider = 0
    for index in range(2):
        if cell.kind == "HFOSC":
            x, y, label = cell.config[f"CLKHF_DIV_{index}"]
            divider |= netlist.fabric.option(x, y, f"IpConfig.{label}") << index
    netlist.clock_port(cell.kind.lower())
    netlist.cells[f"SB_{cell.kind}"] += 1
    netlist.blocks.append(f"  // SB_{cell.kind}, divided by {1 << divider}: the simulation drives the clock")
