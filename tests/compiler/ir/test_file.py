"""The text form and the .nloom file: they load back equal, are the same bytes every time, and refuse what is unsound."""

from __future__ import annotations

import hashlib
import json
import zipfile
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from neuroloom.compiler.errors import InputError
from neuroloom.compiler.ir import Affine, Builder, Graph, Type
from neuroloom.compiler.ir.file import from_bytes, load, save, to_bytes
from neuroloom.compiler.ir.text import from_text, to_text


def gated() -> Graph:
    b = Builder('net "quoted" ü', clocked=True)
    x = b.input(
        "x:0",
        Type(8, True, 4),
        (2, 3),
        affine=Affine.of([Fraction(1, 3), 2], [0, Fraction(-1, 7)], axis=0),
        source="in",
    )
    s = b.state(np.zeros((2, 3)), Type(8, True, 4), "persistent", name="h")
    c = b.input("c", Type(1), ())
    cast = {"type": "s8.4", "factor": "1", "rounding": "half_even", "overflow": "wrap"}
    new = b.node(
        "when",
        [c],
        source='If "a"',
        regions=[b.region(lambda: [b.node("requantize", [b.node("add", [x, s])], **cast)]), b.region(lambda: [s])],
    )
    b.update(s, new)
    values, index = b.nodes("topk", [x], axis=1, k=2, largest=True, name="best")
    b.output("new state", new, Affine.of(Fraction(1, 16)))
    b.output("index", index)
    graph = b.finish()
    graph.records = {"dialect": "snntorch", "scales": [1, 2.5, None]}
    return graph


def test_round_trip(operation_case) -> None:
    graph = operation_case[0]
    assert from_text(*to_text(graph)).equals(graph)
    assert from_bytes(to_bytes(graph)).equals(graph)


def test_control_state_affine_and_names_survive() -> None:
    graph = gated()
    again = from_bytes(to_bytes(graph))
    assert again.equals(graph) and again.records == graph.records
    again.nodes[0].attrs["lifetime"] = "sample"
    assert not again.equals(graph)


def test_bytes_are_the_same_on_every_machine() -> None:
    assert to_bytes(gated()) == to_bytes(gated())
    assert hashlib.sha256(to_bytes(gated())).hexdigest() == GATED_HASH


GATED_HASH = "a7182b201ebb3ea2da9b17fa5d5bed0ce34e703fb841e3b1dc173fef03602859"


def test_save_and_load(tmp_path: Path) -> None:
    save(gated(), tmp_path / "g.nloom")
    assert load(tmp_path / "g.nloom").equals(gated())
    assert [p.name for p in tmp_path.iterdir()] == ["g.nloom"]
    with pytest.raises(InputError, match="cannot be written: No such file or directory; choose another path"):
        save(gated(), tmp_path / "no" / "g.nloom")
    with pytest.raises(InputError, match="cannot be read: No such file"):
        load(tmp_path / "absent.nloom")


@pytest.mark.parametrize("cut", [0, 1, 50, 300, -1, -30])
def test_truncated_files(cut: int) -> None:
    with pytest.raises(InputError, match="g.nloom must be a whole .nloom file"):
        from_bytes(to_bytes(gated())[:cut], "g.nloom")


def changed(tmp_path: Path, member: str, change) -> bytes:
    path, out = tmp_path / "a.nloom", tmp_path / "b.nloom"
    path.write_bytes(to_bytes(gated()))
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(out, "w") as target:
        for name in source.namelist():
            data = source.read(name)
            target.writestr(name, change(data) if name == member else data)
    return out.read_bytes()


@pytest.mark.parametrize(
    ("member", "change", "sentence"),
    [
        ("manifest.json", lambda d: b"{}", "whole .nloom file"),
        ("manifest.json", lambda d: b"[" * 100_000, "whole .nloom file"),
        (
            "manifest.json",
            lambda d: d.replace(b'"version": 1', b'"version": 9'),
            "format version 1, not 9; compile the source again",
        ),
        ("manifest.json", lambda d: d.replace(b"  2,\n    3", b"  2,\n    3000000000000"), "whole .nloom file"),
        ("manifest.json", lambda d: d.replace(b"int64", b"object"), "whole .nloom file"),
        ("graph.txt", lambda d: d.replace(b"wrap", b"slip"), "unsound graph"),
        ("graph.txt", lambda d: d.replace(b"@0", b"@7"), "tensors are below @1"),
        ("graph.txt", lambda d: d.replace(b"} else {", b"}"), "unsound graph|line"),
        ("graph.txt", lambda d: d + b"garbage\n", "line"),
        ("graph.txt", lambda d: b"\xff\xfe", "whole .nloom file"),
        ("tensors/0", lambda d: d[:-1], "whole .nloom file"),
    ],
)
def test_damaged_files(tmp_path: Path, member: str, change, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        from_bytes(changed(tmp_path, member, change), "b.nloom")


def test_no_member_of_the_file_is_code(tmp_path: Path) -> None:
    (tmp_path / "g").write_bytes(to_bytes(gated()))
    with zipfile.ZipFile(tmp_path / "g") as archive:
        assert archive.namelist() == ["manifest.json", "graph.txt", "tensors/0"]
        json.loads(archive.read("manifest.json"))
