"""Samples in, integers out: the loop over blocks that encodes, runs the program and decodes, compiled as one piece."""

from __future__ import annotations

import numpy as np
from numba import njit, types

from .vm import BLOCK, GROUP, ROW_BYTES, WORDS, compare_bytes, run_program, transpose

SCRATCH_ROWS = 64 * GROUP

IN_PLACE = np.arange(64, dtype=np.uint32) * np.uint32(ROW_BYTES)


@njit(cache=True, nogil=True)
def encode(x, encoder, memory, scratch):
    """Fill the input rows from up to 512 samples. Missing samples read as 0."""
    thresholds, rows, tile_planes = encoder
    count, width = x.shape
    flat, limits, flat_rows = x.reshape(x.size), thresholds.reshape(thresholds.size), rows.reshape(rows.size)
    for tile in range(len(tile_planes)):
        f = min(64 * tile, width - 64)  # the last 64 elements overlap the ones before
        for p in range(0, tile_planes[tile], GROUP):
            planes = min(GROUP, tile_planes[tile] - p)
            if count < BLOCK:
                scratch[:] = 0
            compare_bytes(flat, f, width, count, limits, p * width + f, planes, scratch)
            for q in range(planes):
                transpose(scratch, 64 * q, memory, flat_rows, (p + q) * width + f)


@njit(cache=True, nogil=True)
def decode(memory, scratch, decoder, out):
    """Write the integers of up to 512 samples: a transposition per 64 output bits, then each element's own bits."""
    bit_rows, inverted, word, shift, width, signed = decoder
    samples = scratch.reshape(scratch.size)
    last = -1
    for e in range(len(word)):
        if word[e] != last:
            last = word[e]
            for j in range(64):
                row = bit_rows[last, j] // ROW_BYTES
                for w in range(WORDS):
                    scratch[j, w] = memory[row, w]
            transpose(scratch, 0, scratch, IN_PLACE, 0)
        up, down = np.uint64(64 - shift[e] - width[e]), np.uint64(64 - width[e])
        for n in range(len(out)):
            raw = (samples[n] ^ inverted[last]) << up
            out[n, e] = np.int64(raw) >> np.int64(down) if signed[e] else np.int64(raw >> down)


_u1, _u4, _u8, _i8, _b1 = types.uint8, types.uint32, types.uint64, types.int64, types.boolean
_SIGNATURE = types.void(
    types.Array(_u1, 2, "C", readonly=True),
    types.Tuple((_u1[:, ::1], _u4[:, ::1], _i8[::1])),
    types.Tuple((_u1[::1], _i8[::1], _u4[::1])),
    types.Tuple((_u4[:, ::1], _u8[::1], _i8[::1], _i8[::1], _i8[::1], _b1[::1])),
    _u8[:, ::1],
    _u8[:, ::1],
    _i8[:, ::1],
)
"""Given so that the compiled loop is loaded on import and serves read-only samples as well."""


@njit(_SIGNATURE, cache=True, nogil=True)
def run_samples(x, encoder, program, decoder, memory, scratch, out):
    """Run samples ``x`` uint8[n, F], F >= 64, into ``out`` int64[n, elements].

    ``encoder``, ``program`` and ``decoder`` are the arrays of :mod:`.planes` and :mod:`.program`; ``memory`` and ``scratch``
    (SCRATCH_ROWS of them) are rows uint64[:, WORDS].
    """
    kinds, starts, code = program
    flat = x.reshape(x.size)
    for start in range(0, len(x), BLOCK):
        stop = min(start + BLOCK, len(x))
        encode(x[start:stop], encoder, memory, scratch)
        coming = flat[stop * x.shape[1] : min(stop + BLOCK, len(x)) * x.shape[1]]
        run_program(memory, kinds, starts, code, coming)
        decode(memory, scratch, decoder, out[start:stop])
