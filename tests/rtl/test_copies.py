"""Copies of a register stay apart in synthesis, which merges equal registers bit by bit."""

from __future__ import annotations

import re
from pathlib import Path

from neuroloom.boards import emit, toolchain
from neuroloom.compiler.spiking.core import CoreConfig
from neuroloom.rtl.copies import COPIES_FILE, COPIES_VERILOG
from neuroloom.rtl.spiking.accumulators_large import SHARE, LargeAccumulators

SCRIPT = (
    f"read_rtlil top.il; read_verilog {COPIES_FILE}; hierarchy -top top; proc; flatten; opt -full; write_rtlil out.il"
)


def test_every_few_accumulators_keep_a_row_number_of_their_own(tmp_path: Path) -> None:
    unit = LargeAccumulators(CoreConfig("custom", lanes=8, neurons=512, inputs=16))
    width = len(unit.row)
    (tmp_path / "top.il").write_text(emit.to_rtlil(unit), encoding="utf-8")
    (tmp_path / COPIES_FILE).write_text(COPIES_VERILOG, encoding="utf-8")
    toolchain.run("yosys", ["-q", "-p", SCRIPT], cwd=tmp_path, timeout=300)
    text = (tmp_path / "out.il").read_text(encoding="utf-8")
    found = re.findall(r"^  cell \$\w*dff\w* \S*copies.*?^    parameter \\WIDTH (\d+)", text, re.MULTILINE | re.DOTALL)
    groups = unit.banks // SHARE
    assert groups == 4 and sum(map(int, found)) == groups * (2 * width + 1)
