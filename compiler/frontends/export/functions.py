"""The custom operators of written ONNX files, as model-local functions with bodies of standard operators.

A runtime that knows none of these operators still runs the file, because ONNX lets a model carry the definition of an
operator as a function.  This page is also the definition that the importer implements; all arithmetic is on integers
unless it says otherwise, and every axis order is row-major.

Domain ``qonnx.custom_op.lnn`` (the public proposal of the QONNX project, operator-set version 3)
-------------------------------------------------------------------------------------------------

``LookupTable(X, indices, table) -> Y``; attributes ``input_bits`` (int, default 1), ``out_bits`` (int, default 0).

* ``X``: bool, uint8, uint16 or uint32 of shape ``[..., C]``, every element in ``[0, 2**input_bits)`` (bool only with
  ``input_bits = 1``).  The lookup is over the last axis; all leading axes are batch axes.
* ``indices``: int32 or int64 ``[M, K]``, every entry in ``[0, C)``; ``indices[m, k]`` feeds slot ``k`` of neuron ``m``.
* ``table``: bool, u/int8, u/int16 or u/int32 ``[M, S]`` with ``S = 2**(K * input_bits)``; negative entries are legal in
  the signed types.
* ``Y``: ``[..., M]``, the element type of ``table``::

      addr[..., m] = sum over k of X[..., indices[m, k]] << (input_bits * k)      (slot 0 is the least significant)
      Y[..., m]    = table[m, addr[..., m]]

* ``out_bits`` never changes the result.  0: the output has the full width of the table's element type.  Otherwise every
  entry of ``table`` must be in ``[0, 2**out_bits)``, and the output signal needs only ``out_bits`` bits.

``LookupTableConv(X, indices[, table]) -> Y``; attributes ``tree_depth`` (int >= 0, default 1), ``kernel_shape`` (ints,
required, one entry >= 1 per spatial axis, 2 or 3 axes), ``strides`` (ints >= 1, default all 1), ``pads`` (ints >= 0, default
all 0, in the order of ONNX Conv: ``[begin_1, ..., begin_n, end_1, ..., end_n]``), ``channel_group_size`` (int, default 0; a note
about how ``indices`` were drawn, without effect on the result).

* ``X``: bool, uint8, uint16 or uint32 ``[N, D_1, ..., D_n, C]``, channels last.  Elements are 0 or 1 when ``tree_depth >= 1``;
  any value of the type when ``tree_depth == 0``.  Padding reads as 0.
* ``indices``: int32 or int64 ``[M, P, R]`` (``M`` kernels, ``R`` = lut_rank), ``P = R**(tree_depth - 1)`` leaves when
  ``tree_depth >= 1`` and ``P = 1`` when ``tree_depth == 0``.  An entry addresses the flattened receptive
  field ``[k_1, ..., k_n, c]``, channel minor::

      index = ((k_1 * kernel_shape[1] + k_2) * kernel_shape[2] + k_3 ...) * C + c        in [0, prod(kernel_shape) * C)

  and reads ``X_padded[n, o_1 * strides[0] + k_1, ..., o_n * strides[n-1] + k_n, c]`` for output position ``o``; the same
  entry serves every position.
* ``table``: bool or uint8 ``[M, nodes, 2**R]``, entries 0 or 1, ``nodes = R**(tree_depth-1) + ... + R + 1``; omitted when
  ``tree_depth == 0``.  Rows are level-major, leaves first: the leaves in the order of ``P``, then the next level, ..., the
  root last.
* Node ``q`` of a level above the leaves reads nodes ``q*R ... q*R + R - 1`` of the level below, in that order, slot 0 the
  least significant address bit at every level.
* ``Y``: ``[N, O_1, ..., O_n, M]`` in the type of ``table``, the root's value;
  ``O_d = floor((D_d + pads[d] + pads[d+n] - kernel_shape[d]) / strides[d]) + 1``.
  When ``tree_depth == 0`` nothing is looked up: ``Y`` is ``[N, O_1, ..., O_n, M, R]`` in the type of ``X``, the gathered values
  ``flat_patch[indices[m, 0, r]]``.
  Its function is the overload ``passthrough`` of the same operator, since it has one input fewer; a file with both kinds
  needs a runtime that tells overloads apart (onnxruntime 1.31 does, 1.20 does not).

Domain ``neuroloom`` (version 1)
--------------------------------

``Thermometer(X, thresholds) -> Y``; attribute ``inclusive`` (int, default 1).  ``X`` is ``[..., F]``, ``thresholds`` ``[F, T]``,
``Y`` bool ``[..., F*T]``, feature-major: ``Y[..., f*T + t] = X[..., f] >= thresholds[f, t]``, or ``>`` when ``inclusive == 0``.
Thresholds need not be ordered.  ``X`` is first cast to the type of ``thresholds``; the writer chooses
that type so that the cast is exact.

``GroupSum(X) -> Y``; attributes ``groups`` (int, required), ``tau`` (float, default 1), ``beta`` and ``offset`` (floats,
default 0).
``X`` is bool or integer ``[..., F]`` with ``F = groups * S``; ``Y`` is float32 ``[..., groups]``::

      count[..., g] = sum over s of X[..., g*S + s]                    (an integer)
      Y[..., g]     = (float32(count[..., g]) + offset) / tau + beta     (float32, rounded after each of the three steps)

``OrPool(X) -> Y``; attributes ``kernel_shape``, ``strides``, ``pads`` as in LookupTableConv.  ``X`` is bool or uint8 (0 or 1)
``[N, D_1, ..., D_n, C]``, ``Y`` ``[N, O_1, ..., O_n, C]`` in the same type: the OR over the window; padding reads as 0.
"""

