"""How each FPGA family is synthesised, placed and packed: one ``Flow`` per family, scripts written out in full."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from neuroloom.boards.board import Board, Pins, Resources


@dataclass(frozen=True)
class Flow:
    """The tool flow of one family.

    ``synth(board)`` is the Yosys command from RTL to cells; ``constraints(board, engine)`` the text of the pin file
    called ``constraint_file``; ``device(board)``, ``pins`` and ``output(stem)`` the arguments of ``placer`` that differ by
    family (chip, pin file, output); ``pack(board, stem, next_image)`` the arguments of ``packer``, writing ``stem + suffix``, with
    the address of the image that this one boots (None: it boots none, or its gateware says which).
    ``spreads(board, engine)`` says whether some cells of each tile are kept free (see spread.py).
    ``routing(board, engine)`` are the placer's arguments that choose its router. ``count(cells)`` turns Yosys cell counts into
    resources; ``utilisation`` maps nextpnr's names to ours. ``defines`` are the ``-D`` of Verilog files that have cells of the
    family in them.
    """

    placer: str
    packer: str
    suffix: str
    constraint_file: str
    synth: Callable[[Board], str]
    constraints: Callable[[Board, str], str]
    device: Callable[[Board], Sequence[str]]
    pins: Sequence[str]
    output: Callable[[str], Sequence[str]]
    pack: Callable[[Board, str, int | None], Sequence[str]]
    count: Callable[[Mapping[str, int]], Mapping[str, int]]
    utilisation: Mapping[str, str]
    bram_block_bits: int
    routing: Callable[[Board, str], Sequence[str]] = lambda board, engine: ()
    spreads: Callable[[Board, str], bool] = lambda board, engine: True
    defines: str = ""

    def read(self, names: Iterable[str]) -> list[str]:
        """Yosys commands that read these Verilog files."""
        first = [f"verilog_defines {self.defines}"] if self.defines else []
        return first + [f"read_verilog {'-sv ' if name.endswith('.sv') else ''}{name}" for name in names]


def _ports(board: Board) -> list[tuple[str, str, Pins]]:
    """(port, pin, resource) of every pin of the design; a bus of one bit keeps its plain name."""
    single = [("clk", board.clock), ("rx", board.uart_rx), ("tx", board.uart_tx)]
    rows = [(name, pins.pins[0], pins) for name, pins in single]
    for index, pin in enumerate(board.leds.pins):
        rows.append((f"leds[{index}]" if len(board.leds.pins) > 1 else "leds", pin, board.leds))
    for name, pins in board.spike_pins.items() if board.wired else ():
        for index, pin in enumerate(pins.pins):
            rows.append((f"{name}[{index}]" if len(pins.pins) > 1 else name, pin, pins))
    rows += [(name, pins.pins[0], pins) for name, pins in board.flash.pins.items() if board.flash_wired]
    rows += [(name, pins.pins[0], pins) for name, pins in board.flash.boot_pins.items() if board.boot_wired]
    return rows


def pin_names(board: Board) -> dict[str, str]:
    """The package pin of each port of a design for ``board``."""
    return {port: pin for port, pin, _ in _ports(board)}


def _mhz(hertz: int) -> str:
    return f"{hertz / 1e6:.6f}"


def _pin_lines(board: Board, place: Callable[[str, str, Mapping[str, object]], Sequence[str]]) -> str:
    """A pin file: the lines of ``place(port, pin, attributes)`` for every pin of the design."""
    return "".join(f"{line}\n" for port, pin, pins in _ports(board) for line in place(port, pin, pins.attributes))


def _counted(**resources: Mapping[str, int]) -> Callable[[Mapping[str, int]], Mapping[str, int]]:
    """Cell counts to resources: by resource, how much of it a cell of each type takes; a * stands for any end of a type's name."""

    def count(cells: Mapping[str, int]) -> Mapping[str, int]:
        def taken(weights: Mapping[str, int]) -> int:
            return sum(
                n * next((w for t, w in weights.items() if fnmatchcase(kind, t)), 0) for kind, n in cells.items()
            )

        return {name: taken(weights) for name, weights in resources.items()}

    return count


