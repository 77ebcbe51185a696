"""Plain torch modules: containers, shapes, and layers that do nothing at inference."""

from __future__ import annotations

import math
from typing import Any

from neuroloom.compiler.errors import UnsupportedError

from .torch_registry import Context, Tensor, converter, describe


@converter("Sequential", container=True)
def _sequential(context: Context, module: Any, x: Tensor, path: str) -> Tensor:
    return context.children(module, x, path)


@converter("Identity", "Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout", "FeatureAlphaDropout")
def _nothing(context: Context, module: Any, x: Tensor, path: str) -> Tensor:
    return x


@converter("Flatten", needs=("start_dim", "end_dim"))
def _flatten(context: Context, module: Any, x: Tensor, path: str) -> Tensor:
    rank = len(x.shape) + 1
    start, end = module.start_dim % rank, module.end_dim % rank
    if start == 0:
        raise UnsupportedError(f"{describe(module, path)}: start_dim must leave the batch axis alone; use start_dim=1")
    if start >= end:
        return x
    value = context.torch_order(x, path)
    dims = x.shape
    merged = math.prod(dims[start - 1 : end])
    if len(dims) == end - start + 1:
        return Tensor(context.writer.flatten(value, name=path))
    return Tensor(context.writer.reshape(value, (*dims[: start - 1], merged, *dims[end:]), name=path))


@converter("Unflatten", needs=("dim", "unflattened_size"))
def _unflatten(context: Context, module: Any, x: Tensor, path: str) -> Tensor:
    where = describe(module, path)
    if not isinstance(module.dim, int) or module.dim % (len(x.shape) + 1) == 0:
        raise UnsupportedError(
            f"{where}: dim must be the number of an axis after the batch axis, not {module.dim!r}; use such a number"
        )
    at = module.dim % (len(x.shape) + 1) - 1
    sizes = [int(size) for size in module.unflattened_size]
    if -1 in sizes:
        sizes[sizes.index(-1)] = x.shape[at] // -math.prod(sizes)
    value = context.torch_order(x, path)
    return Tensor(context.writer.reshape(value, (*x.shape[:at], *sizes, *x.shape[at + 1 :]), name=path))