from __future__ import annotations

from collections.abc import Iterable

import onnx
from onnx import parser

from .window_bodies import LOOKUP_TABLE_CONV, LOOKUP_TABLE_CONV_PASSTHROUGH, OR_POOL

LNN_DOMAIN = "qonnx.custom_op.lnn"
"""Domain of LookupTable and LookupTableConv."""
LNN_VERSION = 3
"""Version of that domain: LookupTable is at 3, LookupTableConv has stayed at 1, which 3 includes."""
NL_DOMAIN = "neuroloom"
"""Domain of neuroloom's own operators."""
NL_VERSION = 1
OPSET = 18
"""Version of the standard operators used in written files and in the functions' bodies."""

DOMAIN_VERSIONS = {"": OPSET, LNN_DOMAIN: LNN_VERSION, NL_DOMAIN: NL_VERSION}

_LOOKUP_TABLE = """
<domain: "qonnx.custom_op.lnn", opset_import: ["" : 18]>
LookupTable <input_bits: int = 1, out_bits: int = 0> (X, indices, table) => (Y) {
    zero = Constant <value = int32 {0}> ()
    one = Constant <value = int32 {1}> ()
    two = Constant <value = int32 {2}> ()
    last = Constant <value_ints = [-1]> ()
    bits64 = Constant <value_int: int = @input_bits> ()
    bits = Cast <to = 6> (bits64)
    k_shape = Shape <start = 1, end = 2> (indices)
    k_scalar = Squeeze (k_shape)
    k = Cast <to = 6> (k_scalar)
    slots = Range (zero, k, one)
    shifts = Mul (slots, bits)
    weights = Pow (two, shifts)
    gathered = Gather <axis = -1> (X, indices)
    fan_in = Cast <to = 6> (gathered)
    weighted = Mul (fan_in, weights)
    address = ReduceSum <keepdims = 0> (weighted, last)
    m_shape = Shape <start = 0, end = 1> (indices)
    m_scalar = Squeeze (m_shape)
    m = Cast <to = 6> (m_scalar)
    rows = Range (zero, m, one)
    s_shape = Shape <start = 1, end = 2> (table)
    s = Cast <to = 6> (s_shape)
    base = Mul (rows, s)
    flat_address = Add (address, base)
    entries = Reshape (table, last)
    Y = Gather <axis = 0> (entries, flat_address)
}
"""

_THERMOMETER = """
<domain: "neuroloom", opset_import: ["" : 18]>
Thermometer <inclusive: int = 1> (X, thresholds) => (Y) {
    last = Constant <value_ints = [-1]> ()
    allowed = Constant <value_int: int = @inclusive> ()
    equal_counts = Cast <to = 9> (allowed)
    same_type = CastLike (X, thresholds)
    column = Unsqueeze (same_type, last)
    above = Greater (column, thresholds)
    at = Equal (column, thresholds)
    at_counts = And (at, equal_counts)
    bits = Or (above, at_counts)
    leading = Shape <end = -1> (X)
    size = Size (thresholds)
    width = Unsqueeze (size, last)
    y_shape = Concat <axis = 0> (leading, width)
    Y = Reshape (bits, y_shape)
}
"""

_GROUP_SUM = """
<domain: "neuroloom", opset_import: ["" : 18]>
GroupSum <groups, tau: float = 1.0, beta: float = 0.0, offset: float = 0.0> (X) => (Y) {
    last = Constant <value_ints = [-1]> ()
    groups64 = Constant <value_int: int = @groups> ()
    tau_ = Constant <value_float: float = @tau> ()
    beta_ = Constant <value_float: float = @beta> ()
    offset_ = Constant <value_float: float = @offset> ()
    g = Unsqueeze (groups64, last)
    leading = Shape <end = -1> (X)
    features = Shape <start = -1> (X)
    s = Div (features, g)
    grouped_shape = Concat <axis = 0> (leading, g, s)
    integers = Cast <to = 6> (X)
    grouped = Reshape (integers, grouped_shape)
    count = ReduceSum <keepdims = 0> (grouped, last)
    real = Cast <to = 1> (count)
    shifted = Add (real, offset_)
    scaled = Div (shifted, tau_)
    Y = Add (scaled, beta_)
}
"""

FUNCTION_TEXT: dict[tuple[str, str, str], str] = {
    (LNN_DOMAIN, "LookupTable", ""): _LOOKUP_TABLE,
    (LNN_DOMAIN, "LookupTableConv", ""): LOOKUP_TABLE_CONV,
    (LNN_DOMAIN, "LookupTableConv", "passthrough"): LOOKUP_TABLE_CONV_PASSTHROUGH,
    (NL_DOMAIN, "OrPool", ""): OR_POOL,
    (NL_DOMAIN, "Thermometer", ""): _THERMOMETER,
    (NL_DOMAIN, "GroupSum", ""): _GROUP_SUM,
}
"""Bodies by (domain, operator, overload), in the text form of ONNX."""


def function_proto(domain: str, op_type: str, overload: str = "") -> onnx.FunctionProto:
    """Return the function that defines a custom operator, every node of its body named.

    Raises ``KeyError`` for an operator this module does not define.
    """
    function = parser.parse_function(FUNCTION_TEXT[domain, op_type, overload])
    function.overload = overload
    _name_nodes(function.node, op_type)
    return function


def _name_nodes(nodes: Iterable[onnx.NodeProto], prefix: str) -> None:
    """Name every node after its first output, so that a runtime's message points at a line of the text above."""
    for node in nodes:
        node.name = f"{prefix}/{node.output[0]}"
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                _name_nodes(attribute.g.node, node.name)