# --- iCE40 -------------------------------------------------------------------------------------------------------

_ICE40_DSP = ("up5k",)


def _ice40_synth(board: Board) -> str:
    # SPRAM has no initial content: Yosys uses it only for memories without one
    extra = "-device u -dsp -spram" if board.device in _ICE40_DSP else "-device hx"
    return f"synth_ice40 {extra} -top top"


def _ice40_constraints(board: Board, engine: str) -> str:
    def place(port: str, pin: str, attributes: Mapping[str, object]) -> Sequence[str]:
        return (f"set_io {'-pullup yes ' if attributes.get('PULLUP') else ''}{port} {pin}",)

    return _pin_lines(board, place) + f"set_frequency clk {_mhz(board.speed(engine).plan.input_hz)}\n"


def _ice40_device(board: Board) -> Sequence[str]:
    return (f"--{board.device}", "--package", board.package)


def _ice40_routing(board: Board, engine: str) -> Sequence[str]:
    # router1 rips up without end between unrelated four-input tables; router2 negotiates (same netlist: 68 s, not hours). A spiking
    # core or a gated engine on the UP5K has few wires and long paths: there router2 makes detours that cost 10 ns, and router1
    # keeps to the clock. Of golden, router2 left two wires of seed 1 in each other's way for ever.
    return ("--router", "router1" if engine in ("spiking", "gated", "loader") and board.device == "up5k" else "router2")


def _ice40_output(stem: str) -> Sequence[str]:
    return ("--asc", f"{stem}.asc")


def _ice40_pack(board: Board, stem: str, next_image: int | None) -> Sequence[str]:
    return (f"{stem}.asc", f"{stem}.bin")


_ice40_count = _counted(
    luts={"SB_LUT4": 1},
    ffs={"SB_DFF*": 1},
    bram_bits={"SB_RAM40_4K*": 4096},
    spram_bits={"SB_SPRAM256KA": 262144},
    dsps={"SB_MAC16": 1},
)


# --- ECP5 --------------------------------------------------------------------------------------------------------


def _ecp5_synth(board: Board) -> str:
    # memories in one piece before they are copied into place: a word's initial content is a cell and two wires, and a large engine
    # has a million words
    return "hierarchy -top top; proc; memory_collect; opt_clean; synth_ecp5 -top top"


def _ecp5_constraints(board: Board, engine: str) -> str:
    def place(port: str, pin: str, attributes: Mapping[str, object]) -> Sequence[str]:
        settings = " ".join(f"{key}={value}" for key, value in attributes.items())
        return f'LOCATE COMP "{port}" SITE "{pin}";', f'IOBUF PORT "{port}" {settings};'

    return _pin_lines(board, place) + f'FREQUENCY PORT "clk" {_mhz(board.speed(engine).plan.input_hz)} MHZ;\n'


def _ecp5_device(board: Board) -> Sequence[str]:
    # router1 stays far from an end on networks of gates; router2 gets there once the tiles have room (see spread.py). With that
    # room kept free, the placer may need more than its 10,000 attempts at a cell; it shall not give up then.
    patience = ("--placer-heap-cell-placement-timeout", "0")
    return (f"--{board.device}", "--package", board.package, "--speed", "6", "--router", "router2", *patience)


def _ecp5_spreads(board: Board, engine: str) -> bool:
    # A spiking core fills two thirds of an 85F: with cells kept free as well, nextpnr used up its 10,000 attempts at a cell.
    return engine != "spiking"


def _ecp5_output(stem: str) -> Sequence[str]:
    return ("--textcfg", f"{stem}.config")


