"""What loads a network into a spiking core: the same calls over the link and out of a board's flash."""

from __future__ import annotations

import hashlib

import numpy as np
from neuroloom.compiler.spiking.cluster import ClusterProgram
from neuroloom.compiler.spiking.core import CoreConfig, CoreProgram

from .pool import write_words
from .protocol import ENVELOPE_BYTES, Call, Control, Space, control, to_core, write, zero

STAMP_WORDS = 4
"""Program words at the end of the memory that tell which network was loaded, where the program leaves them free."""

LONGEST = 65535
"""Bytes of a call whose length no frame of a link bounds."""


def stamp(program: CoreProgram) -> bytes:
    """What a core is marked with: a digest of everything it is loaded with."""
    digest = hashlib.sha256(program.config.to_bytes())
    digest.update(np.ascontiguousarray(program.program, "<u4").tobytes())
    digest.update(np.ascontiguousarray(program.pool, "<u4").tobytes())
    return digest.digest()[: 4 * STAMP_WORDS]


def load_calls(config: CoreConfig, program: CoreProgram, limit: int) -> tuple[list[Call], list[Call]]:
    """What brings a program onto a core, in calls of at most ``limit`` bytes: its content, and what makes it valid."""
    image = np.ascontiguousarray(program.program, "<u4").tobytes()
    stamp_at = 4 * (config.program_words - STAMP_WORDS)
    stamped = len(image) <= stamp_at
    content = []
    if stamped:  # a load that is broken off must not look like a whole one
        content += write(Space.PROGRAM, stamp_at, bytes(4 * STAMP_WORDS), limit)
    content += write(Space.PROGRAM, 0, image, limit)
    content += write_words(config, 0, program.pool, limit)
    seed = program.maps.get("seed")
    seal = [control(Control.LFSR, seed if isinstance(seed, int) else 1), control(Control.REWARD, 0)]
    if stamped:
        seal += write(Space.PROGRAM, stamp_at, stamp(program), limit)
    return content, seal


def load_commands(program: CoreProgram | ClusterProgram) -> bytes:
    """All calls one behind another, with a fresh start at their end: for a core that nobody tells to begin."""
    calls: list[Call] = []
    if isinstance(program, ClusterProgram):
        for number, part in enumerate(program.parts):
            content, seal = load_calls(part.config, part, LONGEST - ENVELOPE_BYTES)
            calls += to_core(number, [*content, *seal, zero()])
    else:
        content, seal = load_calls(program.config, program, LONGEST)
        calls = [*content, *seal, zero()]
    return b"".join(call.data for call in calls)
