"""The virtual machine: runs of equal instructions on 512 samples at a time.

Every wire of the program is one row of 512 bits. A run is an instruction of :mod:`.kinds` with the rows of its outputs and
inputs, one after the other; its loop is emitted once per instruction as LLVM vector code (``vpternlog`` on AVX-512, and/or/xor
elsewhere), so that the machine costs one load per input, an operation or two and one store per output.
"""

from __future__ import annotations

from collections.abc import Sequence

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from .classes import ARITY_OF, CLASSES
from .kinds import FULL, INS, OUTS, SEVEN

WORDS = 8
"""64-bit words per row: 512 samples."""

BLOCK = 64 * WORDS
"""Samples per block."""

ROW_BYTES = 8 * WORDS
"""Rows are addressed by their offset in bytes."""

I64 = ir.IntType(64)
ROW = ir.VectorType(I64, WORDS)


def _expression(builder: ir.IRBuilder, table: int, inputs: Sequence[ir.Value]) -> ir.Value:
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


def _full_adder(builder: ir.IRBuilder, x: ir.Value, y: ir.Value, z: ir.Value) -> tuple[ir.Value, ir.Value]:
    """Sum and carry; the carry is z where x and y differ, else x."""
    differ = builder.xor(x, y)
    carry = builder.or_(builder.and_(differ, z), builder.and_(builder.not_(differ), x))
    return builder.xor(differ, z), carry


def _results(builder: ir.IRBuilder, kind: int, x: Sequence[ir.Value]) -> list[ir.Value]:
    """Outputs of one instruction."""
    if kind == FULL:
        return list(_full_adder(builder, *x))
    if kind == SEVEN:
        s1, c1 = _full_adder(builder, x[0], x[1], x[2])
        s2, c2 = _full_adder(builder, x[3], x[4], x[5])
        ones, c3 = _full_adder(builder, s1, s2, x[6])
        return [ones, *_full_adder(builder, c1, c2, c3)]
    return [_expression(builder, CLASSES[kind], x)]


def _data(context, builder, type_, value):  # type: ignore[no-untyped-def]
    return context.make_array(type_)(context, builder, value=value).data


def _row(builder: ir.IRBuilder, base: ir.Value, offset: ir.Value) -> ir.Value:
    """Pointer to the row at a byte offset."""
    at = builder.gep(base, [builder.zext(offset, I64)])
    return builder.bitcast(at, ROW.as_pointer())


def _bytes(builder: ir.IRBuilder, data: ir.Value) -> ir.Value:
    return builder.bitcast(data, ir.IntType(8).as_pointer())


@intrinsic
def run_rows(typingctx, kind, memory, code, start, stop):  # type: ignore[no-untyped-def]
    """Execute the instructions ``kind`` whose rows (outputs, then inputs, uint32 offsets) are code[start:stop]."""
    signature = types.void(kind, memory, code, start, stop)

    def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
        base = _bytes(builder, _data(context, builder, sig.args[1], args[1]))
        words = _data(context, builder, sig.args[2], args[2])
        number = builder.zext(args[0], I64) if args[0].type.width < 64 else args[0]
        done = builder.append_basic_block("done")
        switch = builder.switch(number, done)
        for kind in range(len(INS)):
            outs, ins = int(OUTS[kind]), int(INS[kind])
            if kind < len(CLASSES) and ARITY_OF[CLASSES[kind]] < 2:
                continue
            block = builder.append_basic_block(f"kind{kind}")
            switch.add_case(ir.Constant(I64, kind), block)
            builder.position_at_end(block)
            with cgutils.for_range_slice(builder, args[3], args[4], ir.Constant(I64, outs + ins), I64) as (at, _):
                rows = [
                    _row(builder, base, builder.load(builder.gep(words, [builder.add(at, ir.Constant(I64, i))])))
                    for i in range(outs + ins)
                ]
                inputs = [builder.load(r, align=8) for r in rows[outs:]]
                for value, row in zip(_results(builder, kind, inputs), rows, strict=False):
                    builder.store(value, row, align=8)
            builder.branch(done)
        builder.position_at_end(done)
        return context.get_dummy_value()

    return signature, codegen


GROUP = 4
"""Comparisons of the same 64 bytes made in one pass, so that their masks stay in the first-level cache."""


