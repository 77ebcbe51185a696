"""A small network, its samples, and the command line run in this process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from neuroloom.compiler.frontends.export import LogicModelWriter
from neuroloom.host.cli.app import main


class Outcome(NamedTuple):
    """Exit code, standard output, standard error."""

    code: int
    out: str
    err: str


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Outcome]:
    """Return ``cli(*words)``, run in an empty folder; options that argparse itself refuses give code 2 too."""
    monkeypatch.chdir(tmp_path)

    def run(*words: object) -> Outcome:
        capsys.readouterr()
        try:
            code = main([str(w) for w in words])
        except SystemExit as e:
            code = int(e.code or 0)
        seen = capsys.readouterr()
        return Outcome(code, seen.out, seen.err)

    return run


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """tiny.onnx: 9 pixels 0..255, 12 thresholds' bits, 20 tables, 4 classes."""
    rng = np.random.default_rng(7)
    w = LogicModelWriter("tiny")
    x = w.input("image", (9,), "uint8")
    bits = w.thermometer(x, rng.integers(20, 230, (9, 2)), relation=">=", name="encoder")
    hidden = w.lookup_table(bits, rng.integers(0, 18, (20, 3)), rng.integers(0, 2, (20, 8)), name="layer1")
    scores = w.group_sum(hidden, groups=4, tau=2.0, name="sum")
    w.output(scores, "scores")
    w.output(w.argmax(scores, name="class"), "label")
    path = tmp_path / "tiny.onnx"
    w.save(path)
    return path


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    """x.npz: 30 samples ``x`` and labels ``y``."""
    rng = np.random.default_rng(8)
    path = tmp_path / "x.npz"
    np.savez(path, x=rng.integers(0, 256, (30, 9), dtype=np.uint8), y=rng.integers(0, 4, 30))
    return path


@pytest.fixture
def model(cli: Callable[..., Outcome], source: Path) -> Path:
    """tiny.nloom, compiled by the command."""
    outcome = cli("compile", source, "-o", "tiny.nloom", "-q")
    assert outcome.code == 0, outcome.err
    return source.with_suffix(".nloom")
