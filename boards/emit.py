"""Amaranth components to RTLIL and Verilog text, without paths of the machine they were made on."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from amaranth.back import rtlil
from neuroloom.boards import toolchain

VERILOG_SCRIPT = "proc -nomux -norom\nmemory_collect\nwrite_verilog -norename -noattr {file}\n"
"""Yosys commands from Amaranth's RTLIL to behavioural Verilog, as Amaranth itself does it."""


def to_rtlil(component: Any, name: str = "top") -> str:
    """RTLIL text of a component; equal designs give equal text on any machine."""
    return rtlil.convert(component, name=name, emit_src=False)


def to_verilog(component: Any, name: str = "top", *, timeout: float = 600) -> str:
    """Behavioural Verilog of a component, through Yosys; ``timeout`` in seconds."""
    with tempfile.TemporaryDirectory(prefix="neuroloom-") as folder:
        work = Path(folder)
        (work / "in.il").write_text(to_rtlil(component, name), encoding="utf-8")
        (work / "run.ys").write_text("read_rtlil in.il\n" + VERILOG_SCRIPT.format(file="out.v"), encoding="utf-8")
        toolchain.run("yosys", ["-q", "-s", "run.ys"], cwd=work, timeout=timeout)
        return (work / "out.v").read_text(encoding="utf-8")
