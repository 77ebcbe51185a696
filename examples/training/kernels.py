"""Inner loops of LUT-network training, compiled by numba: one node at a time, the batch contiguous.

A node of ``k`` inputs holds ``2^k`` table entries ``p`` in [0, 1] and interpolates between them,

    f(x) = sum over addresses a of p[a] * prod_j (x_j if bit j of a else 1 - x_j),

the *light* (input-wise) parametrisation of logic-gate networks; input 0 is bit 0 of the address. Values lie as
``[wires, batch]``, so that a node reads ``k`` rows and writes one, every loop runs along the batch, and the compiler
turns it into full-width vector instructions. The loops differ per ``k`` only in how far they are unrolled, so their
source is generated here from the recursion ``f(p; x_0..x_k) = lerp(f(p_even...), f(p_odd...), x)`` and its reverse mode.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import llvmlite.binding as llvm
import numba
import numpy as np

# A node writes k gradient rows next to k rows it reads: with LLVM's default limit of eight run-time overlap checks
# the loop would stay scalar.
llvm.set_option("", "--runtime-memory-check-threshold=256")

MAX_INPUTS = 6


def _lines_of_values(k: int, leaf: str) -> list[str]:
    """Source lines computing every interior value ``v{level}_{j}`` of the interpolation tree from table scalars."""
    lines = [f"v1_{j} = {leaf}{2 * j} + x0 * d{j}" for j in range(1 << (k - 1))]
    for level in range(2, k + 1):
        for j in range(1 << (k - level)):
            low, high = f"v{level - 1}_{2 * j}", f"v{level - 1}_{2 * j + 1}"
            lines.append(f"v{level}_{j} = {low} + x{level - 1} * ({high} - {low})")
    return lines


def _forward_source(k: int) -> str:
    size = 1 << k
    body = ["def forward(x, indices, table_of, tables, out):", "  for m in range(indices.shape[0]):"]
    body += [f"    r{j} = x[indices[m, {j}]]" for j in range(k)]
    body += ["    t = tables[table_of[m]]", "    o = out[m]"]
    body += [f"    p{a} = t[{a}]" for a in range(0, size, 2)]
    body += [f"    d{j} = t[{2 * j + 1}] - t[{2 * j}]" for j in range(size // 2)]
    body += ["    for b in range(x.shape[1]):"]
    body += [f"      x{j} = r{j}[b]" for j in range(k)]
    body += ["      " + line for line in _lines_of_values(k, "p")]
    body += [f"      o[b] = v{k}_0"]
    return "\n".join(body)


def _backward_source(k: int) -> str:
    size = 1 << k
    body = [
        "def backward(x, indices, table_of, tables, gout, candidates, gx, gtables, scores):",
        "  n = x.shape[1]",
        f"  slots = np.empty(({k}, n), np.float32)",
        "  for m in range(indices.shape[0]):",
    ]
    body += [f"    r{j} = x[indices[m, {j}]]" for j in range(k)]
    body += [f"    s{j} = slots[{j}]" for j in range(k)]
    body += ["    t = tables[table_of[m]]", "    go = gout[m]"]
    body += [f"    p{a} = t[{a}]" for a in range(0, size, 2)]
    body += [f"    d{j} = t[{2 * j + 1}] - t[{2 * j}]" for j in range(size // 2)]
    body += [f"    a{a} = np.float32(0.0)" for a in range(size)]
    body += ["    for b in range(n):"]
    body += [f"      x{j} = r{j}[b]" for j in range(k)]
    body += ["      " + line for line in _lines_of_values(k, "p")[:-1]]
    body += [f"      g{k}_0 = go[b]"]
    for level in range(k, 0, -1):
        terms = []
        for j in range(1 << (k - level)):
            up = f"g{level}_{j}"
            low, high = f"g{level - 1}_{2 * j}", f"g{level - 1}_{2 * j + 1}"
            difference = f"d{j}" if level == 1 else f"(v{level - 1}_{2 * j + 1} - v{level - 1}_{2 * j})"
            terms.append(f"{up} * {difference}")
            body += [f"      {high} = {up} * x{level - 1}", f"      {low} = {up} - {high}"]
        body += [f"      s{level - 1}[b] = " + " + ".join(terms)]
    body += [f"      a{a} += g0_{a}" for a in range(size)]
    body += ["    gt = gtables[table_of[m]]"]
    body += [f"    gt[{a}] += a{a}" for a in range(size)]
    for j in range(k):
        body += [
            f"    q = gx[indices[m, {j}]]",
            "    for b in range(n):",
            f"      q[b] += s{j}[b]",
            "    for c in range(candidates.shape[2]):",
            f"      y = x[candidates[m, {j}, c]]",
            "      e = np.float32(0.0)",
            "      for b in range(n):",
            f"        e += y[b] * s{j}[b]",
            f"      scores[m, {j}, c] = e",
        ]
    return "\n".join(body)


def _compile(source: str, name: str) -> Any:
    scope: dict[str, Any] = {"np": np}
    exec(source, scope)  # source made above from k alone
    return numba.njit(fastmath=True, nogil=True, boundscheck=False)(scope[name])


@cache
def lut_forward(k: int) -> Any:
    """Kernel ``(x [W, B], indices [M, k], table_of [M], tables [R, 2^k], out [M, B])``; fills ``out``.

    Float32 and int32 arrays, C-contiguous. ``table_of`` names the table of each node: the identity in a dense layer,
    shared over positions in a convolution.
    """
    return _compile(_forward_source(k), "forward")


@cache
def lut_backward(k: int) -> Any:
    """Kernel ``(x, indices, table_of, tables, gout [M, B], candidates [M, k, C], gx [W, B], gtables, scores [M, k, C])``.

    Adds to ``gx`` and ``gtables``; sets ``scores[m, j, c]`` to the gradient that a weight on candidate wire ``c`` of
    input ``j`` would receive, sum over the batch of ``dL/dx_j * x[candidate]`` (C may be 0).
    """
    return _compile(_backward_source(k), "backward")


@numba.njit(fastmath=True, nogil=True)
def max_forward(x: np.ndarray, indices: np.ndarray, out: np.ndarray) -> None:
    """``out[m]`` becomes the maximum of the rows ``x[indices[m]]``; [W, B], [M, P], [M, B]."""
    for m in range(indices.shape[0]):
        o = out[m]
        o[:] = x[indices[m, 0]]
        for p in range(1, indices.shape[1]):
            row = x[indices[m, p]]
            for b in range(x.shape[1]):
                o[b] = max(o[b], row[b])


@numba.njit(fastmath=True, nogil=True)
def max_backward(x: np.ndarray, indices: np.ndarray, out: np.ndarray, gout: np.ndarray, gx: np.ndarray) -> None:
    """Adds to ``gx`` [W, B] the gradient of :func:`max_forward`, in equal shares to all rows that are the maximum."""
    n = x.shape[1]
    ties = np.empty(n, np.float32)
    for m in range(indices.shape[0]):
        ties[:] = 0
        o, g = out[m], gout[m]
        for p in range(indices.shape[1]):
            row = x[indices[m, p]]
            for b in range(n):
                ties[b] += np.float32(1.0) if row[b] == o[b] else np.float32(0.0)
        for b in range(n):
            ties[b] = g[b] / ties[b]
        for p in range(indices.shape[1]):
            row, to = x[indices[m, p]], gx[indices[m, p]]
            for b in range(n):
                to[b] += ties[b] if row[b] == o[b] else np.float32(0.0)
