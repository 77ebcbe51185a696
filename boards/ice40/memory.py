"""Memories: block RAM (SB_RAM40_4K in every width and clock edge) and the UltraPlus single-port RAM (SB_SPRAM256KA).

Source: Lattice's Technology Library and Memory Usage Guide. A read returns the old word when the same address is written
at the same edge. Memory that the bitstream does not initialise starts with pseudo-random words.
"""

from __future__ import annotations

from neuroloom.boards.readback.module import ONE, ZERO

from .layout import bram_words
from .netlist import Netlist
from .tables import ExtraCell

_LANES = {1: ("5555", 8, 8, 0), 2: ("1111", 9, 8, 1), 3: ("0101", 10, 8, 3)}
"""Width mode: mask of one lane, most and least significant address bit that select it, data pin offset in the lane."""


def _random_fill(name: str, depth: int, number: int) -> str:
    """An initial block that fills a memory with a 32-bit xorshift sequence (Marsaglia 2003); parameter SEED varies it."""
    return (
        f"  reg [31:0] {name}_x; integer {name}_i;\n"
        f"  initial begin\n    {name}_x = SEED ^ 32'd{2654435769 * (number + 1) % (1 << 32)};\n"
        f"    if ({name}_x == 0) {name}_x = 1;\n"
        f"    for ({name}_i = 0; {name}_i < {depth}; {name}_i = {name}_i + 1) begin\n"
        f"      {name}_x = {name}_x ^ ({name}_x << 13); {name}_x = {name}_x ^ ({name}_x >> 17);\n"
        f"      {name}_x = {name}_x ^ ({name}_x << 5); {name}[{name}_i] = {name}_x[31:16];\n"
        f"    end\n  end\n"
    )


def _powered(netlist: Netlist, x: int, y: int) -> bool:
    bit = netlist.fabric.option(x, y, "RamConfig.PowerUp")
    return not bit if netlist.tables.device == "1k" else bit


def _block_rams(netlist: Netlist):
    for (x, y), kind in netlist.tables.kinds.items():
        if kind == "ramb" and _powered(netlist, x, y):
            yield x, y


def declare(netlist: Netlist) -> None:
    """Name the outputs of all block RAMs and single-port RAMs."""
    for x, y in _block_rams(netlist):
        for bit in range(16):
            netlist.sources[_pin(netlist, x, y, f"ram/RDATA_{bit}")] = f"r_{x}_{y}[{bit}]"
    for cell in _single_port(netlist):
        for bit in range(16):
            netlist.sources[cell.pins[f"DATAOUT_{bit}"]] = f"s_{cell.x}_{cell.z}[{bit}]"


def _pin(netlist: Netlist, x: int, y: int, name: str) -> tuple[int, int, str]:
    """A block RAM pin is in the lower or the upper of its two tiles, depending on the device."""
    return (x, y, name) if netlist.tables.net(x, y, name) is not None else (x, y + 1, name)


def connect(netlist: Netlist) -> None:
    """Emit all memories."""
    for number, (x, y) in enumerate(_block_rams(netlist)):
        _block_ram(netlist, x, y, number)
    for number, cell in enumerate(_single_port(netlist)):
        _spram(netlist, cell, number)


def _and(*terms: str) -> str:
    if ZERO in terms:
        return ZERO
    return " & ".join(term for term in terms if term != ONE) or ONE


