"""What a spiking core can hold: its configuration, the profiles of the boards, and the image that a core is loaded with.

The memories and their layout are in ``docs/spiking-core.md``.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from neuroloom.compiler.errors import InputError

SPIKE_WORD = 16
"""Neighbouring sources in one spike word; populations start at multiples of it."""

HEADER_START_BITS = 20
HEADER_BITS = HEADER_START_BITS + 64
"""Bits of a packed row header: where the row starts, and its mask of delays."""

LEARNING = ("none", "stdp", "reward")
_RECORD = struct.Struct("<HBBIHHBBBBHHBB10x")
CORES_MAX = 16
"""Most cores of one build."""
NO_DECISION = 1
"""Flag of the configuration record: the core is built without DECIDE."""


RULE_BEATS_LEAST = 4
"""Least cycles of one phase of a learning rule: the pipeline behind its lanes has four stages, so that a field is written before it
comes by again."""


@dataclass(frozen=True, slots=True)
class CoreConfig:
    """Build parameters of a core; see the table in ``docs/spiking-core.md``. Raises InputError on values that make no core.

    ``decision``: whether the core executes DECIDE. ``cores``: cores of this configuration in the build, with an exchange of spikes
    between them when there are several.
    """

    profile: str
    lanes: int = 2
    state_bits: int = 24
    pool_words: int = 16384
    neurons: int = 1024
    inputs: int = 512
    slots: int = 2
    weight_bits: int = 8
    program_words: int = 512
    learning: str = "none"
    event_depth: int = 128
    decision: bool = True
    cores: int = 1

    def __post_init__(self) -> None:
        def need(condition: bool, name: str, rule: str) -> None:
            if not condition:
                raise InputError(f"{name} of a core must be {rule}, not {getattr(self, name)}")

        need(self.lanes in (1, 2, 4, 8, 16), "lanes", "1, 2, 4, 8 or 16")
        need(16 <= self.state_bits <= 32, "state_bits", "from 16 to 32")
        need(self.neurons >= 16 and self.neurons % SPIKE_WORD == 0, "neurons", "a positive multiple of 16")
        need(self.inputs >= 16 and self.inputs % SPIKE_WORD == 0, "inputs", "a positive multiple of 16")
        need(self.slots in (2, 4, 8, 16, 32, 64), "slots", "a power of two from 2 to 64")
        need(self.weight_bits in (8, 16), "weight_bits", "8 or 16")
        need(64 <= self.pool_words <= 65536, "pool_words", "from 64 to 65536")
        need(64 <= self.program_words <= 4096 and self.program_words % 4 == 0, "program_words", "64 to 4096, in fours")
        need(1 <= self.cores <= CORES_MAX, "cores", f"from 1 to {CORES_MAX}")
        need(self.learning in LEARNING, "learning", f"one of {', '.join(LEARNING)}")

    @property
    def word_bits(self) -> int:
        """W, bits of a pool word."""
        return 32 * self.lanes

    @property
    def fields(self) -> int:
        """F, weight fields in a pool word."""
        return self.word_bits // self.weight_bits

    @property
    def target_bits(self) -> int:
        """Bits of a target neuron's number."""
        return (self.neurons - 1).bit_length()

    def record_bits(self, eligible: bool = False) -> int:
        """Bits of a record of a compressed row, in a table with eligibilities or without."""
        return self.weight_bits + self.target_bits + 1 + (8 if eligible and self.learning == "reward" else 0)

    def records(self, eligible: bool = False) -> int:
        """R, records in a pool word of a table with eligibilities or without."""
        return self.word_bits // self.record_bits(eligible)

    @property
    def large(self) -> bool:
        """Whether compressed rows have packed headers, and registers behind the pool that smaller cores do without."""
        return self.lanes >= 4

    @property
    def headers(self) -> int:
        """Packed row headers in a pool word; 0 where they are not packed."""
        return self.word_bits // HEADER_BITS if self.large else 0

    @property
    def fast_learning(self) -> bool:
        """Whether additive rules on dense rows learn a row word per cycle, through a second port of the pool."""
        return self.learning != "none" and self.lanes >= 4 and self.weight_bits == 8

    @property
    def rule_beats(self) -> int:
        """Cycles of one phase of a learning rule on a row word: cores of one and two lanes have one lane of the rule, larger ones
        four, so that a step of the rule's multipliers and shifters does not outweigh the rest of the core.
        """
        return 8 if self.fields == 8 else max(RULE_BEATS_LEAST, self.fields // 4)

    @property
    def record_beats(self) -> int:
        """The same on one record: large cores turn no more of the row word than that takes."""
        return RULE_BEATS_LEAST if self.large else self.rule_beats

    @property
    def pool_cycles(self) -> int:
        """Cycles from the address of a pool word to the word. The block RAMs of a large core's pool are all over the chip, so a
        register stands in front of them and another one behind them.
        """
        return 3 if self.large else 1

    @property
    def walk_cycles(self) -> int:
        """Cycles from the address of a pool word to the word where a LEARN command walks over rows one by one: on large cores the
        address is also in a register before its parts are added.
        """
        return self.pool_cycles + self.large

    @property
    def serial_learning(self) -> bool:
        """Whether LEARN commands are executed by the small processor of ``serial_program.py``: one lane, 8-bit weights, one record
        in a pool word, no eligibilities.
        """
        one = self.lanes == 1 and self.weight_bits == 8 and self.records(False) == 1
        return one and self.learning == "stdp"

    @property
    def multiply_cycles(self) -> int:
        """Cycles of MUL and SQR: small cores take three, two for the multiplier (nextpnr takes those of an iCE40 for registers
        and times no path through one) and one in which what RND needs to know of the product gets ready; large ones take one
        for the multipliers and one to add what they gave.
        """
        return 2 if self.large else 3

    @property
    def sources(self) -> int:
        """Neurons and inputs."""
        return self.neurons + self.inputs

    def to_bytes(self) -> bytes:
        """The configuration record that the core's ``Q`` answers, 32 bytes."""
        return _RECORD.pack(
            1,  # version of this record
            self.lanes,
            self.state_bits,
            self.pool_words,
            self.neurons,
            self.inputs,
            self.slots,
            self.weight_bits,
            LEARNING.index(self.learning),
            sorted(PROFILES).index(self.profile) if self.profile in PROFILES else 255,
            self.program_words,
            self.event_depth,
            0 if self.decision else NO_DECISION,
            self.cores - 1,  # 0 in the records of builds that knew one core only
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> CoreConfig:
        """Read a configuration record; raises InputError when it is of another version."""
        if len(data) != _RECORD.size or data[:2] != b"\x01\x00":
            raise InputError("the core's configuration record must be of version 1; rebuild the bitstream")
        _, lanes, bits, pool, neurons, inputs, slots, weight, learning, profile, program, events, flags, more = (
            _RECORD.unpack(data)
        )
        names = sorted(PROFILES)
        return cls(
            profile=names[profile] if profile < len(names) else "custom",
            lanes=lanes,
            state_bits=bits,
            pool_words=pool,
            neurons=neurons,
            inputs=inputs,
            slots=slots,
            weight_bits=weight,
            learning=LEARNING[learning],
            program_words=program,
            event_depth=events,
            decision=not flags & NO_DECISION,
            cores=more + 1,
        )


PROFILES: dict[str, str] = {
    "infer": "networks without delays beyond one step, no learning",
    "delay": "delays of many steps, no learning",
    "delay16": "delays of many steps, states of 16 bits, no learning",
    "decide": "early decisions, delays of one step, no learning",
    "stdp": "pair STDP, delays of one step",
    "reward": "STDP, reward-modulated STDP with eligibility, delays up to 63 steps",
    "twin": "two cores that share out a network too large for one, delays up to 15 steps, no learning",
    "custom": "a configuration of your own",
}
"""Profiles by name and what they carry."""

_UP5K = CoreConfig("infer", pool_words=16384, neurons=1024, inputs=512, slots=2, program_words=512, decision=False)
_LARGE = CoreConfig(
    "reward",
    lanes=16,
    pool_words=6144,
    neurons=4096,
    inputs=1024,
    slots=64,
    program_words=1024,
    learning="reward",
    event_depth=1024,
)
_SMALL = CoreConfig("infer", pool_words=1024, neurons=256, inputs=128, slots=2, program_words=256)

CORES: dict[str, tuple[CoreConfig, ...]] = {
    "icebreaker": (
        # what a UP5K has room for beside the link: DECIDE or learning with one lane only; with a history of 64 steps for 1,024
        # neurons all block RAM is taken, so that states have 16 bits
        _UP5K,
        replace(_UP5K, profile="delay", slots=64, neurons=512, inputs=256),
        replace(_UP5K, profile="delay16", slots=64, inputs=128, program_words=256, state_bits=16),
        replace(_UP5K, profile="decide", lanes=1, pool_words=32768, decision=True),
        replace(_UP5K, profile="stdp", lanes=1, pool_words=32768, learning="stdp"),
    ),
    "ulx3s_85f": (
        # the same core without the learning unit, which is a third of it, has a faster clock
        replace(_LARGE, profile="delay", learning="none"),
        _LARGE,
        # two cores of half the lanes, without learning: each has room for all neurons of the other, and for 1,024 inputs
        CoreConfig(
            "twin",
            lanes=8,
            pool_words=5120,
            neurons=3584,
            inputs=4608,
            slots=16,
            program_words=1024,
            event_depth=1024,
            cores=2,
        ),
    ),
    "ice40_hx8k_evn": (_SMALL,),
    "tang_nano_9k": (_SMALL, replace(_SMALL, profile="stdp", learning="stdp")),
}
"""The cores that each board is built with, smallest profile first. To be held to what place and route showed."""


@dataclass
class CoreProgram:
    """What a core is loaded with.

    ``program``: uint32 words from address 0; ``pool``: uint32 [words, lanes], lane 0 holds bits 31..0, as many words as are used;
    ``maps``: how to read the core back, filled by the mapper (see ``compiler/spiking/maps.py``).
    """

    config: CoreConfig
    program: np.ndarray
    pool: np.ndarray
    maps: dict[str, Any] = field(default_factory=dict)

    @property
    def pool_used(self) -> int:
        """Pool words."""
        return len(self.pool)

    @property
    def program_used(self) -> int:
        """Program words."""
        return len(self.program)
