"""Bodies of the functions that slide a window over an image: LookupTableConv, with and without tables, and OrPool."""

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

LOOKUP_TABLE_CONV = (
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

LOOKUP_TABLE_CONV_PASSTHROUGH = (
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

OR_POOL = (
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