@intrinsic
def compare_bytes(typingctx, x, at, step, samples, limits, first, planes, scratch):  # type: ignore[no-untyped-def]
    """Compare 64 bytes of each of up to BLOCK samples with up to GROUP rows of thresholds.

    Bit f of word BLOCK*q + n of ``scratch`` becomes x[at + n*step + f] >= limits[first + q*step + f], for n < samples and
    q < planes. So sample n is bit n // WORDS of word n % WORDS of a row, and these words are written in order: anywhere else,
    pending stores would hold up the loads whose addresses equal theirs modulo 4096.
    """
    signature = types.void(x, at, step, samples, limits, first, planes, scratch)

    def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
        _, at, step, samples, _, first, planes, _ = args
        data, limits, masks = (_data(context, builder, sig.args[i], args[i]) for i in (0, 4, 7))
        bytes_ = ir.VectorType(ir.IntType(8), 64)

        def load(base: ir.Value, offset: ir.Value) -> ir.Value:
            return builder.load(builder.bitcast(builder.gep(base, [offset]), bytes_.as_pointer()), align=1)

        done = builder.append_basic_block("done")
        switch = builder.switch(planes, done)
        for count in range(1, GROUP + 1):
            block = builder.append_basic_block(f"planes{count}")
            switch.add_case(I64(count), block)
            builder.position_at_end(block)
            bounds = [load(limits, builder.add(first, builder.mul(step, I64(q)))) for q in range(count)]
            with cgutils.for_range_slice(builder, I64(0), samples, I64(1), I64) as (n, _):
                values = load(data, builder.add(at, builder.mul(n, step)))
                for q, bound in enumerate(bounds):
                    mask = builder.bitcast(builder.icmp_unsigned(">=", values, bound), I64)
                    builder.store(mask, builder.gep(masks, [builder.add(n, I64(BLOCK * q))]))
            builder.branch(done)
        builder.position_at_end(done)
        return context.get_dummy_value()

    return signature, codegen


def _butterflies(builder: ir.IRBuilder, rows: list[ir.Value], widths: Sequence[int]) -> list[ir.Value]:
    """Three exchanges of a bit transposition (Hacker's Delight 7-3) among eight rows, four, two and one apart."""
    for distance, width in zip((4, 2, 1), widths, strict=True):
        mask = ((1 << 64) - 1) // ((1 << width) + 1)  # the low half of every 2 * width bits
        shift, low = (ir.Constant(ROW, [c] * WORDS) for c in (width, mask))
        for i in range(8):
            if i & distance:
                continue
            a, b = rows[i], rows[i + distance]
            t = builder.and_(builder.xor(builder.lshr(a, shift), b), low)
            rows[i], rows[i + distance] = builder.xor(a, builder.shl(t, shift)), builder.xor(b, t)
    return rows


@intrinsic
def transpose(typingctx, scratch, first, memory, rows, rows_at):  # type: ignore[no-untyped-def]
    """Transpose WORDS matrices of 64 x 64 bits: bit j of scratch[first+i, w] becomes bit i of word w of row rows[rows_at+j].

    ``rows`` are uint32 offsets into ``memory``; ``scratch`` uint64[:, WORDS] is destroyed.
    """
    signature = types.void(scratch, first, memory, rows, rows_at)

    def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
        source = builder.gep(_data(context, builder, sig.args[0], args[0]), [builder.mul(args[1], I64(WORDS))])
        source = builder.bitcast(source, ROW.as_pointer())
        base = _bytes(builder, _data(context, builder, sig.args[2], args[2]))
        offsets = builder.gep(_data(context, builder, sig.args[3], args[3]), [args[4]])
        with cgutils.for_range_slice(builder, I64(0), I64(8), I64(1), I64) as (g, _):
            at = [builder.gep(source, [builder.add(g, I64(8 * k))]) for k in range(8)]
            for p, value in zip(
                at, _butterflies(builder, [builder.load(p, align=8) for p in at], (32, 16, 8)), strict=True
            ):
                builder.store(value, p, align=8)
        with cgutils.for_range_slice(builder, I64(0), I64(64), I64(8), I64) as (g, _):
            at = [builder.gep(source, [builder.add(g, I64(k))]) for k in range(8)]
            values = _butterflies(builder, [builder.load(p, align=8) for p in at], (4, 2, 1))
            for k, value in enumerate(values):
                offset = builder.load(builder.gep(offsets, [builder.add(g, I64(k))]))
                builder.store(value, _row(builder, base, offset), align=8)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def prefetch(typingctx, x, at):  # type: ignore[no-untyped-def]
    """Ask for the cache line of byte x[at]; has no other effect."""
    signature = types.void(x, at)

    def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
        i32, pointer = ir.IntType(32), ir.IntType(8).as_pointer()
        name = ir.FunctionType(ir.VoidType(), [pointer, i32, i32, i32])
        ask = cgutils.get_or_insert_function(builder.module, name, "llvm.prefetch.p0")
        at = builder.gep(_data(context, builder, sig.args[0], args[0]), [args[1]])
        builder.call(ask, [builder.bitcast(at, pointer), i32(0), i32(LOCALITY), i32(1)])
        return context.get_dummy_value()

    return signature, codegen


LOCALITY = 2
"""Of prefetched samples: the second-level cache."""

SLICE = 64
"""Instructions between two batches of prefetches."""


@njit(cache=True, nogil=True)
def run_program(memory, kinds, starts, code, coming):
    """Execute all runs on the rows of ``memory``; meanwhile the bytes ``coming`` are fetched from memory."""
    fetched, total = 0, starts[len(kinds)]
    for r in range(len(kinds)):
        step = SLICE * (INS[kinds[r]] + OUTS[kinds[r]])
        for at in range(starts[r], starts[r + 1], step):
            stop = min(at + step, starts[r + 1])
            run_rows(kinds[r], memory, code, at, stop)
            due = stop * len(coming) // total
            while fetched < due:
                prefetch(coming, fetched)
                fetched += 64
