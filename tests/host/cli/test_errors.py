"""Bad input: one sentence, the right exit code, no traceback, no partial file left behind."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest


def refused(outcome, code: int, *words: str) -> None:
    assert outcome.code == code, (outcome.out, outcome.err)
    assert outcome.err.startswith("error: ") and outcome.err.count("\n") == 1, outcome.err
    assert "Traceback" not in outcome.err
    for word in words:
        assert word in outcome.err, outcome.err


def test_models_that_are_none(cli, tmp_path: Path) -> None:
    refused(cli("inspect", "absent.nloom", "-q"), 2, "absent.nloom cannot be read: No such file")
    refused(cli("compile", "absent.onnx", "-q"), 2, "absent.onnx cannot be read: No such file")
    (tmp_path / "model.pt").write_bytes(b"x")
    refused(cli("compile", "model.pt", "-q"), 2, "must end in .onnx or .nir or", "export the network to one of these")
    (tmp_path / "text.onnx").write_text("hello")
    refused(cli("compile", "text.onnx", "-q"), 2, "text.onnx")
    (tmp_path / "text.nloom").write_text("hello")
    refused(cli("inspect", "text.nloom", "-q"), 2, "must be a whole .nloom file")
    (tmp_path / "folder.nloom").mkdir()
    refused(cli("inspect", "folder.nloom", "-q"), 2, "folder.nloom cannot be read: Is a directory")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["folder.nloom", "model.pt", "text.nloom", "text.onnx"]


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9])
def test_truncated_models(cli, source: Path, model: Path, share: float) -> None:
    for path in (source, model):
        data = path.read_bytes()
        path.write_bytes(data[: int(share * len(data))])
    refused(cli("compile", source, "-o", "new.nloom", "-q"), 2, "tiny.onnx")
    refused(cli("inspect", model, "-q"), 2, "tiny.nloom")
    assert not Path("new.nloom").exists()


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((0, 9), np.uint8), "must hold at least one sample"),
        (np.zeros((3, 8), np.uint8), "must have the shape (samples, 9), not (3, 8)"),
        (np.full((3, 9), 256), "must be in 0..255, not 256"),
        (np.full((3, 9), np.nan), "must not contain NaN"),
        (np.full((3, 9), "x"), "must be an array of integers or reals"),
    ],
)
def test_samples_that_do_not_fit(cli, model: Path, tmp_path: Path, array: np.ndarray, words: str) -> None:
    np.save(tmp_path / "bad.npy", array)
    for command in (("simulate", model), ("eval", model, "--labels", "bad.npy"), ("verify", model), ("report", model)):
        refused(
            cli(*command, "-i", "bad.npy", "-q", *(["-o", "out.npz"] if command[0] == "simulate" else [])), 2, words
        )
    assert not Path("out.npz").exists()


def test_sample_files_that_are_none(cli, model: Path, tmp_path: Path) -> None:
    refused(cli("simulate", model, "-i", "absent.npy"), 2, "absent.npy cannot be read")
    (tmp_path / "bad.npy").write_bytes(b"\x93NUMPY")
    refused(cli("simulate", model, "-i", "bad.npy"), 2, "damaged or something else")
    np.save(tmp_path / "object.npy", np.array([{}], object), allow_pickle=True)
    refused(cli("simulate", model, "-i", "object.npy"), 2, "file of numbers")
    with zipfile.ZipFile(tmp_path / "bad.npz", "w") as archive:
        archive.writestr("x.npy", b"not an array")
    refused(cli("simulate", model, "-i", "bad.npz"), 2, "damaged or something else")
    np.savez(tmp_path / "names.npz", a=np.zeros((1, 9)), b=np.zeros((1, 9)))
    refused(cli("simulate", model, "-i", "names.npz"), 2, "must hold the arrays image, not a, b")
    (tmp_path / "pictures").mkdir()
    refused(cli("simulate", model, "-i", "pictures"), 2, "must hold images") if _pillow() else None


def _pillow() -> bool:
    import importlib.util

    return importlib.util.find_spec("PIL") is not None


def test_options(cli, model: Path, source: Path, samples: Path) -> None:
    refused(cli("simulate", model, "-i", samples, "--probe", "nothing", "-q"), 2, "probe must name a value")
    refused(cli("simulate", model, "-i", samples, "-o", "y.txt", "-q"), 2, "must end in .npy or .npz")
    refused(cli("simulate", model, "-i", samples, "-o", "y.npy", "-q"), 2, "because there are 2 outputs")
    refused(cli("simulate", model, "-i", samples, "-o", "no/y.npz", "-q"), 2, "cannot be written")
    refused(cli("simulate", model, "-i", samples, "-n", 0, "-q"), 2, "--limit must be at least 1, not 0")
    refused(cli("simulate", model, "-i", samples, "--threads", 0, "-q"), 2, "--threads must be at least 1")
    refused(cli("simulate", model, "-i", samples, "--trace", "t.vcd", "-q"), 2, "--trace must come with")
    refused(cli("compile", source, "--dump-after", "nothing", "-q"), 2, "--dump-after must be one of")
    refused(cli("compile", source, "--keep", "nothing", "-q"), 2, "nothing")
    refused(cli("compile", source, "--board", "nothing", "-q"), 2, "nothing")
    refused(cli("compile", source, "--lut-size", 9, "-q"), 2, "lut size must be 3 to 6, not 9")
    refused(cli("compile", source, "-o", "m.bin", "-q"), 2, "must end in .nloom")
    refused(cli("compile", source, "--input-bounds", "0-16", "-q"), 2, "--input-bounds must be LO..HI")
    refused(cli("compile", source, "--input-scale", "1/0", "-q"), 2, "must be rationals like 1/255")
    refused(cli("compile", source, "--batch-axis", "left", "-q"), 2, "--batch-axis must be an axis number")
    refused(cli("compile", source, "--input-bounds", "picture=0..16", "-q"), 2, "picture")
    refused(cli("verify", model, "--random", 0, "-q"), 2, "--random must be at least 1")
    refused(cli("verify", model, "--to", "netlist", "--random", 5, "-q"), 2, "must be given a board with --board")
    refused(cli("eval", model, "-i", samples, "--output-name", "nothing", "-q"), 2, "--output-name must be one of")
    refused(cli("build", model, "-q"), 2, "a board must be named with --board")
    refused(cli("build", model, "--board", "icebreaker", "--seeds", "a", "-q"), 2, "--seeds must be integers")
    refused(cli("emulate", "x.bin", "-q"), 2, "--board must be given with a bitstream")
    refused(cli("flash", "x.bin", "--board", "icebreaker", "-q"), 2, "x.bin does not exist; build it with")
    assert cli("simulate", model).code == 2
    assert cli("nothing").code == 2
    assert cli().code == 2


def test_networks_too_large_for_the_board(cli) -> None:
    """Said before synthesis: by how much, and where it would fit."""
    network = Path(__file__).parents[3] / "examples" / "mnist_logic" / "mnist_gates48k.onnx"
    refused(
        cli("build", network, "--board", "icebreaker", "-q"), 1, "too large for icebreaker", "it would fit ulx3s_85f"
    )


def test_labels(cli, model: Path, samples: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "short.npy", np.zeros(5, int))
    refused(cli("eval", model, "-i", samples, "--labels", "short.npy", "-q"), 2, "labels must be 30 class numbers")


def test_ports(cli, model: Path, samples: Path, tmp_path: Path) -> None:
    refused(cli("run", model, "-i", samples, "--port", "/dev/nothing"), 4, "/dev/nothing")
    refused(cli("ping", "--port", "/dev/nothing"), 4, "/dev/nothing")
    refused(cli("doctor", "--port", "/dev/nothing"), 4, "/dev/nothing")
    (tmp_path / "file").write_text("")
    refused(cli("ping", "--port", "file"), 4, "file")


def test_missing_tools(cli, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YOSYS", "/nonexistent/yosys")
    outcome = cli("build", model, "--board", "icebreaker", "-q")
    refused(outcome, 3, "YOSYS")


def test_reports_of_another_model(cli, model: Path, tmp_path: Path) -> None:
    (tmp_path / "v.json").write_text('{"hash": "00", "rungs": []}')
    refused(cli("report", model, "--verified", "v.json", "-q"), 2, "must be about this model")
    (tmp_path / "v.json").write_text("[]")
    refused(cli("report", model, "--verified", "v.json", "-q"), 2, "must be a file written by")


def test_interrupts(cli, model: Path, samples: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from neuroloom.model import Model

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Model, "outputs", stop)
    refused(cli("simulate", model, "-i", samples, "-o", "y.npz", "-q"), 130, "interrupted")
    assert not Path("y.npz").exists()
