"""Runs a cocotb testbench on a design under Verilator or Icarus, with a time limit on every step.

Registers and memories without initial content start random under Verilator and unknown under Icarus.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from neuroloom.boards import cache, toolchain
from neuroloom.compiler.errors import MissingToolError

BUILD_TIMEOUT_S = 1800.0
RUN_TIMEOUT_S = 1800.0

RUNTIME_OBJECTS = ("verilated.o", "verilated_vpi.o", "verilated_threads.o")
"""Object files of Verilator's runtime with VPI, the same for every design."""


def _cocotb() -> tuple[Path, Path, str]:
    """(library folder, Verilator's main program, Python entry point) of the installed cocotb."""
    try:
        import cocotb_tools.config as config
        import find_libpython
    except ImportError:
        raise MissingToolError(
            "cocotb (RTL testbenches) is not installed: run `pip install 'neuroloom[tools]'`"
        ) from None
    python = find_libpython.find_libpython()
    if python is None:
        raise MissingToolError("cocotb needs Python's shared library and finds none; install a Python built with it")
    main = Path(config.share_dir) / "lib" / "verilator" / "verilator.cpp"
    return Path(config.libs_dir), main, f"{python};{config.pygpi_entry_point()}"


def _environment(top: str, module: str, folder: Path, seed: int, extra: Mapping[str, str]) -> dict[str, str]:
    libs, _, users = _cocotb()
    return {
        "GPI_USERS": users,
        "PYGPI_PYTHON_BIN": sys.executable,
        "PYTHONPATH": ":".join(p for p in sys.path if p),
        "PATH": str(libs),
        "COCOTB_TOPLEVEL": top,
        "COCOTB_TEST_MODULES": module,
        "COCOTB_RESULTS_FILE": str(folder / "results.xml"),
        "COCOTB_RANDOM_SEED": str(seed),
        "COCOTB_TRUST_INERTIAL_WRITES": "1",
        "COCOTB_LOG_LEVEL": "WARNING",
        "TOPLEVEL_LANG": "verilog",
        **extra,
    }


def verilator(
    files: Sequence[str],
    top: str,
    module: str,
    folder: Path,
    *,
    seed: int,
    env: Mapping[str, str],
    ports: Sequence[str],
) -> None:
    """Compile ``files`` (relative to ``folder``) with Verilator and run the cocotb test module on ``top``.

    Only ``ports`` can be seen from the testbench: everything else may be optimised.
    """
    libs, main, _ = _cocotb()
    tool = toolchain.find("verilator")
    visible = "".join(f'public_flat_rw -module "{top}" -var "{port}"\n' for port in ports)
    (folder / "ports.vlt").write_text("`verilator_config\n" + visible, encoding="utf-8")
    flags = (
        "--x-assign",
        "unique",
        "--x-initial",
        "unique",
        "-Wno-fatal",
        "-Wno-lint",
        "-Wno-style",
        "--timescale",
        "1ns/1ps",
    )
    link = f"-Wl,-rpath,{libs} -L{libs} -lcocotbvpi_verilator"
    arguments = [*("--cc", "--exe", "--vpi", "--Mdir", "obj", "--prefix", "Vtop", "-o", "bench"), *flags]
    arguments += ["--no-timing", "--top-module", top, "-LDFLAGS", link, str(main), "ports.vlt", *files]
    toolchain.run(tool, arguments, cwd=folder, timeout=BUILD_TIMEOUT_S, log=folder / "verilator.log")
    _make(tool, folder)
    program = toolchain.Tool("simulation", (str(folder / "obj" / "bench"),), "", "path", folder)
    full = _environment(top, module, folder, seed, env)
    random = ["+verilator+rand+reset+2", f"+verilator+seed+{1 + seed % 0x7FFFFFFE}"]
    toolchain.run(program, random, cwd=folder, timeout=RUN_TIMEOUT_S, log=folder / "run.log", env=full)


def _make(tool: toolchain.Tool, folder: Path) -> None:
    """Compile the simulation; Verilator's own runtime is compiled once and kept."""
    compiler = toolchain.find("g++")
    flags = ["OPT_FAST=-O1", "OPT_SLOW=-O0", "OPT_GLOBAL=-O1", "CFG_CXXFLAGS_PCH_I=-include"]
    flags += [f"CXX={compiler.argv[0]}", f"LINK={compiler.argv[0]}"]
    key = cache.digest({"flags": flags, "tools": [tool.identity, compiler.identity], "root": str(tool.path)})
    kept = cache.lookup("bench-runtime", key)
    if kept is not None:
        for name in RUNTIME_OBJECTS:
            shutil.copyfile(kept / name, folder / "obj" / name)
    make = ["-C", "obj", "-f", "Vtop.mk", "-j", "2", *flags]
    toolchain.run("make", make, cwd=folder, timeout=BUILD_TIMEOUT_S, log=folder / "make.log", env=tool.env)
    if kept is None:
        with cache.workspace("bench-runtime") as work:
            result = work / "result"
            result.mkdir()
            for name in RUNTIME_OBJECTS:
                shutil.copyfile(folder / "obj" / name, result / name)
            cache.publish(result, "bench-runtime", key)


def icarus(
    files: Sequence[str],
    top: str,
    module: str,
    folder: Path,
    *,
    seed: int,
    env: Mapping[str, str],
    ports: Sequence[str],
    standard: str = "2012",
) -> None:
    """The same with Icarus Verilog; every bit is visible.

    Verilog that Yosys wrote needs the ``standard`` 2005, in which initial values wake the blocks that depend on them.
    """
    import cocotb_tools.config as config

    arguments = [f"-g{standard}", "-o", "sim.vvp", "-s", top, *files]
    (folder / "scale.v").write_text("`timescale 1ns/1ps\n", encoding="utf-8")
    arguments.insert(len(arguments) - len(files), "scale.v")
    toolchain.run("iverilog", arguments, cwd=folder, timeout=BUILD_TIMEOUT_S, log=folder / "iverilog.log")
    full = _environment(top, module, folder, seed, env)
    entry = config.lib_entry("vpi", "icarus")
    toolchain.run(
        "vvp", ["-m", entry, "sim.vvp", "-none"], cwd=folder, timeout=RUN_TIMEOUT_S, log=folder / "run.log", env=full
    )


SIMULATORS: Mapping[str, Callable[..., None]] = {"verilator": verilator, "icarus": icarus}
"""Every simulator that a testbench can run under."""
