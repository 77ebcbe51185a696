"""The CRC-32 of IEEE 802.3 as the proofs have it, written from the standard and not from the gateware."""

from __future__ import annotations

from amaranth.hdl import Cat, Mux, Value

POLYNOMIAL = 0xEDB88320
"""Reflected; written out again, so that a typing error in the table of the protocol shows."""


def crc_step(register: Value, byte: Value) -> Value:
    """The standard's register after one more byte, all eight bits at once."""
    for bit in range(8):
        feedback = register[0] ^ byte[bit]
        register = Cat(register[1:32], 0) ^ Mux(feedback, POLYNOMIAL, 0)
    return register[:32]
