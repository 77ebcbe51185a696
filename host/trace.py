"""Writes probed values as .npz, or as .vcd for a waveform viewer."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from neuroloom.compiler.errors import InputError
from neuroloom.compiler.ir import Graph
from neuroloom.compiler.ir.file import write_atomically

from .arrays import write_outputs

MAX_VCD_SIGNALS = 4096
"""Waveform viewers stop being useful beyond this many scalars."""


def write_trace(path: str | os.PathLike[str], graph: Graph, values: Mapping[str, np.ndarray]) -> None:
    """Write ``values`` int64[N, (T,) *shape]: by the file's ending .npz, or .vcd with one signal per element.

    In a .vcd time counts samples (framed), or steps with the samples one behind the other (clocked). Raises InputError.
    """
    where = Path(path)
    if where.suffix == ".npz":
        write_outputs(where, values)
    elif where.suffix == ".vcd":
        write_atomically(where, _vcd(graph, values).encode())
    else:
        raise InputError(f"trace file must end in .npz or .vcd, not {where.name!r}")


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
