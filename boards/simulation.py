"""From Verilog to the program that simulates a board: Verilator, the harness around it, and a compiler, once per design."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from neuroloom.boards import cache, toolchain

HARNESS = ("harness.cpp", "line.hpp", "nor_flash.hpp", "terminal.hpp")
"""The program around the verilated design: the first is compiled, the others are its headers."""
VERILATOR_FLAGS = (
    *(
        "--cc",
        "--exe",
        "-O3",
        "--prefix",
        "Vboard",
        "--Mdir",
        "obj",
        "--no-timing",
        "--no-assert",
        "--output-split",
        "20000",
    ),
    *("--x-initial", "unique", "--x-assign", "unique", "-Wno-lint", "-Wno-style", "-Wno-fatal", "--error-limit", "5"),
)
MAKE_FLAGS = ("OPT_FAST=-O1", "OPT_GLOBAL=-O1", "OPT_SLOW=-O0", "CFG_CXXFLAGS_PCH_I=-include")
"""-O2 takes half as long again to compile and runs no faster: digits 0.40 (bitstream 0.40) M cycles/s, -O1 0.52 (0.44)."""
RUNTIME_OBJECTS = ("verilated.o", "verilated_threads.o")
"""Objects that are the same for every design: compiled once per Verilator and compiler, half of a small compilation."""
COMPILE_TIMEOUT_S = 1800


def compiled(
    files: Mapping[str, str],
    top: str,
    *,
    jobs: int = 2,
    timeout_s: float = COMPILE_TIMEOUT_S,
    say: Callable[[str], None] = lambda text: None,
) -> tuple[Path, bool]:
    """The program of a design, Verilog texts by name with the module ``top``, and whether it was there already.

    ``jobs`` compilers run at once. Raises MissingToolError, ToolFailedError.
    """
    tools = {name: toolchain.find(name) for name in ("verilator", "make", "g++", "perl")}
    harness = {name: Path(__file__).with_name(name).read_text(encoding="utf-8") for name in HARNESS}
    key = cache.digest(
        {
            "files": files,
            "top": top,
            "harness": harness,
            "flags": [*VERILATOR_FLAGS, *MAKE_FLAGS],
            "tools": {name: tool.version for name, tool in tools.items()},
        }
    )
    entry = cache.lookup("virtual", key)
    found = entry is not None
    if entry is None:
        with cache.workspace("virtual") as work:
            _build(work, {**files, **harness}, sorted(files), top, tools, jobs, timeout_s, say)
            result = work / "result"
            result.mkdir()
            (work / "obj" / "board").rename(result / "board")
            entry = cache.publish(result, "virtual", key)
    else:
        say("cached")
    return entry / "board", found


def _build(
    work: Path,
    texts: Mapping[str, str],
    sources: list[str],
    top: str,
    tools: Mapping[str, Any],
    jobs: int,
    timeout_s: float,
    say: Callable[[str], None],
) -> None:
    # Verilator's makefile compiles in `obj`, where the header of the design is.
    for name, text in texts.items():
        (work / name).write_text(text, encoding="utf-8")
    say("verilating")
    arguments = [*VERILATOR_FLAGS, "--top-module", top, "-o", "board", "-CFLAGS", "-I..", HARNESS[0], *sources]
    toolchain.run(tools["verilator"], arguments, cwd=work, timeout=timeout_s)
    say("compiling")
    versions = {name: tool.version for name, tool in tools.items()}
    runtime = cache.digest({"flags": MAKE_FLAGS, "tools": versions, "root": str(tools["verilator"].path)})
    kept = cache.lookup("verilator-runtime", runtime)
    if kept is not None:
        for name in RUNTIME_OBJECTS:
            shutil.copyfile(kept / name, work / "obj" / name)
    compiler = f"CXX={tools['g++'].argv[0]}"
    arguments = ["-C", "obj", "-f", "Vboard.mk", "-j", str(jobs), compiler, f"LINK={compiler[4:]}", *MAKE_FLAGS]
    toolchain.run(tools["make"], arguments, cwd=work, timeout=timeout_s, env=tools["verilator"].env)
    if kept is None and all((work / "obj" / name).is_file() for name in RUNTIME_OBJECTS):
        store = work / "runtime"
        store.mkdir()
        for name in RUNTIME_OBJECTS:
            shutil.copyfile(work / "obj" / name, store / name)
        cache.publish(store, "verilator-runtime", runtime)
