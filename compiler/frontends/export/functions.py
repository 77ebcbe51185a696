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

# Shared by every windowed body. Two spatial axes are treated as three, the first of size one, so that one body serves both.
# Leaves: image [N, p0, p1, p2, C] padded; k3, s3, p3, o3; position [O] = offset of the window's corner, in pixels.
_WINDOWS = """
    zero = Constant <value_int = 0> ()
    one = Constant <value_int = 1> ()
    axis0 = Constant <value_ints = [0]> ()
    ones3 = Constant <value_ints = [1, 1, 1]> ()
    zeros3 = Constant <value_ints = [0, 0, 0]> ()
    minus3 = Constant <value_ints = [-3]> ()
    far = Constant <value_ints = [1000]> ()
    last = Constant <value_ints = [-1]> ()
    kernel = Constant <value_ints: ints = @kernel_shape> ()
    strides_ = Constant <value_ints: ints = @strides> ()
    pads_ = Constant <value_ints: ints = @pads> ()
    n_axes = Shape (kernel)
    pads_begin = Slice (pads_, axis0, n_axes, axis0)
    pads_end = Slice (pads_, n_axes, far, axis0)
    kernel_long = Concat <axis = 0> (ones3, kernel)
    k3 = Slice (kernel_long, minus3, far, axis0)
    strides_long = Concat <axis = 0> (ones3, strides_)
    s3 = Slice (strides_long, minus3, far, axis0)
    begin_long = Concat <axis = 0> (zeros3, pads_begin)
    b3 = Slice (begin_long, minus3, far, axis0)
    end_long = Concat <axis = 0> (zeros3, pads_end)
    e3 = Slice (end_long, minus3, far, axis0)
    batch = Shape <start = 0, end = 1> (X)
    channels = Shape <start = -1> (X)
    dims = Shape <start = 1, end = -1> (X)
    dims_long = Concat <axis = 0> (ones3, dims)
    d3 = Slice (dims_long, minus3, far, axis0)
    shape5 = Concat <axis = 0> (batch, d3, channels)
    image5 = Reshape (values, shape5)
    pads5 = Concat <axis = 0> (axis0, b3, axis0, axis0, e3, axis0)
    image = Pad (image5, pads5, blank)
    grown = Add (d3, b3)
    p3 = Add (grown, e3)
    room = Sub (p3, k3)
    steps = Div (room, s3)
    o3 = Add (steps, ones3)
    i1 = Constant <value_int = 1> ()
    i2 = Constant <value_int = 2> ()
    p1 = Gather (p3, i1)
    p2 = Gather (p3, i2)
    k1 = Gather (k3, i1)
    k2 = Gather (k3, i2)
    p12 = Mul (p1, p2)
    o0 = Gather (o3, zero)
    o1 = Gather (o3, i1)
    o2 = Gather (o3, i2)
    s0 = Gather (s3, zero)
    s1 = Gather (s3, i1)
    s2 = Gather (s3, i2)
    range0 = Range (zero, o0, one)
    range1 = Range (zero, o1, one)
    range2 = Range (zero, o2, one)
    step0 = Mul (s0, p12)
    step1 = Mul (s1, p2)
    offset0 = Mul (range0, step0)
    offset1 = Mul (range1, step1)
    offset2 = Mul (range2, s2)
    axes12 = Constant <value_ints = [1, 2]> ()
    axes02 = Constant <value_ints = [0, 2]> ()
    axes01 = Constant <value_ints = [0, 1]> ()
    grid0 = Unsqueeze (offset0, axes12)
    grid1 = Unsqueeze (offset1, axes02)
    grid2 = Unsqueeze (offset2, axes01)
    grid01 = Add (grid0, grid1)
    grid = Add (grid01, grid2)
    position = Reshape (grid, last)
    minus_n = Neg (n_axes)
    out_dims = Slice (o3, minus_n, far, axis0)
    pixels = ReduceProd <keepdims = 1> (p3, axis0)
"""

# Turns a patch index (k_1, ..., k_n), without channel, into an offset in pixels of the padded image.
_PIXEL_OFFSET = """
    tail2 = Mod ({pixel}, k2)
    rest2 = Div ({pixel}, k2)
    tail1 = Mod (rest2, k1)
    rest1 = Div (rest2, k1)
    scaled0 = Mul (rest1, p12)
    scaled1 = Mul (tail1, p2)
    partial = Add (scaled0, scaled1)
    {out} = Add (partial, tail2)
"""

_GATHER_LEAVES = (
    _WINDOWS
    + """
    wide = Cast <to = 7> (indices)
    channel = Mod (wide, channels)
    pixel = Div (wide, channels)
"""
    + _PIXEL_OFFSET.format(pixel="pixel", out="pixel_offset")
    + """
    leaf_pixel = Mul (pixel_offset, channels)
    leaf = Add (leaf_pixel, channel)
    corner = Mul (position, channels)
    axes123 = Constant <value_ints = [1, 2, 3]> ()
    corner4 = Unsqueeze (corner, axes123)
    where = Add (corner4, leaf)
    size = Mul (pixels, channels)
    flat_shape = Concat <axis = 0> (batch, size)
    flat = Reshape (image, flat_shape)
    gathered = Gather <axis = 1> (flat, where)
    m_shape = Shape <start = 0, end = 1> (indices)
    r_shape = Shape <start = 2, end = 3> (indices)
"""
)

