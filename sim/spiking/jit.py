"""How kernels are compiled: as parts of the machine only, so without the wrappers that would let Python call them."""

from __future__ import annotations

from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

kernel = njit(no_cpython_wrapper=True, no_cfunc_wrapper=True, error_model="numpy")


@intrinsic
def trailing_zeros(typingctx, x):  # type: ignore[no-untyped-def]
    """Zero bits below the lowest one of a uint64 that is not 0."""
    signature = types.int64(types.uint64)

    def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))

    return signature, codegen
