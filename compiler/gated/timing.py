"""How many cycles everything takes on an engine: the numbers that compiler, executor and hardware share."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Timing:
    """Cycles; ``docs/gated-engine.md`` says them in words.

    ``start``: from the begin of a run to its first instruction. ``taken``: a jump that is taken, to the next instruction.
    ``branch``: BR not taken (one more where it is) and LDO; ``element``: until their element is there. ``stream``: IN and OUT
    besides the stream unit's; ``field``: to read one field of an answer. ``read``: from the fetch of a MAC, PICK, BR, LDO to the
    first address at the memory, and of a DRAIN to its first row at the ports; ``vec``: the same for a VEC. ``sum``: from an
    address to the sum it belongs to. ``write``: from the ports to the write. ``apart``: a VEC's fields are kept for so long that
    the next TERM may not follow its fetch sooner.
    """

    start: int
    taken: int
    branch: int
    element: int
    stream: int
    field: int
    read: int
    vec: int
    sum: int
    write: int
    apart: int

    @property
    def settle(self) -> int:
        """Cycles before the last write at which the piece behind may begin: so long it takes to its first read."""
        return self.read


SHALLOW = Timing(start=2, taken=2, branch=5, element=2, stream=3, field=3, read=2, vec=3, sum=4, write=7, apart=3)
"""An engine as small as it gets."""

DEEP = Timing(start=2, taken=2, branch=7, element=5, stream=3, field=4, read=4, vec=6, sum=5, write=7, apart=6)
"""An engine with registers behind the program memory, between walkers and memories, and behind the vector memory."""