_LOOKUP_TABLE_CONV = (
    """
<domain: "qonnx.custom_op.lnn", opset_import: ["" : 18]>
LookupTableConv <kernel_shape, strides, pads, tree_depth: int = 1, channel_group_size: int = 0> (X, indices, table) => (Y) {
    values = Cast <to = 2> (X)
    blank = Constant <value = uint8 {0}> ()
"""
    + _GATHER_LEAVES
    + """
    zero32 = Constant <value = int32 {0}> ()
    one32 = Constant <value = int32 {1}> ()
    two32 = Constant <value = int32 {2}> ()
    zeros = Constant <value_ints = [0, 0, 0]> ()
    r64 = Squeeze (r_shape)
    rank = Cast <to = 6> (r64)
    slots = Range (zero32, rank, one32)
    weights = Pow (two32, slots)
    m64 = Squeeze (m_shape)
    m = Cast <to = 6> (m64)
    kernels = Range (zero32, m, one32)
    kernel_column = Unsqueeze (kernels, last)
    nodes_shape = Shape <start = 1, end = 2> (table)
    nodes = Cast <to = 6> (nodes_shape)
    first_node = Mul (kernel_column, nodes)
    s_shape = Shape <start = 2, end = 3> (table)
    s = Cast <to = 6> (s_shape)
    table8 = Cast <to = 2> (table)
    entries = Reshape (table8, last)
    depth = Constant <value_int: int = @tree_depth> ()
    last_row, root = Loop (depth, , zero32, gathered) <body = tree (int64 step, bool go_in, int32 row, uint8[a, b, c, d, e] level)
        => (bool go, int32 row_next, uint8[a1, b1, c1, d1, e1] level_next) {
        go = Identity (go_in)
        fan_in = Cast <to = 6> (level)
        weighted = Mul (fan_in, weights)
        address = ReduceSum <keepdims = 0> (weighted, last)
        q_shape = Shape <start = 3, end = 4> (level)
        q64 = Squeeze (q_shape)
        q = Cast <to = 6> (q64)
        row_next = Add (row, q)
        rows = Range (row, row_next, one32)
        node = Add (first_node, rows)
        base = Mul (node, s)
        flat_address = Add (address, base)
        looked_up = Gather <axis = 0> (entries, flat_address)
        width = Min (q_shape, r_shape)
        count = Div (q_shape, width)
        next_shape = Concat <axis = 0> (zeros, count, width)
        level_next = Reshape (looked_up, next_shape)
    }>
    y_shape = Concat <axis = 0> (batch, out_dims, m_shape)
    y8 = Reshape (root, y_shape)
    Y = CastLike (y8, table)
}
"""
)

_LOOKUP_TABLE_CONV_PASSTHROUGH = (
    """
<domain: "qonnx.custom_op.lnn", opset_import: ["" : 18]>
LookupTableConv <kernel_shape, strides, pads, tree_depth: int = 1, channel_group_size: int = 0> (X, indices) => (Y) {
    values = Cast <to = 7> (X)
    blank = Constant <value_int = 0> ()
"""
    + _GATHER_LEAVES
    + """
    y_shape = Concat <axis = 0> (batch, out_dims, m_shape, r_shape)
    y64 = Reshape (gathered, y_shape)
    Y = CastLike (y64, X)
}
"""
)

_OR_POOL = (
    """
<domain: "neuroloom", opset_import: ["" : 18]>
OrPool <kernel_shape, strides, pads> (X) => (Y) {
    values = Cast <to = 2> (X)
    blank = Constant <value = uint8 {0}> ()
"""
    + _WINDOWS
    + """
    k_pixels = ReduceProd <keepdims = 0> (k3, axis0)
    window = Range (zero, k_pixels, one)
"""
    + _PIXEL_OFFSET.format(pixel="window", out="pixel_offset")
    + """
    corner = Unsqueeze (position, last)
    where = Add (corner, pixel_offset)
    flat_shape = Concat <axis = 0> (batch, pixels, channels)
    flat = Reshape (image, flat_shape)
    gathered = Gather <axis = 1> (flat, where)
    window_axis = Constant <value_ints = [2]> ()
    pooled = ReduceMax <keepdims = 0> (gathered, window_axis)
    y_shape = Concat <axis = 0> (batch, out_dims, channels)
    y8 = Reshape (pooled, y_shape)
    Y = CastLike (y8, X)
}
"""
)

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
    (LNN_DOMAIN, "LookupTableConv", ""): _LOOKUP_TABLE_CONV,
    (LNN_DOMAIN, "LookupTableConv", "passthrough"): _LOOKUP_TABLE_CONV_PASSTHROUGH,
    (NL_DOMAIN, "OrPool", ""): _OR_POOL,
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
