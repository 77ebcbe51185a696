"""Program words as hardware sees them."""

from __future__ import annotations

from amaranth.hdl import Value
from neuroloom.compiler.gated.isa import FORMATS, Op


class Fields:
    """The fields of one instruction inside the signal of a program word: ``Fields(word, Op.MAC).n0``."""

    def __init__(self, word: Value, op: Op) -> None:
        self._word, self._slots = word, FORMATS[op]

    def __getattr__(self, name: str) -> Value:
        slot = self._slots[name]
        value = self._word[slot.at : slot.at + slot.width]
        return value.as_signed() if slot.signed else value
