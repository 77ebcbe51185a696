"""The cache: entries appear whole, damage is noticed, keys depend on content only."""

from __future__ import annotations

from pathlib import Path

import pytest
from neuroloom.boards import cache


@pytest.fixture(autouse=True)
def own_root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NEUROLOOM_CACHE", str(tmp_path / "cache"))


def entry(key: str, text: str = "content") -> Path:
    with cache.workspace("kind") as work:
        (work / "file").write_text(text)
        return cache.publish(work, "kind", key)


def test_root_follows_the_variables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert cache.cache_root() == tmp_path / "cache"
    monkeypatch.delenv("NEUROLOOM_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.cache_root() == tmp_path / "neuroloom"


def test_digest_ignores_order_and_sees_content() -> None:
    assert cache.digest({"a": 1, "b": [2]}) == cache.digest({"b": [2], "a": 1})
    assert cache.digest({"a": 1}) != cache.digest({"a": 2})


def test_published_entry_is_found_and_workspace_removed() -> None:
    assert cache.lookup("kind", "k") is None
    folder = entry("k")
    assert cache.lookup("kind", "k") == folder
    assert (folder / "file").read_text() == "content"
    assert [path.name for path in folder.parent.iterdir()] == ["k"]


def test_failed_work_leaves_nothing() -> None:
    with pytest.raises(RuntimeError), cache.workspace("kind") as work:
        (work / "half").write_text("x")
        raise RuntimeError
    assert list((cache.cache_root() / "kind").iterdir()) == []


def test_second_writer_of_an_equal_entry_changes_nothing() -> None:
    first = entry("k")
    stamp = (first / "file").stat().st_mtime_ns
    assert entry("k") == first
    assert (first / "file").stat().st_mtime_ns == stamp


@pytest.mark.parametrize("damage", ["truncate", "delete", "manifest"])
def test_damaged_entry_is_a_miss_and_removed(damage: str) -> None:
    folder = entry("k")
    if damage == "truncate":
        (folder / "file").write_text("con")
    elif damage == "delete":
        (folder / "file").unlink()
    else:
        (folder / cache.MANIFEST).write_text("{")
    assert cache.lookup("kind", "k") is None
    assert not folder.exists()


def test_copy_replaces_in_one_step(tmp_path: Path) -> None:
    source, target = tmp_path / "s", tmp_path / "out" / "t"
    source.write_text("new")
    target.parent.mkdir()
    target.write_text("old")
    cache.place_copy(source, target)
    assert target.read_text() == "new"
    with pytest.raises(OSError):
        cache.place_copy(tmp_path / "absent", target)
    assert target.read_text() == "new" and [path.name for path in target.parent.iterdir()] == ["t"]
