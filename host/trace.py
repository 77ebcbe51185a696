"""Writes probed values as .npz, or as .vcd or .fst for a waveform viewer."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from neuroloom.compiler.errors import InputError, MissingToolError
from neuroloom.compiler.ir import Graph
from neuroloom.compiler.ir.file import write_atomically

from .arrays import write_outputs

MAX_VCD_SIGNALS = 4096
"""Waveform viewers stop being useful beyond this many scalars."""


VCD2FST_SECONDS = 300
"""Longest conversion that is waited for."""


def write_trace(path: str | os.PathLike[str], graph: Graph, values: Mapping[str, np.ndarray]) -> None:
    """Write ``values`` int64[N, (T,) *shape] by the file's ending: .npz, or .vcd and .fst with one signal per element.

    In waveforms time counts samples (framed), or steps with the samples one behind the other (clocked). Raises InputError, and
    MissingToolError for an .fst without GTKWave's vcd2fst.
    """
    where = Path(path)
    if where.suffix not in WRITERS:
        raise InputError(f"trace file must end in {', '.join(WRITERS)}, not {where.name!r}")
    WRITERS[where.suffix](where, graph, values)


def _write_npz(where: Path, graph: Graph, values: Mapping[str, np.ndarray]) -> None:
    write_outputs(where, values)


def _write_vcd(where: Path, graph: Graph, values: Mapping[str, np.ndarray]) -> None:
    write_atomically(where, _vcd(graph, values).encode())


def _write_fst(where: Path, graph: Graph, values: Mapping[str, np.ndarray]) -> None:
    tool = shutil.which("vcd2fst")
    if tool is None:
        raise MissingToolError(
            "vcd2fst must be installed to write an .fst; run: apt-get install gtkwave, or write a .vcd"
        )
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "trace.vcd", Path(folder) / "trace.fst"
        source.write_text(_vcd(graph, values))
        try:
            done = subprocess.run(
                [tool, str(source), str(target)], capture_output=True, text=True, timeout=VCD2FST_SECONDS, check=False
            )
        except subprocess.TimeoutExpired as e:
            raise MissingToolError(f"vcd2fst did not finish in {VCD2FST_SECONDS} s; probe less, or write a .vcd") from e
        if done.returncode or not target.exists():
            said = (done.stderr or done.stdout).strip().splitlines()
            raise MissingToolError(
                f"vcd2fst failed: {said[-1] if said else f'exit code {done.returncode}'}; write a .vcd"
            )
        write_atomically(where, target.read_bytes())


WRITERS: dict[str, Callable[[Path, Graph, Mapping[str, np.ndarray]], None]] = {
    ".npz": _write_npz,
    ".vcd": _write_vcd,
    ".fst": _write_fst,
}
"""File ending → writer."""


def _vcd(graph: Graph, values: Mapping[str, np.ndarray]) -> str:
    known = graph.values()
    text = io.StringIO()
    text.write("$comment neuroloom $end\n$timescale 1 us $end\n")
    columns: list[np.ndarray] = []
    codes: list[tuple[str, int]] = []
    for name, array in values.items():
        value = known[name]
        rows = array.reshape(-1, value.size)
        text.write(f"$scope module {name} $end\n")
        for element in range(value.size):
            code = _code(len(codes))
            index = "".join(f"[{i}]" for i in np.unravel_index(element, value.shape)) if value.shape else ""
            text.write(f"$var {'integer' if value.type.signed else 'wire'} {value.type.width} {code} v{index} $end\n")
            codes.append((code, value.type.width))
            columns.append(rows[:, element])
        text.write("$upscope $end\n")
    if len(codes) > MAX_VCD_SIGNALS:
        raise InputError(
            f"a .vcd must have at most {MAX_VCD_SIGNALS} signals, not {len(codes)}; write an .npz or probe less"
        )
    text.write("$enddefinitions $end\n")
    last: list[int | None] = [None] * len(codes)
    steps = len(columns[0]) if columns else 0
    for t in range(steps):
        text.write(f"#{t}\n")
        for i, (code, width) in enumerate(codes):
            q = int(columns[i][t])
            if q != last[i]:
                bits = format(q & ((1 << width) - 1), f"0{width}b")
                text.write(f"{bits}{code}\n" if width == 1 else f"b{bits} {code}\n")
                last[i] = q
    text.write(f"#{steps}\n")
    return text.getvalue()


def _code(number: int) -> str:
    """VCD identifier: printable characters ! to ~, least significant first."""
    out = ""
    while True:
        out += chr(33 + number % 94)
        number //= 94
        if not number:
            return out
