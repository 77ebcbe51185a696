"""What ``build`` says of its seeds, and the exit code: one that meets the clock is enough."""

from __future__ import annotations

from pathlib import Path

import pytest
from neuroloom.boards.build import BuildResult
from neuroloom.boards.steps import SeedResult
from neuroloom.host.cli import cmd_build
from neuroloom.host.cli.app import main

STUCK = SeedResult(1, 0.0, False, 9.0, "at 2 overused wires for 500 iterations")


def result(*seeds: SeedResult) -> BuildResult:
    chosen = next((s.seed for s in seeds if s.met), seeds[0].seed)
    met, here = all(s.met for s in seeds), Path()
    facts = ("icebreaker", "key", "sha", 24_000_000, {"luts": 9}, {"luts": 5280}, 3, seeds, chosen, met, {}, 1.0)
    return BuildResult(*facts, Path("x.bin"), here, here, here, here, False)


@pytest.mark.parametrize(
    ("seeds", "code", "lines"),
    [
        ((SeedResult(1, 30e6, True, 1.0),), 0, ["seed 1: Fmax 30.0 MHz, 24 MHz met"]),
        (
            (STUCK, SeedResult(2, 20e6, False, 1.0), SeedResult(3, 31e6, True, 1.0)),
            0,
            [
                "seed 1: NOT ROUTED, stayed at 2 overused wires for 500 iterations",
                "seed 2: Fmax 20.0 MHz, 24 MHz NOT MET",
                "seed 3: Fmax 31.0 MHz, 24 MHz met",
                "the bitstream is seed 3's, which meets the clock",
            ],
        ),
        (
            (STUCK, SeedResult(1, 25e6, True, 1.0, router="router1")),
            0,
            ["seed 1 with router1: Fmax 25.0 MHz, 24 MHz met"],
        ),
        ((STUCK, SeedResult(2, 20e6, False, 1.0)), 1, ["seed 2: Fmax 20.0 MHz, 24 MHz NOT MET"]),
    ],
)
def test_one_seed_that_meets_the_clock_is_enough(
    seeds: tuple[SeedResult, ...],
    code: int,
    lines: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(cmd_build, "build_core", lambda *words, **options: result(*seeds))
    words = ["build", "--core", "infer", "--board", "icebreaker", "-o", str(tmp_path), "-q"]
    assert main(words) == code
    said = capsys.readouterr().out
    assert all(line in said for line in lines) and ("the bitstream is" in said) == (code == 0 and len(seeds) > 1)
