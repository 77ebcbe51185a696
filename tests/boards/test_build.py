"""Bitstream builds: the record, the cache, extra Verilog, and designs that do not fit."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from neuroloom.boards import build as build_module
from neuroloom.boards import emit, toolchain
from neuroloom.boards.build import build, make_top
from neuroloom.boards.flows import FLOWS, shortfalls
from neuroloom.boards.registry import all_boards, load_board
from neuroloom.boards.steps import fitting_boards, usage_from_log
from neuroloom.compiler.errors import DoesNotFitError, InputError
from neuroloom.rtl.link.protocol import Identity


def test_build_leaves_a_bitstream_and_an_honest_record(small_build: tuple[Any, list[str], Path]) -> None:
    result, said, out = small_build
    assert said == ["elaborating", "synthesis", "place and route, seed 1", "packing"]
    assert not result.cached and result.bitstream == out / "icebreaker.bin"
    data = result.bitstream.read_bytes()
    assert b"\x7e\xaa\x99\x7e" in data[:200] and len(data) > 100_000
    assert result.clock_hz == 24_000_000 and result.board == "icebreaker"
    assert [seed.seed for seed in result.seeds] == [1] and result.chosen_seed == 1
    assert result.seeds[0].met == (result.seeds[0].fmax_hz >= 24e6) == result.timing_met
    assert result.used["luts"] <= result.available["luts"] == 5280
    # the shell is most of this design; alone it may take a few cells more than next to an engine
    assert 0.7 * result.used["luts"] < result.shell_luts < 1.1 * result.used["luts"]
    assert set(result.tools) == {"yosys", "nextpnr-ice40", "icepack"}
    log = (out / "seed1.log").read_text()
    assert "--json spread.json" in log  # room was left in the tiles, and is not counted as used
    packed = usage_from_log((out / "pack-only.log").read_text(), FLOWS["ice40"]).used["luts"]
    assert packed == result.used["luts"] < usage_from_log(log, FLOWS["ice40"]).used["luts"]
    record = json.loads((out / "build.json").read_text())
    assert record["design_sha256"] == result.design_sha256 and record["chosen_seed"] == 1
    assert "module top(" in result.verilog.read_text() and "SB_LUT4" in result.netlist.read_text()
    assert json.loads(result.netlist_json.read_text())["modules"]["top"]["ports"].keys() == {"clk", "rx", "tx", "leds"}
    assert not [path for path in out.iterdir() if path.name.startswith(".")]


def test_second_build_is_a_hit_that_says_so(
    small_build: tuple[Any, list[str], Path],
    identity: Identity,
    inverting: Callable[[], Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, _, _ = small_build
    monkeypatch.setattr(toolchain, "run", lambda *args, **kwargs: pytest.fail("a tool ran"))
    said: list[str] = []
    again = build(inverting, identity, load_board("icebreaker"), seeds=(1,), progress=said.append)
    assert again.cached and said == ["elaborating", "cached"]
    assert again.bitstream.read_bytes() == first.bitstream.read_bytes()
    assert (again.key, again.seeds, again.design_sha256) == (first.key, first.seeds, first.design_sha256)


def test_other_seeds_or_identity_are_other_builds(
    small_build: tuple[Any, list[str], Path],
    identity: Identity,
    inverting: Callable[[], Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Ran(Exception):
        pass

    def ran(*args: object, **kwargs: object) -> None:
        raise Ran

    monkeypatch.setattr(toolchain, "run", ran)
    board = load_board("icebreaker")
    with pytest.raises(Ran):
        build(inverting, identity, board, seeds=(2,))
    other = Identity("loopback", "any", bytes(32), bytes_in=1, bytes_out=1, clock_hz=1)
    with pytest.raises(Ran):
        build(inverting, other, board, seeds=(1,))
    assert not list((Path(build_module.cache.cache_root()) / "build").glob("work-*"))


def test_too_large_says_by_how_much_and_what_would_fit(
    identity: Identity, inverting: Callable[[], Any], tmp_path: Path
) -> None:
    board = load_board("icebreaker")
    tiny = replace(board, name="tiny", resources=replace(board.resources, ffs=200, bram_bits=4096))
    with pytest.raises(DoesNotFitError) as caught:
        build(inverting, identity, tiny, seeds=(1,), out_dir=tmp_path / "out")
    assert re.fullmatch(
        r"The design is too large for tiny: it needs \d+ flip-flops of 200 \(\d+%\) and \d+ block RAM bits of 4096 "
        r"\(\d+%\); it would fit icebreaker",
        str(caught.value),
    )
    assert caught.value.exit_code == 1 and not (tmp_path / "out").exists()


def test_fitting_boards_are_listed_smallest_first() -> None:
    assert fitting_boards({"luts": 5000})[0] == "icebreaker"
    assert fitting_boards({"luts": 8000})[0] == "tang_nano_9k"
    assert fitting_boards({"luts": 50_000}) == ["ulx3s_85f"]
    assert fitting_boards({"luts": 100_000}) == []
    assert fitting_boards({"spram_bits": 1}) == ["icebreaker"]


def test_shortfalls_name_every_resource() -> None:
    resources = load_board("icebreaker").resources
    assert shortfalls({"luts": 5280, "dsps": 8}, resources) == []
    assert shortfalls({"luts": 10560, "dsps": 9, "bram_bits": 122881}, resources) == [
        "10560 LUTs of 5280 (200%)",
        "122881 block RAM bits of 122880 (100%)",
        "9 multipliers of 8 (112%)",
    ]
    hx8k = load_board("ice40_hx8k_evn").resources
    assert shortfalls({"spram_bits": 5}, hx8k) == ["5 SPRAM bits of 0"]


@pytest.mark.parametrize("name", ["../x.v", "x.vhd", "top.v", "a b.v", "netlist.v"])
def test_extra_file_names_are_checked(identity: Identity, loopback: Callable[[], Any], name: str) -> None:
    with pytest.raises(InputError, match=r"Extra file must be a plain name ending in \.v or \.sv"):
        build(loopback, identity, load_board("icebreaker"), extra_files={name: ""})


def test_seeds_are_checked(identity: Identity, loopback: Callable[[], Any]) -> None:
    for seeds in ((), (1, 1)):
        with pytest.raises(InputError, match="Seeds must be different and at least one"):
            build(loopback, identity, load_board("icebreaker"), seeds=seeds)


def test_vendor_boards_are_not_built_here(identity: Identity, loopback: Callable[[], Any]) -> None:
    with pytest.raises(InputError, match="use the vendor project instead"):
        build(loopback, identity, load_board("arty_a7"))


def test_design_text_does_not_depend_on_place_or_time(identity: Identity, loopback: Callable[[], Any]) -> None:
    texts = {emit.to_rtlil(make_top(loopback(), identity, load_board("icebreaker"))[0]) for _ in range(2)}
    assert len(texts) == 1 and "attribute \\src" not in texts.pop()


@pytest.mark.parametrize("board", all_boards(), ids=lambda board: board.name)
def test_constraints_name_every_port_once(board: Any) -> None:
    flow = FLOWS[board.family]
    words = flow.constraints(board, "logic").replace('"', " ").replace("{", " ").replace("}", " ").split()
    for port in ("rx", "tx", *(f"leds[{index}]" for index in range(len(board.leds.pins)))):
        assert words.count(port.strip("]")) + words.count(port) + words.count(port + "]") >= 1
    for pin in (*board.clock.pins, *board.uart_rx.pins, *board.uart_tx.pins, *board.leds.pins):
        assert sum(word.strip(";") == pin for word in words) == 1


def test_last_table_of_the_placer_counts() -> None:
    log = "Info: Device utilisation:\nInfo: \t ICESTORM_LC:   6100/   5280   115%\nInfo: \t SB_IO:  5/ 39   12%\n"
    later = "Info: \t ICESTORM_LC:   5300/   5280   100%\nInfo: \t ICESTORM_RAM:  9/ 30   30%\n"
    usage = usage_from_log(log + later, FLOWS["ice40"])
    assert usage.used == {"luts": 5300, "brams": 9} and usage.available == {"luts": 5280, "brams": 30}


def test_failed_tool_leaves_its_log_and_no_output(
    identity: Identity, inverting: Callable[[], Any], tmp_path: Path
) -> None:
    files = {"invert.v": "module invert(input [7:0] a, output [7:0] y); assign y = b +; endmodule\n"}
    with pytest.raises(toolchain.ToolFailedError) as caught:
        build(inverting, identity, load_board("icebreaker"), extra_files=files, out_dir=tmp_path / "out")
    text = str(caught.value)
    assert text.startswith("yosys failed with status 1: ") and "syntax error" in text
    log = Path(text.rpartition("full log: ")[2])
    assert "syntax error" in log.read_text() and not (tmp_path / "out").exists()
