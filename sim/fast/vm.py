"""The virtual machine: runs of equal gates on 512 samples at a time.

Every wire of the program is one row of 512 bits. An instruction run is a class of :mod:`.classes` with arrays of
destination and source rows; its loop is emitted once per class as LLVM vector code (one ``vpternlog`` on AVX-512, and/or/xor
elsewhere), so the machine costs one load per input, one operation and one store per 512 gate evaluations.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from .classes import ARITY_OF, CLASSES

WORDS = 8
"""64-bit words per row: 512 samples."""

BLOCK = 64 * WORDS
"""Samples per block."""


def _expression(builder: ir.IRBuilder, table: int, inputs: list[ir.Value]) -> ir.Value:
    """LLVM code of a truth table over vector inputs: cofactors on the last input, simple cases first."""
    *rest, top = inputs
    size = 1 << len(rest)
    mask = (1 << size) - 1
    low, high = table & mask, table >> size & mask
    if low == high:
        return _expression(builder, low, rest)
    if low == 0 and high == mask:
        return top
    if low == mask and high == 0:
        return builder.not_(top)
    if low == 0:
        return builder.and_(top, _expression(builder, high, rest))
    if high == mask:
        return builder.or_(top, _expression(builder, low, rest))
    if low == mask:
        return builder.or_(builder.not_(top), _expression(builder, high, rest))
    if high == 0:
        return builder.and_(builder.not_(top), _expression(builder, low, rest))
    if low == high ^ mask:
        return builder.xor(top, _expression(builder, low, rest))
    return builder.or_(
        builder.and_(top, _expression(builder, high, rest)),
        builder.and_(builder.not_(top), _expression(builder, low, rest)),
    )


@intrinsic
def run_gates(typingctx, kind, memory, dst, a, b, c, start, stop):
    """memory[dst[i]] = f_kind(memory[a[i]], memory[b[i]], memory[c[i]]) for start <= i < stop, rows of 8 words."""
    signature = types.void(kind, memory, dst, a, b, c, start, stop)

    def codegen(context, builder, sig, args):
        arrays = [
            context.make_array(ty)(context, builder, value=arg).data
            for ty, arg in zip(sig.args[1:6], args[1:6], strict=True)
        ]
        vector = ir.VectorType(ir.IntType(64), WORDS)
        base = builder.bitcast(arrays[0], vector.as_pointer())
        i64 = ir.IntType(64)
        kind_value = builder.zext(args[0], i64) if args[0].type.width < 64 else args[0]
        begin, end = args[6], args[7]
        done = builder.append_basic_block("done")
        switch = builder.switch(kind_value, done)
        for number, table in enumerate(CLASSES):
            arity = int(ARITY_OF[table])
            if arity < 2:
                continue
            block = builder.append_basic_block(f"class{number}")
            switch.add_case(ir.Constant(i64, number), block)
            builder.position_at_end(block)
            with cgutils.for_range_slice(builder, begin, end, ir.Constant(i64, 1), i64) as (index, _):
                row = [builder.sext(builder.load(builder.gep(p, [index])), i64) for p in arrays[1 : 2 + arity]]
                inputs = [builder.load(builder.gep(base, [r]), align=8) for r in row[1:]]
                result = _expression(builder, table & ((1 << (1 << arity)) - 1), inputs)
                builder.store(result, builder.gep(base, [row[0]]), align=8)
            builder.branch(done)
        builder.position_at_end(done)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def ge_mask(typingctx, x, x_at, thresholds, t_at):
    """uint64 whose bit i is x[x_at+i] >= thresholds[t_at+i], for 64 bytes of each array."""
    signature = types.uint64(x, x_at, thresholds, t_at)

    def codegen(context, builder, sig, args):
        vector = ir.VectorType(ir.IntType(8), 64)

        def load(number: int) -> ir.Value:
            data = context.make_array(sig.args[number])(context, builder, value=args[number]).data
            at = builder.gep(data, [args[number + 1]])
            return builder.load(builder.bitcast(at, vector.as_pointer()), align=1)

        return builder.bitcast(builder.icmp_unsigned(">=", load(0), load(2)), ir.IntType(64))

    return signature, codegen


@njit(cache=True, nogil=True)
def transpose64(m):
    """Transpose WORDS matrices of 64x64 bits in place: bit j of m[i, w] becomes bit i of m[j, w] (Hacker's Delight 7-3)."""
    width = 32
    mask = np.uint64(0x00000000FFFFFFFF)
    while width:
        shift = np.uint64(width)
        k = 0
        while k < 64:
            for w in range(WORDS):
                t = ((m[k, w] >> shift) ^ m[k + width, w]) & mask
                m[k, w] ^= t << shift
                m[k + width, w] ^= t
            k = (k + width + 1) & ~width
        width >>= 1
        mask ^= mask << np.uint64(width)


@njit(cache=True, nogil=True)
def run_block(memory, kinds, run_starts, dst, a, b, c):
    """Execute all runs on the rows of ``memory``."""
    for r in range(len(kinds)):
        run_gates(kinds[r], memory, dst, a, b, c, run_starts[r], run_starts[r + 1])


@njit(cache=True, nogil=True)
def encode_bytes(memory, x, thresholds, rows, scratch):
    """Fill input rows from up to 512 samples x uint8[n, F], F >= 64.

    Plane p compares all elements with ``thresholds[p]`` uint8[F] (x >= threshold); ``rows[p, f]`` is the memory row of that
    bit, -1 when unused. Missing samples read as 0. ``scratch`` is uint64[64, WORDS].
    """
    count, width = x.shape
    flat = x.reshape(count * width)
    for p in range(thresholds.shape[0]):
        limit = thresholds[p]
        for at in range(0, width, 64):
            f = min(at, width - 64)  # the last 64 elements overlap the ones before
            for i in range(64):
                for w in range(WORDS):
                    n = 64 * w + i
                    scratch[i, w] = ge_mask(flat, n * width + f, limit, f) if n < count else np.uint64(0)
            transpose64(scratch)
            for i in range(64):
                row = rows[p, f + i]
                if row >= 0:
                    for w in range(WORDS):
                        memory[row, w] = scratch[i, w]


@njit(cache=True, nogil=True)
def decode(memory, rows, inverted, signed, out):
    """Write one integer element of up to 512 samples: bit j from memory row ``rows[j]``, two's complement if signed."""
    count = out.shape[0]
    bits = len(rows)
    for n in range(count):
        out[n] = 0
    for j in range(bits):
        place = np.int64(1) << np.int64(j)
        if signed and j == bits - 1:
            place = -place
        for w in range((count + 63) // 64):
            word = memory[rows[j], w]
            if inverted[j]:
                word = ~word
            for i in range(min(64, count - 64 * w)):
                out[64 * w + i] += place * np.int64((word >> np.uint64(i)) & np.uint64(1))
