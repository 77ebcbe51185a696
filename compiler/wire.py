"""How samples and answers travel as bits and bytes: one layout for the host and the hardware.

A sample is the concatenation of all inputs in the graph's order, each flattened in row-major order, each element in the
narrowest type that holds the input's bounds (pixels 0..16 take 5 bits; negative bounds take two's complement), least
significant bit first; the whole is padded with zeros to a byte. Answers are packed likewise, each element in the narrowest
type that holds the output's proven range. Bit b of the concatenation is bit b % 8 of byte b // 8.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from neuroloom.compiler.errors import InputError
from neuroloom.compiler.ir import Graph, Type, ranges, smallest_type


@dataclass(frozen=True)
class Field:
    """One input or output on the wire: ``count`` elements of ``type`` from bit ``offset`` on, of the array shape ``shape``."""

    name: str
    type: Type
    shape: tuple[int, ...]
    offset: int

    @property
    def count(self) -> int:
        """Number of elements."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def bits(self) -> int:
        """Bits of all elements."""
        return self.count * self.type.width


def sample_fields(graph: Graph) -> list[Field]:
    """Where each input lies in a sample."""
    return _place([(i.name, smallest_type(i.range), i.value.shape) for i in graph.inputs])


def answer_fields(graph: Graph) -> list[Field]:
    """Where each output lies in an answer; where the graph may be left early, it has room for what is shown there."""
    bounds, values = ranges(graph), graph.values()
    shown = [[o.value for o in graph.outputs], *(n.inputs[1:] for n in graph.nodes if n.op == "exit_when")]
    items = []
    for place, output in enumerate(graph.outputs):
        found = [bounds[names[place]] for names in shown]
        span = min(lo for lo, _ in found), max(hi for _, hi in found)
        items.append((output.name, smallest_type(span), values[output.value].shape))
    return _place(items)


def _place(items: Sequence[tuple[str, Type, tuple[int, ...]]]) -> list[Field]:
    fields, offset = [], 0
    for name, type_, shape in items:
        fields.append(Field(name, type_, shape, offset))
        offset += fields[-1].bits
    return fields


def total_bits(fields: Sequence[Field]) -> int:
    """Bits of all fields together."""
    return sum(f.bits for f in fields)


def total_bytes(fields: Sequence[Field]) -> int:
    """Bytes that one sample or answer takes on the link."""
    return (total_bits(fields) + 7) // 8


def pack(fields: Sequence[Field], arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """Pack integer arrays [N, *shape] by name into uint8[N, bytes]; raises InputError when an integer does not fit."""
    columns = []
    for field in fields:
        array = np.asarray(arrays[field.name])
        count = len(array)
        if array.shape != (count, *field.shape):
            raise InputError(f"{field.name!r} must have the shape (samples, {field.shape}), not {array.shape}")
        array = array.astype(np.int64, copy=False).reshape(count, -1)
        if array.size and (array.min() < field.type.lo or array.max() > field.type.hi):
            raise InputError(f"{field.name!r} must be in {field.type.lo}..{field.type.hi} to travel as {field.type}")
        places = np.arange(field.type.width, dtype=np.int64)
        columns.append(((array[:, :, None] >> places) & 1).astype(np.uint8).reshape(count, -1))
    if len({len(c) for c in columns}) != 1:
        raise InputError("all inputs must have the same number of samples")
    return np.packbits(np.concatenate(columns, axis=1), axis=1, bitorder="little")


def unpack(fields: Sequence[Field], data: np.ndarray) -> dict[str, np.ndarray]:
    """Inverse of :func:`pack`: int64 arrays [N, *shape] by name from uint8[N, bytes]; raises InputError on a wrong length."""
    data = np.asarray(data, np.uint8)
    if data.ndim != 2 or data.shape[1] != total_bytes(fields):
        raise InputError(f"packed data must be bytes [samples, {total_bytes(fields)}], not {list(data.shape)}")
    bits = np.unpackbits(data, axis=1, bitorder="little")
    out = {}
    for field in fields:
        columns = bits[:, field.offset : field.offset + field.bits].reshape(len(data), field.count, field.type.width)
        places = 1 << np.arange(field.type.width, dtype=np.int64)
        if field.type.signed:
            places[-1] = -places[-1]
        out[field.name] = (columns.astype(np.int64) * places).sum(axis=2).reshape(len(data), *field.shape)
    return out


def pack_samples(graph: Graph, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """Samples as the link carries them: integer arrays by input name (as ``sim.inputs.prepare`` gives) → uint8[N, bytes_in]."""
    return pack(sample_fields(graph), arrays)


def unpack_answers(graph: Graph, data: np.ndarray) -> dict[str, np.ndarray]:
    """Answers from the link: uint8[N, bytes_out] → int64 arrays by output name."""
    return unpack(answer_fields(graph), data)