def _block_ram(netlist: Netlist, x: int, y: int, number: int) -> None:
    fabric, name = netlist.fabric, f"{x}_{y}"

    def value(port: str, default: str = ZERO) -> str:
        return netlist.value(*_pin(netlist, x, y, f"ram/{port}"), default)

    def bus(port: str, high: int, low: int = 0) -> str:
        return netlist.bus([_pin(netlist, x, y, f"ram/{port}_{i}") for i in range(low, high + 1)])

    config = [fabric.option(x, y + 1, f"RamConfig.CBIT_{i}") for i in range(4)]
    write_mode, read_mode = config[0] + 2 * config[1], config[2] + 2 * config[3]
    netlist.cells["RAM40_4K"] += 1
    text = [
        f"  // block RAM ({x}, {y}): write mode {write_mode}, read mode {read_mode}",
        f"  reg [15:0] m_{name} [0:255];",
    ]
    words = bram_words(fabric.stream, x, y)
    if words is None:
        text.append(_random_fill(f"m_{name}", 256, number).rstrip("\n"))
    else:
        text.append(f"  integer i_{name};\n  initial begin")
        text.append(f"    for (i_{name} = 0; i_{name} < 256; i_{name} = i_{name} + 1) m_{name}[i_{name}] = 0;")
        text += [f"    m_{name}[{i}] = 16'h{int(word):04x};" for i, word in enumerate(words) if word]
        text.append("  end")

    write = _and(value("WE"), value("WCLKE", ONE))
    used = {"W": write != ZERO, "R": value("RE") != ZERO}
    clocks = {}
    for side in "RW":
        _, tile_y, _ = _pin(netlist, x, y, f"ram/{side}CLK")
        clocks[side] = value(f"{side}CLK")
        if used[side] and clocks[side] in (ZERO, ONE):
            raise fabric.refuse((x, tile_y), f"block RAM uses its {side} port, which has no clock")
        netlist.clocks.add(clocks[side])
        edge = "negedge" if fabric.option(x, tile_y, "NegClk") else "posedge"
        clocks[side] = f"{edge} {clocks[side]}"
    address, data, mask = bus("WADDR", 7), bus("WDATA", 15), bus("MASK", 15)
    read = _and(value("RE"), value("RCLKE", ONE))
    read_address = bus("RADDR", 7)
    lanes = {"WADDR": "0", "RADDR": "0"}
    for port, mode in (("WADDR", write_mode), ("RADDR", read_mode)):
        top = _LANES[mode][1] if mode else 7
        if mode:
            lanes[port] = bus(port, top, 8)
        for bit in range(top + 1, 11):  # wired, but not decoded in this width
            if value(f"{port}_{bit}") not in (ZERO, ONE):
                raise fabric.refuse((x, y), f"block RAM {port}_{bit} is connected and its width mode does not use it")
    if write_mode and mask != "16'h0":
        raise fabric.refuse((x, y), f"block RAM MASK is connected in write mode {write_mode}, which is not translated")
    if used["W"]:
        text.append(f"  wire [7:0] wa_{name} = {address};\n  wire [15:0] wd_{name} = {data};")
        old = f"m_{name}[wa_{name}]"
        if write_mode == 0 and mask == "16'h0":
            new = f"wd_{name}"
        elif write_mode == 0:
            text.append(f"  wire [15:0] wm_{name} = {mask};")
            new = f"({old} & wm_{name}) | (wd_{name} & ~wm_{name})"
        else:
            lane, _, _, shift = _LANES[write_mode]
            text.append(f"  wire [15:0] wl_{name} = 16'h{lane} << {lanes['WADDR']};")
            spread = f"((wd_{name} >> {shift}) & 16'h{lane}) << {lanes['WADDR']}"
            new = f"({old} & ~wl_{name}) | ({spread})"
        guard = "" if write == ONE else f"if ({write}) "
        text.append(f"  always @({clocks['W']}) {guard}{old} <= {new};")
    netlist.declarations.append(f"  reg [15:0] r_{name} = 16'h0;")
    if used["R"]:
        text.append(f"  wire [7:0] ra_{name} = {read_address};")
        word = f"m_{name}[ra_{name}]"
        if read_mode:
            lane, _, _, shift = _LANES[read_mode]
            word = f"(({word} >> {lanes['RADDR']}) & 16'h{lane}) << {shift}"
        guard = "" if read == ONE else f"if ({read}) "
        text.append(f"  always @({clocks['R']}) {guard}r_{name} <= {word};")
    netlist.blocks.append("\n".join(text))


def _single_port(netlist: Netlist) -> list[ExtraCell]:
    """Enabled single-port RAMs. The enable option's tile bits are the translators' business even when off."""
    cells = []
    for cell in netlist.tables.extra_cells:
        if cell.kind == "SPRAM":
            x, y, name = cell.config["SPRAM_EN"]
            if netlist.fabric.option(x, y, f"IpConfig.{name}"):
                cells.append(cell)
    return cells


def _spram(netlist: Netlist, cell: ExtraCell, number: int) -> None:
    name = f"{cell.x}_{cell.z}"

    def value(port: str) -> str:
        return netlist.value(*cell.pins[port])

    def bus(port: str, width: int) -> str:
        return netlist.bus([cell.pins[f"{port}_{i}"] for i in range(width)])

    clock = value("CLOCK")
    if clock in (ZERO, ONE):
        raise netlist.fabric.refuse((cell.x, cell.y), f"single-port RAM {cell.z} has no clock")
    netlist.clocks.add(clock)
    netlist.cells["SPRAM256KA"] += 1
    lanes = "\n".join(
        f"        if (sm_{name}[{i}]) sp_{name}[sa_{name}][{4 * i + 3}:{4 * i}] <= sd_{name}[{4 * i + 3}:{4 * i}];"
        for i in range(4)
    )
    netlist.declarations.append(f"  reg [15:0] s_{name} = 16'h0;")
    # Lattice leaves the output undefined after a write or in standby: the complement of the data shows whoever relies on it.
    netlist.blocks.append(
        f"  // single-port RAM {cell.z} at column {cell.x} (POWEROFF is active low)\n"
        f"  reg [15:0] sp_{name} [0:16383];\n"
        + _random_fill(f"sp_{name}", 16384, 64 + number)
        + f"  wire [13:0] sa_{name} = {bus('ADDRESS', 14)};\n"
        f"  wire [15:0] sd_{name} = {bus('DATAIN', 16)};\n"
        f"  wire [3:0] sm_{name} = {bus('MASKWREN', 4)};\n"
        f"  always @(posedge {clock}) begin\n"
        f"    if ({value('SLEEP')} | ~{value('POWEROFF')}) s_{name} <= 16'h0;\n"
        f"    else if ({value('STANDBY')}) s_{name} <= ~sd_{name};\n"
        f"    else if ({value('CHIPSELECT')}) begin\n"
        f"      if ({value('WREN')}) begin\n{lanes}\n        s_{name} <= ~sd_{name};\n"
        f"      end else s_{name} <= sp_{name}[sa_{name}];\n    end\n  end"
    )