def _ecp5_pack(board: Board, stem: str, next_image: int | None) -> Sequence[str]:
    boot = () if next_image is None else ("--bootaddr", hex(next_image))
    return ("--compress", *boot, "--input", f"{stem}.config", "--bit", f"{stem}.bit")


_ecp5_count = _counted(
    # a carry cell is two LUTs, a distributed RAM of 16 x 4 is four and needs two more for its write port
    luts={"LUT4": 1, "CCU2C": 2, "TRELLIS_DPR16X4": 6},
    ffs={"TRELLIS_FF": 1},
    bram_bits={"DP16KD": 18432, "PDPW16KD": 18432},
    spram_bits={},
    dsps={"MULT18X18D": 1},
)


# --- Gowin -------------------------------------------------------------------------------------------------------


def _gowin_synth(board: Board) -> str:
    return "synth_gowin -top top"


def _gowin_constraints(board: Board, engine: str) -> str:
    def place(port: str, pin: str, attributes: Mapping[str, object]) -> Sequence[str]:
        return f'IO_LOC "{port}" {pin};', *(f'IO_PORT "{port}" {key}={value};' for key, value in attributes.items())

    return _pin_lines(board, place)


def _gowin_device(board: Board) -> Sequence[str]:
    return ("--device", board.package, "--vopt", f"family={board.device}")


def _gowin_output(stem: str) -> Sequence[str]:
    return ("--write", f"{stem}.pnr.json")


def _gowin_pack(board: Board, stem: str, next_image: int | None) -> Sequence[str]:
    pins = ("--sspi_as_gpio", "--mspi_as_gpio")  # the configuration pins carry LEDs and the flash after start-up
    return ("-d", board.device, *pins, "-o", f"{stem}.fs", f"{stem}.pnr.json")


_gowin_count = _counted(
    luts={**dict.fromkeys(("LUT1", "LUT2", "LUT3", "LUT4", "ALU"), 1), "RAM16SDP4": 4},
    ffs={"DFF*": 1},
    bram_bits=dict.fromkeys(("DP", "DPB", "DPX9B", "SP", "SPX9", "SDPB", "SDPX9B"), 18432),
    spram_bits={},
    dsps={"MULT*": 1, "PADD*": 1},
)


# --- Artix-7: figures only ---------------------------------------------------------------------------------------


def _xilinx_synth(board: Board) -> str:
    return "synth_xilinx -family xc7 -flatten -top top"


def _xilinx_constraints(board: Board, engine: str) -> str:
    def place(port: str, pin: str, attributes: Mapping[str, object]) -> Sequence[str]:
        settings = " ".join(f"{key} {value}" for key, value in attributes.items())
        return (f"set_property -dict {{PACKAGE_PIN {pin} {settings}}} [get_ports {{{port}}}]",)

    period = 1e9 / board.speed(engine).plan.input_hz
    return _pin_lines(board, place) + f"create_clock -period {period:.6f} [get_ports clk]\n"


_xilinx_count = _counted(
    luts={**{f"LUT{n}": 1 for n in range(1, 7)}, "RAM32M": 4, "RAM64M": 4},
    ffs=dict.fromkeys(("FDRE", "FDSE", "FDCE", "FDPE"), 1),
    bram_bits={"RAMB18E1": 18432, "RAMB36E1": 36864},
    spram_bits={},
    dsps={"DSP48E1": 1},
)


def place_arguments(
    flow: Flow, board: Board, engine: str, json: str, stem: str, seed: int, router: str = ""
) -> list[str]:
    """Arguments of the family's nextpnr for one seed; the report goes to ``stem + ".report.json"``.

    ``router``: another one than the family's for this board and engine.
    """
    common = ("--report", f"{stem}.report.json", "--seed", str(seed), "--freq", _mhz(board.speed(engine).plan.logic_hz))
    chosen = [*flow.device(board), *flow.routing(board, engine)]
    if router:
        chosen[chosen.index("--router") + 1] = router
    return [*chosen, "--json", json, *flow.pins, *flow.output(stem), *common, "--timing-allow-fail"]


