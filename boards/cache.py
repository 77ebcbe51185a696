"""Content-addressed store of finished builds and compiled virtual boards.

An entry appears complete or not at all: work happens in a private folder that is renamed into place at the end.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

MANIFEST = "manifest.json"
"""File of an entry that lists every other one with its size in bytes, so that a damaged entry is noticed."""


def cache_root() -> Path:
    """``NEUROLOOM_CACHE``, else ``neuroloom`` in the user's cache folder; created on first use."""
    chosen = os.environ.get("NEUROLOOM_CACHE")
    if chosen:
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "neuroloom"


def digest(parts: Mapping[str, object]) -> str:
    """SHA-256, in hexadecimal, of named parts that JSON can carry; independent of their order."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def lookup(kind: str, key: str) -> Path | None:
    """The folder of entry ``key``, or None; an entry whose files are missing or truncated is removed."""
    folder = cache_root() / kind / key
    manifest = folder / MANIFEST
    if not manifest.is_file():
        return None
    try:
        sizes = json.loads(manifest.read_text(encoding="utf-8"))
        intact = all((folder / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError, AttributeError):
        intact = False
    if not intact:
        shutil.rmtree(folder, ignore_errors=True)
        return None
    return folder


@contextmanager
def workspace(kind: str) -> Iterator[Path]:
    """A private folder on the cache's file system, removed at the end whatever happened."""
    root = cache_root() / kind
    root.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="work-", dir=root))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def publish(folder: Path, kind: str, key: str) -> Path:
    """Make ``folder`` the entry ``key`` in one step; when another process was first, its equal entry stays."""
    sizes = {
        str(path.relative_to(folder)): path.stat().st_size
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != MANIFEST
    }
    (folder / MANIFEST).write_text(json.dumps(sizes, indent=1), encoding="utf-8")
    target = cache_root() / kind / key
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.rename(folder, target)
    except OSError:
        if lookup(kind, key) is None:
            os.rename(folder, target)
    return target


def place_copy(source: Path, target: Path) -> Path:
    """Copy a file so that ``target`` is the old file or the whole new one at every moment."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.parent / f".{target.name}.{os.getpid()}.{threading.get_ident()}"
    try:
        shutil.copyfile(source, partial)
        os.replace(partial, target)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    return target
