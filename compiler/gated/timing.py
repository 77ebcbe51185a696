"""How many cycles everything takes on an engine: the numbers that compiler, executor and hardware share."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Timing:
    """Cycles; ``docs/gated-engine.md`` says them in words.

    ``start``: from the begin of a run to its first instruction. ``taken``: a jump that is taken, to the next instruction.
    ``branch``: BR not taken (``taken`` - 1 more where it is) and LDO; ``element``: until their element is there. ``stream``:
    IN and OUT besides the stream unit's; ``field``: to read one field of an answer. ``read``: from the fetch of a MAC, PICK, BR,
    LDO to the first address at the memory, and of a DRAIN to its first row at the ports; ``vec``: the same for a VEC. ``sum``:
    from an address to the sum it belongs to. ``write``: from the ports to the write. ``apart``: a VEC's fields are kept for so
    long that the next TERM may not follow its fetch sooner. ``offset``: from an OFF to what takes the new offset.
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
    offset: int

    @property
    def settle(self) -> int:
        """Cycles before the last write at which the piece behind may begin: so long it takes to its first read."""
        return self.read


SHALLOW = Timing(
    start=2, taken=2, branch=5, element=2, stream=3, field=3, read=2, vec=3, sum=4, write=7, apart=3, offset=1
)
"""An engine as small as it gets."""

DEEP = Timing(
    start=3, taken=3, branch=9, element=7, stream=4, field=5, read=5, vec=7, sum=6, write=10, apart=7, offset=2
)
"""An engine with nothing but registers before and behind its memories."""
