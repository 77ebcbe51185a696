"""The UltraPlus multiply-accumulate cell SB_MAC16, specialised to its configuration.

Source: Lattice TN1295 (DSP Function Usage Guide), figure 2, and the iCE Technology Library. The letters of the internal
signals are that figure's. Cascades between two cells (ACCUMCI, SIGNEXTIN) have no known wires in the database and are refused.
"""

from __future__ import annotations

from neuroloom.boards.readback.module import ONE, ZERO

from .netlist import Netlist
from .tables import ExtraCell

_TWO_BIT = (
    "TOPOUTPUT_SELECT",
    "TOPADDSUB_LOWERINPUT",
    "TOPADDSUB_CARRYSELECT",
    "BOTOUTPUT_SELECT",
    "BOTADDSUB_LOWERINPUT",
    "BOTADDSUB_CARRYSELECT",
)
_IDLE = [1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0]


def _config(netlist: Netlist, cell: ExtraCell) -> dict[str, int]:
    result: dict[str, int] = {}
    for name, (x, y, label) in cell.config.items():
        bit = int(netlist.fabric.option(x, y, f"IpConfig.{label}"))
        base, _, index = name.rpartition("_")
        if base in _TWO_BIT:
            result[base] = result.get(base, 0) | bit << int(index)
        else:
            result[name] = bit
    return result


def _used(netlist: Netlist, cell: ExtraCell) -> bool:
    """A MAC16 has no enable bit: it is used when it is configured or an output of it is routed."""
    if any(_is_set(netlist, place) for place in cell.config.values()):
        return True
    outputs = [pin for port, pin in cell.pins.items() if port.startswith("O_") or port == "CO"]
    return any(netlist.tables.nets[pin] in netlist.fabric.selected for pin in outputs)


def _is_set(netlist: Netlist, place: tuple[int, int, str]) -> bool:
    return f"IpConfig.{place[2]}" in netlist.fabric.options.get(place[:2], ())


def _cells(netlist: Netlist) -> list[ExtraCell]:
    return [cell for cell in netlist.tables.extra_cells if cell.kind == "MAC16" and _used(netlist, cell)]


def declare(netlist: Netlist) -> None:
    """Name the outputs of all used MAC16 cells; check the fixed pattern of the tiles that carry hard cells."""
    for cell in _cells(netlist):
        for bit in range(32):
            netlist.sources[cell.pins[f"O_{bit}"]] = f"d_{cell.x}_{cell.y}_o[{bit}]"
        netlist.sources[cell.pins["CO"]] = f"d_{cell.x}_{cell.y}_co"
    for (x, y), kind in netlist.tables.kinds.items():
        if kind == "ipcon" or kind.startswith("dsp"):
            _check_pattern(netlist, x, y, kind)


def _check_pattern(netlist: Netlist, x: int, y: int, kind: str) -> None:
    """Hard-cell tiles hold a lookup table that passes input 2 on, and a cascade bit, for each of eight cells: all or none."""
    prefix = "IPCON" if kind == "ipcon" else f"MULT{kind[3]}"
    for index in range(8):
        bits = netlist.fabric.option_bits(x, y, f"LC_{index}")
        cascade = netlist.fabric.option(x, y, f"Cascade.{prefix}_LC0{index}_inmux02_5")
        table = [bits[place] for place in (0, 10, 11, 1, 2, 12, 13, 3, 7, 17, 16, 6, 5, 15, 14, 4)]
        rest = [bits[place] for place in (8, 9, 18, 19)]
        passing = table == _IDLE and not any(rest) and cascade
        empty = not any(bits) and not cascade
        if not passing and not empty:
            raise netlist.fabric.refuse(
                (x, y), f"cell {index} of a hard-cell tile holds a pattern that is not translated"
            )


def connect(netlist: Netlist) -> None:
    """Emit all used MAC16 cells."""
    for cell in _cells(netlist):
        netlist.cells["MAC16"] += 1
        netlist.blocks.append(_Mac16(netlist, cell).text())


