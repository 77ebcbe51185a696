"""What loads a network into a gated engine: the same commands over the link and out of a board's flash."""

from __future__ import annotations

import hashlib

from neuroloom.compiler.gated.commands import Command, Memory, header
from neuroloom.compiler.gated.core import GatedConfig
from neuroloom.compiler.gated.program import STAMP_BYTES, Program


def stamp(program: Program) -> bytes:
    """What tells a loaded network from others."""
    return hashlib.sha256(program.load_bytes()).digest()[:STAMP_BYTES]


def stamp_at(config: GatedConfig) -> tuple[int, int]:
    """Address and number of the words of the vector memory that hold the stamp."""
    words = -(-STAMP_BYTES // config.word_bytes[Memory.VECTOR])
    return config.vector_words - words, words


def stamp_words(program: Program) -> bytes:
    """The stamp as words: the bits above a word are lost, so they are cleared."""
    config = program.config
    size = config.word_bytes[Memory.VECTOR]
    words = stamp_at(config)[1]
    data = stamp(program).ljust(words * size, b"\0")
    mask = (1 << config.word) - 1
    return b"".join(
        (int.from_bytes(data[n * size : (n + 1) * size], "little") & mask).to_bytes(size, "little")
        for n in range(words)
    )


def load_commands(program: Program) -> tuple[list[bytes], bytes]:
    """What brings a network onto the engine: the commands of its content, and the one that makes it valid."""
    config = program.config
    at, words = stamp_at(config)
    where = header(Command.LOAD, Memory.VECTOR, at, words)
    content = [
        where + bytes(words * config.word_bytes[Memory.VECTOR])
    ]  # a load that is broken off must not look like a whole one
    content += [header(Command.LOAD, m, a, n) + data for m, a, data, n in program.loads()]
    return content, where + stamp_words(program)
