"""``build`` for the boards that only their vendor's tool can build."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="module", autouse=True)
def private_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEUROLOOM_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.mark.parametrize(("board", "part"), [("arty_a7", "xc7a35ticsg324-1L"), ("cmod_a7", "xc7a35tcpg236-1")])
def test_vendor_project_is_written_with_figures(cli, model: Path, board: str, part: str) -> None:
    outcome = cli("build", model, "--board", board, "--json")
    assert outcome.code == 0, outcome.err
    facts = json.loads(outcome.out)
    folder = Path("build") / board
    assert {Path(name).name for name in facts["files"]} == {path.name for path in folder.iterdir()}
    assert {"top.v", "top.xdc", "build.tcl"} <= {path.name for path in folder.iterdir()}
    assert f"-part {part}" in (folder / "build.tcl").read_text()
    # 20 tables and 12 comparisons beside a link of about a thousand
    assert 300 < facts["used"]["luts"] < 3000 and facts["available"]["luts"] == 20_800
    assert facts["latency_ns"] == pytest.approx(1e9 * facts["latency_cycles"] / facts["clock_hz"])


def test_vendor_project_says_what_to_run_and_repeats_itself(cli, model: Path) -> None:
    first = cli("build", model, "--board", "arty_a7", "-o", "a")
    assert first.code == 0 and "vivado -mode batch -source build.tcl" in first.out
    assert "luts" in first.out and "20,800" in first.out and "Fmax" not in first.out
    assert cli("build", model, "--board", "arty_a7", "-o", "b").code == 0
    for path in Path("a").iterdir():
        assert path.read_bytes() == (Path("b") / path.name).read_bytes()


@pytest.mark.parametrize("option", [("--seeds", "1"), ("--no-cache",)])
def test_options_of_place_and_route_are_refused(cli, model: Path, option: tuple[str, ...]) -> None:
    outcome = cli("build", model, "--board", "arty_a7", *option, "-q")
    assert outcome.code == 2 and f"{option[0]} must be left out for arty_a7" in outcome.err
    assert not Path("build").exists()


def test_without_yosys_nothing_is_left_behind(cli, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YOSYS", "/nonexistent/yosys")
    outcome = cli("build", model, "--board", "arty_a7", "-q")
    assert outcome.code == 3 and "YOSYS" in outcome.err and outcome.err.count("\n") == 1
    assert not Path("build").exists()
