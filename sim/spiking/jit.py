"""How kernels are compiled: as parts of the machine only, so without the wrappers that would let Python call them."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

_OPTIONS: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True, "error_model": "numpy"}
kernel = njit(**_OPTIONS)  # numba's stubs do not know the first two


@intrinsic
def trailing_zeros(typingctx, x):  # type: ignore[no-untyped-def]
    """Zero bits below the lowest one of a uint64 that is not 0."""
    signature = types.int64(types.uint64)

    def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))

    return signature, codegen


@intrinsic
def prefetch(typingctx, x, at):  # type: ignore[no-untyped-def]
    """Ask for the cache line of x[at]; has no other effect."""
    signature = types.void(x, at)

    def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
        i32, pointer = ir.IntType(32), ir.IntType(8).as_pointer()
        name = ir.FunctionType(ir.VoidType(), [pointer, i32, i32, i32])
        ask = cgutils.get_or_insert_function(builder.module, name, "llvm.prefetch.p0")
        data = context.make_array(sig.args[0])(context, builder, value=args[0]).data
        builder.call(ask, [builder.bitcast(builder.gep(data, [args[1]]), pointer), i32(0), i32(3), i32(1)])
        return context.get_dummy_value()

    return signature, codegen
