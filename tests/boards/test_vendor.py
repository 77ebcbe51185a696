"""Vendor projects and Yosys figures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from neuroloom.boards import toolchain
from neuroloom.boards.registry import load_board
from neuroloom.boards.vendor import core_figures, write_project
from neuroloom.compiler.errors import DoesNotFitError, InputError
from neuroloom.rtl.link.protocol import Identity

ADD = "module add(input clk, input [7:0] a, b, output reg [7:0] s); always @(posedge clk) s <= a ^ b; endmodule\n"


@pytest.mark.parametrize("name", ["icebreaker", "ulx3s_85f", "tang_nano_9k"])
def test_figures_count_what_the_design_needs(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first = core_figures({"add.v": ADD}, "add", load_board(name))
    assert (first.used["luts"], first.used["ffs"], first.used["bram_bits"], first.cached) == (8, 8, 0, False)
    monkeypatch.setattr(toolchain, "run", lambda *args, **kwargs: pytest.fail("a tool ran"))
    again = core_figures({"add.v": ADD}, "add", load_board(name))
    assert again.cached and again.cells == first.cells


def test_figures_need_a_file() -> None:
    with pytest.raises(InputError, match="at least one Verilog file"):
        core_figures({}, "add", load_board("arty_a7"))


def test_project_has_all_files_and_the_part(identity: Identity, inverting: Callable[[], Any], tmp_path: Path) -> None:
    project = write_project(inverting, identity, load_board("arty_a7"), tmp_path / "out")
    assert {path.name for path in project.files} == {"invert.v", "top.v", "top.xdc", "build.tcl"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == {path.name for path in project.files}
    script = (tmp_path / "out" / "build.tcl").read_text()
    assert "-part xc7a35ticsg324-1L" in script and "read_verilog invert.v top.v\n" in script
    constraints = (tmp_path / "out" / "top.xdc").read_text()
    assert "set_property -dict {PACKAGE_PIN E3 IOSTANDARD LVCMOS33} [get_ports {clk}]" in constraints
    assert "create_clock -period 10.000000 [get_ports clk]" in constraints
    assert "MMCME2_BASE" in (tmp_path / "out" / "top.v").read_text()
    assert 100 < project.figures.used["luts"] < 5000 and project.figures.cells["MMCME2_BASE"] == 1


def test_projects_that_cannot_fit_are_not_written(
    identity: Identity, inverting: Callable[[], Any], tmp_path: Path
) -> None:
    board = load_board("cmod_a7")
    small = replace(board, resources=replace(board.resources, luts=100))
    with pytest.raises(DoesNotFitError, match=r"too large for cmod_a7: it needs \d+ LUTs of 100 .* it would fit"):
        write_project(inverting, identity, small, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_boards_with_open_tools_are_refused(identity: Identity, inverting: Callable[[], Any], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="build its bitstream instead"):
        write_project(inverting, identity, load_board("icebreaker"), tmp_path)
