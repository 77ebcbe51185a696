"""Truth tables of trained logic gates, read from their weights.

Two orders of a table's addresses meet here.  torchlogix and difflogic number addresses with a gate's *first* input as the
most significant bit (``a, b`` = 01 is address 1); LookupTable takes slot 0 as the *least* significant.  The functions
take weights in the libraries' order and return tables in LookupTable's, so that the wiring keeps its order.
"""

from __future__ import annotations

import numpy as np
from neuroloom.compiler.errors import UnsupportedError


def reverse_addresses(tables: np.ndarray) -> np.ndarray:
    """Swap first-input-most-significant and first-input-least-significant order of the last axis (``2**K`` entries)."""
    slots = tables.shape[-1].bit_length() - 1
    address = np.arange(1 << slots)
    mirrored = np.zeros_like(address)
    for slot in range(slots):
        mirrored |= ((address >> slot) & 1) << (slots - 1 - slot)
    return np.ascontiguousarray(tables[..., mirrored])


def gate_tables(gate_ids: np.ndarray) -> np.ndarray:
    """Tables ``[..., 4]`` of the sixteen two-input gates as difflogic and torchlogix number them.

    Read from the most significant bit, the four bits of a gate's number are its outputs for ``a, b`` = 00, 01, 10, 11
    (Petersen et al., Deep Differentiable Logic Gate Networks, 2022, table 1): 1 is AND, 6 XOR, 7 OR, 14 NAND.
    """
    first_most_significant = (gate_ids[..., None] >> np.arange(3, -1, -1)) & 1
    return reverse_addresses(first_most_significant.astype(np.bool_))


def raw_tables(weight: np.ndarray, rank: int, where: str) -> np.ndarray:
    """Tables of the raw parametrisation, ``[..., 16]`` gate scores: the first gate of the largest score."""
    if rank != 2 or weight.shape[-1] != 16:
        raise UnsupportedError(
            f"{where}: raw weights must score the 16 gates of two inputs, not {weight.shape[-1]} functions of {rank} inputs; "
            "use the warp or light parametrisation for wider gates"
        )
    return gate_tables(weight.argmax(axis=-1))


def light_tables(weight: np.ndarray, rank: int, where: str) -> np.ndarray:
    """Tables of the light parametrisation, ``[..., 2**K]`` logits of the entries: 1 where a logit is above 0."""
    _check_entries(weight, rank, where)
    return reverse_addresses(weight > 0)


def warp_tables(weight: np.ndarray, rank: int, where: str, ordered: bool = True) -> np.ndarray:
    """Tables of the warp parametrisation, ``[..., 2**K]`` Walsh-Hadamard coefficients.

    Entry ``address`` is 1 where ``sum over i of (-1)**popcount(i & address) * weight[i]`` is below 0.  torchlogix adds the terms in
    the order of ``i``, in the weights' own precision, and so does this function, because rounding can decide an entry.
    With ``ordered`` False (its ``materialize_basis``) the order is open, and an entry that rounding could decide is refused.
    """
    _check_entries(weight, rank, where)
    address = np.arange(1 << rank)
    total = np.zeros_like(weight)
    exact = np.zeros(weight.shape, dtype=np.float64)
    for i in range(1 << rank):
        odd = np.bitwise_count(i & address) & 1
        sign = np.where(odd == 1, -1, 1).astype(weight.dtype)
        term = weight[..., i : i + 1] * sign
        total = total + term
        exact = exact + term
    if not ordered:
        bound = (1 << rank) * np.finfo(weight.dtype).eps * np.abs(weight.astype(np.float64)).sum(axis=-1, keepdims=True)
        open_entries = int((np.abs(exact) <= bound).sum())
        if open_entries:
            raise UnsupportedError(
                f"{where}: {open_entries} table entries depend on the order in which torch adds up the basis; "
                "set materialize_basis=False before exporting"
            )
    return reverse_addresses(total < 0)


def _check_entries(weight: np.ndarray, rank: int, where: str) -> None:
    if weight.shape[-1] != 1 << rank:
        raise UnsupportedError(
            f"{where}: weights must have {1 << rank} entries for {rank} inputs, not {weight.shape[-1]}; retrain or fix lut_rank"
        )
