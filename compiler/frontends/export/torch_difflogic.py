"""difflogic's modules: LogicLayer; its GroupSum shares a converter with torchlogix's."""

from __future__ import annotations

from typing import Any

import numpy as np
from neuroloom.compiler.errors import UnsupportedError

from .torch_registry import Context, Tensor, array, converter, describe, require_bits
from .truth_tables import raw_tables


@converter("LogicLayer", needs=("weights", "indices", "in_dim", "out_dim"))
def _logic_layer(context: Context, module: Any, x: Tensor, path: str) -> Tensor:
    """``weights`` [M, 16] score the gates, ``indices`` is the pair (a, b) of index vectors [M]."""
    where = describe(module, path)
    require_bits(x, where)
    if x.shape[-1] != module.in_dim:
        raise UnsupportedError(
            f"{where}: its input must have {module.in_dim} features, not {x.shape[-1]}; check the sample"
        )
    a, b = (array(index, where, "indices") for index in module.indices)
    tables = raw_tables(array(module.weights, where, "weights"), 2, where)
    value = context.torch_order(x, path)
    return Tensor(context.writer.lookup_table(value, np.stack([a, b], axis=1), tables, name=path, out_bits=1))