def other_router(flow: Flow, board: Board, engine: str) -> str:
    """The router that a board's family does not use for an engine, or "" where there is no choice."""
    words = [*flow.device(board), *flow.routing(board, engine)]
    if "--router" not in words:
        return ""
    return {"router1": "router2", "router2": "router1"}[words[words.index("--router") + 1]]


def pack_only_arguments(flow: Flow, board: Board, json: str, *, whole: bool = False) -> list[str]:
    """Arguments of the family's nextpnr that pack a part of a design, or with its pins the ``whole``, to count what it uses."""
    return [*flow.device(board), "--json", json, *(flow.pins if whole else ()), "--pack-only"]


def _none(*_: object) -> Sequence[str]:
    return ()


FLOWS: Mapping[str, Flow] = {
    "ice40": Flow(
        placer="nextpnr-ice40",
        packer="icepack",
        suffix=".bin",
        constraint_file="top.pcf",
        synth=_ice40_synth,
        constraints=_ice40_constraints,
        device=_ice40_device,
        pins=("--pcf", "top.pcf"),
        output=_ice40_output,
        pack=_ice40_pack,
        count=_ice40_count,
        utilisation={
            "ICESTORM_LC": "luts",
            "ICESTORM_RAM": "brams",
            "ICESTORM_SPRAM": "sprams",
            "ICESTORM_DSP": "dsps",
        },
        bram_block_bits=4096,
        routing=_ice40_routing,
    ),
    "ecp5": Flow(
        placer="nextpnr-ecp5",
        packer="ecppack",
        suffix=".bit",
        constraint_file="top.lpf",
        synth=_ecp5_synth,
        defines="-DNEUROLOOM_ECP5",
        constraints=_ecp5_constraints,
        device=_ecp5_device,
        pins=("--lpf", "top.lpf"),
        output=_ecp5_output,
        pack=_ecp5_pack,
        count=_ecp5_count,
        utilisation={"TRELLIS_COMB": "luts", "TRELLIS_FF": "ffs", "DP16KD": "brams", "MULT18X18D": "dsps"},
        bram_block_bits=18432,
        spreads=_ecp5_spreads,
    ),
    "gowin": Flow(
        placer="nextpnr-himbaechel",
        packer="gowin_pack",
        suffix=".fs",
        constraint_file="top.cst",
        synth=_gowin_synth,
        constraints=_gowin_constraints,
        device=_gowin_device,
        pins=("--vopt", "cst=top.cst"),
        output=_gowin_output,
        pack=_gowin_pack,
        count=_gowin_count,
        utilisation={"LUT4": "luts", "DFF": "ffs", "BSRAM": "brams", "MULT18X18": "dsps"},
        bram_block_bits=18432,
    ),
    "xilinx7": Flow(
        placer="",
        packer="",
        suffix="",
        constraint_file="top.xdc",
        synth=_xilinx_synth,
        constraints=_xilinx_constraints,
        device=_none,
        pins=(),
        output=_none,
        pack=_none,
        count=_xilinx_count,
        utilisation={},
        bram_block_bits=36864,
    ),
}
"""The flow of every family in ``board.FAMILIES``."""

_NAMES = {
    "luts": "LUTs",
    "ffs": "flip-flops",
    "bram_bits": "block RAM bits",
    "spram_bits": "SPRAM bits",
    "dsps": "multipliers",
}


def shortfalls(used: Mapping[str, int], available: Resources) -> list[str]:
    """One phrase for each resource of which ``used`` exceeds ``available``; empty when it fits."""
    phrases = []
    for key, label in _NAMES.items():
        need, have = used.get(key, 0), getattr(available, key)
        if need > have:
            share = f" ({need / have:.0%})" if have else ""
            phrases.append(f"{need} {label} of {have}{share}")
    return phrases
