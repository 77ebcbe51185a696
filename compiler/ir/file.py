"""The ``.nloom`` file: a zip of stored (uncompressed) members with fixed dates, so equal graphs give equal bytes.

Members: ``manifest.json`` (format version, producer, records, tensor list), ``graph.txt`` (see :mod:`.text`) and
``tensors/N`` (little-endian row-major integers). Loading runs no code and bounds every size before it allocates.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tempfile
import zipfile
from pathlib import Path

import numpy as np
from neuroloom.compiler.errors import GraphError, InputError

from .graph import Graph
from .text import from_text, to_text
from .verify import verify

FORMAT = 1
MAX_TEXT = 256 << 20
MAX_TENSORS_BYTES = 8 << 30
DTYPES = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")


def to_bytes(graph: Graph) -> bytes:
    """The file's bytes: equal for equal graphs, on any machine."""
    text, tensors = to_text(graph)
    for tensor in tensors:
        if tensor.dtype.name not in DTYPES:
            raise GraphError(f"tensor type must be one of {', '.join(DTYPES)}, not {tensor.dtype.name}")
    manifest = {
        "format": "neuroloom",
        "version": FORMAT,
        "records": graph.records,
        "tensors": [{"dtype": t.dtype.name, "shape": list(t.shape)} for t in tensors],
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        _add(archive, "manifest.json", json.dumps(manifest, sort_keys=True, indent=1).encode())
        _add(archive, "graph.txt", text.encode())
        for number, tensor in enumerate(tensors):
            _add(archive, f"tensors/{number}", np.ascontiguousarray(tensor, tensor.dtype.newbyteorder("<")).tobytes())
    return buffer.getvalue()


def graph_hash(graph: Graph) -> bytes:
    """SHA-256 (32 bytes) of the file's bytes: what a device built from this graph identifies itself with."""
    return hashlib.sha256(to_bytes(graph)).digest()


def save(graph: Graph, path: str | os.PathLike[str]) -> None:
    """Verify ``graph`` and write it whole or not at all."""
    verify(graph)
    write_atomically(Path(path), to_bytes(graph))


def write_atomically(path: Path, data: bytes) -> None:
    """Write ``data`` under a temporary name beside ``path`` and rename: no partial file is ever seen."""
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as out:
                out.write(data)
            umask = os.umask(0)
            os.umask(umask)
            os.chmod(temporary, 0o666 & ~umask)
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as e:
        raise InputError(f"{path} cannot be written: {e.strerror}; choose another path with -o") from e


def load(path: str | os.PathLike[str]) -> Graph:
    """Read and verify a graph; raises InputError when the file is not a sound ``.nloom``."""
    try:
        with open(path, "rb") as handle:
            return from_bytes(handle, str(path))
    except OSError as e:
        raise InputError(f"{path} cannot be read: {e.strerror}") from e


def from_bytes(data: bytes | io.BufferedIOBase, name: str = "graph") -> Graph:
    """Read and verify a graph from a file's bytes or an open file."""
    handle = io.BytesIO(data) if isinstance(data, bytes) else data
    try:
        with zipfile.ZipFile(handle) as archive:
            return _read(archive, name)
    except (zipfile.BadZipFile, KeyError, ValueError, TypeError, EOFError, NotImplementedError, RecursionError) as e:
        raise InputError(f"{name} must be a whole .nloom file; it is damaged or something else ({e})") from e
    except GraphError as e:
        raise InputError(f"{name} holds an unsound graph: {e}") from e


def _read(archive: zipfile.ZipFile, name: str) -> Graph:
    manifest = json.loads(_member(archive, "manifest.json", MAX_TEXT))
    if not isinstance(manifest, dict) or manifest.get("format") != "neuroloom":
        raise ValueError("no neuroloom manifest")
    if manifest.get("version") != FORMAT:
        raise InputError(
            f"{name} must have format version {FORMAT}, not {manifest.get('version')!r}; "
            "compile the source again with this neuroloom"
        )
    entries = manifest.get("tensors")
    if not isinstance(entries, list):
        raise ValueError("no tensor list")
    tensors, total = [], 0
    for number, entry in enumerate(entries):
        dtype, shape = entry["dtype"], entry["shape"]
        if dtype not in DTYPES or not all(isinstance(s, int) and 0 <= s < 1 << 40 for s in shape) or len(shape) > 16:
            raise ValueError(f"tensor {number} is malformed")
        size = np.dtype(dtype).itemsize
        for s in shape:
            size *= s
        total += size
        if total > MAX_TENSORS_BYTES:
            raise ValueError(f"tensors take more than {MAX_TENSORS_BYTES} bytes")
        raw = _member(archive, f"tensors/{number}", size)
        if len(raw) != size:
            raise ValueError(f"tensor {number} has {len(raw)} bytes, not {size}")
        tensors.append(np.frombuffer(raw, np.dtype(dtype).newbyteorder("<")).astype(dtype, copy=False).reshape(shape))
    graph = from_text(_member(archive, "graph.txt", MAX_TEXT).decode(), tensors)
    records = manifest.get("records", {})
    if not isinstance(records, dict):
        raise ValueError("records are malformed")
    graph.records = records
    verify(graph)
    return graph


def _member(archive: zipfile.ZipFile, name: str, limit: int) -> bytes:
    info = archive.getinfo(name)
    if info.file_size > limit:
        raise ValueError(f"{name} has {info.file_size} bytes, more than {limit}")
    return archive.read(info)


def _add(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    info.create_system = 3
    info.external_attr = 0o644 << 16
    archive.writestr(info, data)