class _Mac16:
    def __init__(self, netlist: Netlist, cell: ExtraCell) -> None:
        self.netlist, self.cell = netlist, cell
        self.config = _config(netlist, cell)
        self.prefix = f"d_{cell.x}_{cell.y}"
        self.lines: list[str] = []
        self.clock = self.value("CLK")
        falling = netlist.fabric.option(cell.x, cell.y + 2, "NegClk")
        self.edge = "negedge" if falling else "posedge"
        self.enable = self.value("CE", ONE)

    def value(self, port: str, default: str = ZERO) -> str:
        return self.netlist.value(*self.cell.pins[port], default)

    def bus(self, port: str, width: int = 16) -> str:
        return self.netlist.bus([self.cell.pins[f"{port}_{i}"] for i in range(width)])

    def wire(self, name: str, width: int, expression: str) -> str:
        self.lines.append(f"  wire [{width - 1}:0] {self.prefix}_{name} = {expression};")
        return f"{self.prefix}_{name}"

    def register(self, name: str, width: int, data: str, reset: str, hold: str = ZERO) -> str:
        """A register of the cell: asynchronous reset to 0, clock enable CE, its own hold input."""
        if self.clock in (ZERO, ONE):
            raise self.netlist.fabric.refuse((self.cell.x, self.cell.y), "MAC16 uses registers and has no clock")
        self.netlist.clocks.add(self.clock)
        full = f"{self.prefix}_{name}"
        guards = [self.enable] if self.enable != ONE else []
        guards += [f"~{hold}"] if hold not in (ZERO, ONE) else []
        guards += [ZERO] if hold == ONE else []
        step = (f"if ({' & '.join(guards)}) " if guards else "") + f"{full} <= {data};"
        if reset in (ZERO, ONE):
            if reset == ONE:
                return self.wire(name, width, f"{width}'h0")
            always = f"always @({self.edge} {self.clock}) {step}"
        else:
            always = f"always @({self.edge} {self.clock} or posedge {reset}) if ({reset}) {full} <= 0; else {step}"
        self.lines.append(f"  reg [{width - 1}:0] {full} = 0;\n  {always}")
        return full

    def text(self) -> str:
        config, refuse = self.config, self.netlist.fabric.refuse
        place = (self.cell.x, self.cell.y)
        top, bottom = self.value("IRSTTOP"), self.value("IRSTBOT")
        holds = {name: self.value(f"{name}HOLD") for name in "ABCD"}
        raw = {name: self.wire(f"in{name}", 16, self.bus(name)) for name in "ABCD"}
        stage = {}
        for name, reset in (("A", top), ("B", bottom), ("C", top), ("D", bottom)):
            registered = config[f"{name}_REG"]
            if not registered and holds[name] != ZERO:
                raise refuse(place, f"MAC16 holds input {name}, which is not registered")
            stage[name] = self.register(f"r{name}", 16, raw[name], reset, holds[name]) if registered else raw[name]
        low, high = self._products(stage, top, bottom)
        self._outputs(stage, low, high)
        return f"  // MAC16 ({place[0]}, {place[1]})\n" + "\n".join(self.lines)

    def _products(self, stage: dict[str, str], top: str, bottom: str) -> tuple[dict[str, str], str]:
        """({"F": .., "G": ..} 8 x 8 products as the adders see them, H: the registered or direct 32-bit product)."""
        config, mode8 = self.config, self.config["MODE_8x8"]
        signed = {"A": config["A_SIGNED"], "B": config["B_SIGNED"]}
        parts = {}
        for name in "AB":
            word = stage[name]
            ext = f"{{8{{{word}[15]}}}}" if signed[name] else "8'h0"
            parts[f"{name}h"] = self.wire(f"{name}h", 16, f"{{{ext}, {word}[15:8]}}")
            ext = f"{{8{{{word}[7]}}}}" if signed[name] and mode8 else "8'h0"
            parts[f"{name}l"] = self.wire(f"{name}l", 16, f"{{{ext}, {word}[7:0]}}")
        f = self.wire("F", 16, f"{parts['Ah']} * {parts['Bh']}")
        g = self.wire("G", 16, f"{parts['Al']} * {parts['Bl']}")
        f = self.register("rF", 16, f, top) if config["TOP_8x8_MULT_REG"] else f
        g = self.register("rG", 16, g, bottom) if config["BOT_8x8_MULT_REG"] else g
        uses_h = 2 in (config["TOPADDSUB_LOWERINPUT"], config["BOTADDSUB_LOWERINPUT"]) or 3 in (
            config["TOPOUTPUT_SELECT"],
            config["BOTOUTPUT_SELECT"],
        )
        if not uses_h:
            return {"F": f, "G": g}, ""
        j = self.wire("J", 16, f"{{8'h0, {parts['Al']}[7:0]}} * {parts['Bh']}")
        k = self.wire("K", 16, f"{parts['Ah']} * {{8'h0, {parts['Bl']}[7:0]}}")
        if config["PIPELINE_16x16_MULT_REG1"]:
            if mode8:
                raise self.netlist.fabric.refuse(
                    (self.cell.x, self.cell.y), "MAC16 pipelines a 16-bit product in 8-bit mode"
                )
            j, k = self.register("rJ", 16, j, top), self.register("rK", 16, k, bottom)
        k_sign = f"{{16{{{k}[15]}}}}" if signed["A"] else "16'h0"
        j_sign = f"{{16{{{j}[15]}}}}" if signed["B"] else "16'h0"
        product = f"{{16'h0, {g}}} + ({{{k_sign}, {k}}} << 8) + ({{{j_sign}, {j}}} << 8) + {{{f}, 16'h0}}"
        h = self.wire("L", 32, product)
        if config["PIPELINE_16x16_MULT_REG2"]:
            if mode8:
                raise self.netlist.fabric.refuse(
                    (self.cell.x, self.cell.y), "MAC16 pipelines a 16-bit product in 8-bit mode"
                )
            h = self.register("rH", 32, h, bottom)
        return {"F": f, "G": g}, h

    def _outputs(self, stage: dict[str, str], product: dict[str, str], h: str) -> None:
        config, prefix = self.config, self.prefix
        place = (self.cell.x, self.cell.y)
        if config["BOTADDSUB_LOWERINPUT"] == 3 or config["BOTADDSUB_CARRYSELECT"] == 2:
            raise self.netlist.fabric.refuse(place, "MAC16 takes a cascade from another MAC16, which is not translated")
        # Lower half: Z + (Y ^ subtract) + carry; upper half the same with the lower half's carry and sign extension.
        subtract = {"B": self.value("ADDSUBBOT"), "T": self.value("ADDSUBTOP")}
        z = (stage["B"], product["G"], f"{h}[15:0]")[config["BOTADDSUB_LOWERINPUT"]]
        z = self.wire("Z", 16, z)
        y = stage["D"] if config["BOTADDSUB_UPPERINPUT"] else f"{prefix}_S"
        carry = (ZERO, ONE, None, self.value("CI"))[config["BOTADDSUB_CARRYSELECT"]]
        if config["BOTADDSUB_CARRYSELECT"] != 3 and self.value("CI") != ZERO:
            raise self.netlist.fabric.refuse(place, "MAC16 has CI connected and does not select it")
        low = self._half("BOT", z, y, subtract["B"], carry, stage["D"], product["G"], f"{h}[15:0]", "S")
        x = (stage["A"], product["F"], f"{h}[31:16]", f"{{16{{{z}[15]}}}}")[config["TOPADDSUB_LOWERINPUT"]]
        w = stage["C"] if config["TOPADDSUB_UPPERINPUT"] else f"{prefix}_Q"
        cascade = f"{prefix}_BOTsum[16]"
        carry = (ZERO, ONE, cascade, f"({cascade} ^ {subtract['B']})")[config["TOPADDSUB_CARRYSELECT"]]
        high = self._half("TOP", x, w, subtract["T"], carry, stage["C"], product["F"], f"{h}[31:16]", "Q")
        self.netlist.declarations.append(f"  wire {prefix}_co; wire [31:0] {prefix}_o;")
        self.lines.append(f"  assign {prefix}_co = {prefix}_TOPsum[16] ^ {subtract['T']};")
        self.lines.append(f"  assign {prefix}_o = {{{high}, {low}}};")

    def _half(
        self,
        side: str,
        lower: str,
        upper: str,
        subtract: str,
        carry: str | None,
        load: str,
        product8: str,
        product16: str,
        register: str,
    ) -> str:
        """One adder half: the sum or the loaded word, the accumulator register, and the output multiplexer."""
        select = self.config[f"{side}OUTPUT_SELECT"]
        flip = "" if subtract == ZERO else f" ^ {{16{{{subtract}}}}}"
        accumulator = f"{self.prefix}_{register}"
        needs_register = select == 1 or not self.config[f"{side}ADDSUB_UPPERINPUT"]
        if needs_register:  # declared first: the sum reads it
            self.lines.append(f"  wire [15:0] {self.prefix}_{side}next;")
            hold, reset = self.value(f"OHOLD{side}"), self.value(f"ORST{side}")
            self.register(register, 16, f"{self.prefix}_{side}next", reset, hold)
        total = self.wire(f"{side}sum", 17, f"{{1'b0, {lower}}} + {{1'b0, {upper}{flip}}} + {{16'h0, {carry}}}")
        loads = self.value(f"OLOAD{side}")
        summed = f"{total}[15:0]{flip}"
        value = {ZERO: summed, ONE: load}.get(loads, f"({loads} ? {load} : {summed})")
        if needs_register:
            self.lines.append(f"  assign {self.prefix}_{side}next = {value};")
            value = f"{self.prefix}_{side}next"
        else:
            for port in ("OHOLD", "ORST"):
                self.value(f"{port}{side}")  # connected or not, nothing here to hold or reset
        return (value, accumulator, product8, product16)[select]
