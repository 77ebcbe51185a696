"""What a gated engine is made of: lanes, ports, widths and memories. One bitstream runs every program that fits."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields

from neuroloom.compiler.errors import InputError

from .isa import LEVELS, OFFSETS, WORD_BYTES
from .timing import DEEP, SHALLOW, Timing

RTL_VERSION = "1"
"""Raise it when programs written for the engine before would not do the same on it."""

MAX_ADDRESS_BITS = 16

PROGRAM_COLUMN = 16
"""Bits of a program word that are stored at once, when its bytes come over the link."""


@dataclass(frozen=True)
class GatedConfig:
    """Sizes of one engine.

    ``lanes`` multiply-accumulate lanes stand in ``groups`` groups; each group has its own input element in a cycle, so a sum
    is split over the groups and put together when it is drained. ``ports`` elements leave per cycle, and as many element-wise
    operations are done per cycle, by the first ``ports`` lanes' multipliers (``shared``) or by multipliers of their own.
    ``word`` bits has an element of the vector memory, ``weight`` a weight, ``acc`` a lane's accumulator, ``wide`` the
    accumulator of an element-wise sum. ``terms`` products may be summed per element in one instruction. Memories in words:
    ``vector_words``, ``weight_rows`` (of one weight per lane), ``table_words``, ``program_words``. ``spram``: the weights are
    in memory without initial content and with one port (iCE40 SPRAM). ``serial``: samples come in and go out bit by bit, which is
    smaller. ``offsets`` registers for moving addresses (number 0 reads zero), ``levels`` of nested loops. ``ranks``: picks go on
    behind the pick before, which top-k needs. ``delay_memory``: places on their way through the ports wait in block RAM.
    ``changes``: room for changed elements (``groups`` of them each), which delta layers need, and ``banks`` of lanes' sums that
    stay; 0 where there are none.
    ``deep``: for large chips at high clocks, registers between what stands far apart, copies of what many places need, and
    tables that two ports share.
    ``sliced``: in a deep engine, deep memories are cut into narrow slices, with no banks and no multiplexer behind them.
    """

    profile: str
    lanes: int
    groups: int
    ports: int
    word: int
    weight: int
    acc: int
    wide: int
    terms: int
    vector_words: int
    weight_rows: int
    table_words: int
    program_words: int
    shared: bool = True
    spram: bool = False
    serial: bool = False
    offsets: int = 16
    levels: int = 8
    ranks: bool = True
    delay_memory: bool = False
    deep: bool = False
    changes: int = 0
    banks: int = 0
    sliced: bool = False

    def __post_init__(self) -> None:
        if self.sliced and not self.deep:
            raise InputError("sliced must be left out where deep is: only a deep engine's memories are cut")
        if self.lanes % self.groups or self.per_group % self.ports:
            raise InputError(
                f"lanes must be groups times a multiple of ports, not {self.lanes} lanes, {self.groups} groups, {self.ports} ports"
            )
        for name in ("groups", "ports"):
            value = getattr(self, name)
            if value < 1 or value & value - 1:
                raise InputError(f"{name} must be a power of two, not {value}")
        if self.groups > self.ports:
            raise InputError(f"groups must be at most the {self.ports} ports, not {self.groups}")
        for name, least, most in (
            ("word", 8, 18),
            ("weight", 2, self.word),
            ("acc", 16, 48),
            ("wide", self.word * 2, 64),
            ("terms", 2, 8),
            ("ports", 1, 16),
            ("vector_words", 2 * self.ports, 1 << MAX_ADDRESS_BITS),
            ("weight_rows", 2, 1 << MAX_ADDRESS_BITS),
            ("table_words", 2, 1 << 15),
            ("program_words", 16, 1 << 14),
            ("offsets", 4, OFFSETS),
            ("levels", 2, LEVELS),
            ("changes", 0, 1 << 12),
            ("banks", 0, 1 << 12),
        ):
            if not least <= getattr(self, name) <= most:
                raise InputError(f"{name} must be in {least}..{most}, not {getattr(self, name)}")
        if bool(self.changes) != bool(self.banks):
            raise InputError(
                f"changes and banks must both be 0, or none of them: delta layers need both, not {self.changes} and {self.banks}"
            )
        if self.wide < self.acc:
            raise InputError(f"wide must be at least the {self.acc} bits of acc, not {self.wide}")

    @property
    def per_group(self) -> int:
        """Lanes of one group: outputs that are summed at once."""
        return self.lanes // self.groups

    @property
    def multipliers(self) -> int:
        """All multipliers of the engine: what utilisation is divided by."""
        return self.lanes + (0 if self.shared else self.ports)

    @property
    def digit(self) -> int:
        """Bits of a digit: values wider than a word are stored as digits, the topmost signed and a word wide."""
        return self.word - 2

    @property
    def timing(self) -> Timing:
        """Cycles of everything on this engine."""
        return DEEP if self.deep else SHALLOW

    @property
    def vector_bits(self) -> int:
        """Bits of an element's address; what addresses have above is cut."""
        return (self.vector_words - 1).bit_length()

    @property
    def offset_bits(self) -> int:
        """Bits of an offset register: of whatever it is added to."""
        return max(self.vector_bits, (self.weight_rows - 1).bit_length())

    @property
    def column(self) -> int:
        """Weights in one column of the weight memory, which is written column by column."""
        return max(d for d in range(1, self.lanes + 1) if self.lanes % d == 0 and d * self.weight <= self.column_bits)

    @property
    def column_bits(self) -> int:
        """Most bits of a column: what one block of memory is wide."""
        return 16 if self.spram else 36

    @property
    def columns(self) -> int:
        """Columns of a weight row."""
        return self.lanes // self.column

    @property
    def word_bytes(self) -> tuple[int, int, int, int]:
        """Bytes of one loaded word of each memory: program, weights (one column), table, vector."""
        return WORD_BYTES, (self.column * self.weight + 7) // 8, (self.word + 7) // 8, (self.word + 7) // 8

    @property
    def load_bits(self) -> int:
        """Bits that the loader stores at once: a word, a column of weights, or a column of the program."""
        return 8 * max(PROGRAM_COLUMN // 8, *self.word_bytes[1:])

    def planes(self, width: int) -> int:
        """Words that a value of ``width`` bits (two's complement) takes."""
        count = 1
        while (count - 1) * self.digit + self.word < width:
            count += 1
        return count

    def to_bytes(self) -> bytes:
        """What makes two engines the same, as bytes."""
        # engines from before memories were cut keep their identity
        names = [f.name for f in fields(self) if f.name != "profile" and (f.name != "sliced" or self.sliced)]
        return ";".join(f"{name}={getattr(self, name)}" for name in names).encode()

    def hash(self) -> bytes:
        """The 32 bytes that a device with this engine states as its model."""
        return hashlib.sha256(b"neuroloom gated engine " + RTL_VERSION.encode() + self.to_bytes()).digest()

    @classmethod
    def from_mapping(cls, profile: str, value: Mapping[str, int | bool]) -> GatedConfig:
        """Read a profile as a board file gives it; raises InputError naming a wrong key."""
        known = {f.name for f in fields(cls)} - {"profile"}
        for key in value:
            if key not in known:
                raise InputError(
                    f"gated profile {profile!r}: key must be one of {', '.join(sorted(known))}, not {key!r}"
                )
        missing = known - set(value) - {f.name for f in fields(cls) if f.default is not MISSING}
        if missing:
            raise InputError(f"gated profile {profile!r} must have the key {min(missing)!r}, and it is missing; add it")
        try:
            return cls(profile, **value)  # type: ignore[arg-type]
        except InputError as error:
            raise InputError(f"gated profile {profile!r}: {error}") from None
