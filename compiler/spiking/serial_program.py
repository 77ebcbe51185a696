"""The program of the serial learning unit: LEARN_DENSE and LEARN_SPARSE of docs/spiking-core.md on a core of one lane.

The command's fields and the walk over the sources; rows are in ``serial_rows.py``, a synapse in ``serial_synapse.py``.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from .core import CoreConfig
from .learner import SOURCE_STEP
from .serial import ONES, Assembler, Flag, Fn, Mem, Src, To, When, bumps, shifted
from .serial_rows import dense_rows, sparse_rows
from .serial_synapse import synapse


def program_word(word: int) -> int:
    """How an instruction names a word of the command: its block of four is counted from the command's end."""
    return word & 3 | (word // 4 + 1) << 2


def _setup(i: Assembler) -> None:
    """Read the command's fields; say what they mean for every synapse."""
    i.label("idle")
    i(jump="idle")
    i.label("start")
    i(mem=Mem.PROGRAM, word=program_word(0))
    before = None
    for word in range(10):
        i(src=Src.PROGRAM_LOW, wr=before, mem=Mem.PROGRAM, word=program_word(word))
        more: dict[str, Any] = {"mem": Mem.PROGRAM, "word": program_word(word + 1)} if word < 9 else {}
        i(src=Src.PROGRAM_HIGH, wr=f"{word}l", **more)
        before = f"{word}h"
    i(wr=before)
    for side, word in (("x", 3), ("y", 4)):
        shifted(i, f"{word}h", 4)
        i(f"{word}h", wr=f"{side}_step")
        i(15, Fn.AND)
        i(f"{word}l", Fn.ADD)
        i(wr=f"{side}_first")
    i("0l")
    i(0xFFF, Fn.AND)
    i(wr="source_word")
    shifted(i, "2h", 4)
    i("y_step", wr="target_word0")
    i(4, to=To.B)
    i()
    i(src=Src.LOW)
    i("y_step", wr="y_step4")
    i(16, to=To.B)
    i()
    i(src=Src.LOW)
    # what soft, window and rounding say
    i("6l", wr="y_step16")
    i(32, Fn.AND)
    i(ONES, when=When.SOME)
    i(ONES, Fn.XOR, wr="soft")
    i(1, Fn.AND)
    i("6l", wr="hard")
    i(64, Fn.AND)
    i(ONES, when=When.SOME)
    i(ONES, Fn.XOR)
    i("6l", wr="trace_counts")  # minus when the trace is what changes a weight
    i(1024, Fn.AND)
    i("6l", wr="enables")
    i(31, Fn.AND)
    # 2^(-f mod 16) brings bits down by f when only the upper half of the product is looked at
    i(0, Fn.RSUB, wr="f")
    i(mem=Mem.INDEX)
    i("@")
    i("f", wr="scale")
    # the bits that are dropped, and the largest of them
    i(16, Fn.SUB, flag=Flag.SIGN)
    i(mem=Mem.INDEX)
    i("@")
    i(1, Fn.SUB)
    i(ONES, when=When.CLEAR)
    i("6l", wr="dropped")
    i(256, Fn.AND)
    i("dropped", when=When.SOME)
    i("f", wr="noise")
    i(1, Fn.SUB)
    i(mem=Mem.INDEX)
    i("@")
    i("6l", wr="top")
    i(128, Fn.AND)
    i("top", when=When.SOME)
    i("f", wr="top")
    i(17, Fn.SUB, flag=Flag.SIGN)
    i("top", when=When.SOME)  # f is 0: nothing is rounded
    i(wr="top")
    i(0, when=When.CLEAR)
    i("top", wr="half_low")
    i(0, when=When.SET)
    i(wr="half_high")
    # f of 1 to 16 is the usual case; minus: another one
    i("f")
    i(1, Fn.SUB)
    i(16, Fn.SUB, flag=Flag.CARRY)
    i(0)
    i(ONES, when=When.SET)
    i("9l", wr="unusual")
    # targets in the last spike word
    i(15, Fn.AND)
    i(mem=Mem.INDEX)
    i("@")
    i(1, Fn.SUB)
    i("9h", wr="last_word")
    i(0, wr="sources")
    i(1, wr="source_random")
    i("x_first", wr="source_bit")
    i("8h", wr="x_at")
    i("1l", Fn.SUB)
    i("1l", wr="enable_offset")
    i("5l", wr="row0")
    i(ONES, Fn.XOR)
    i("1h", wr="mirrored_min")
    i(wr="row_step")
    i(jump="sparse_setup", when=When.SPARSE)
    i.label("dense_setup_end")
    i.label("count")
    i("9l")
    i(jump="done", when=When.ZERO)
    i("sources")
    i(jump="source", when=When.SOME)
    i.label("done")
    i(mem=Mem.DONE, jump="idle")
    i.label("done_end")
    i.label("sparse_setup")
    i()
    i("2l")
    i(4, wr="row0")
    i(wr="row_step")
    i(jump="count")
    i.label("sparse_setup_end")


def _sources(i: Assembler) -> None:
    """Source by source, those that cannot change a synapse passed over."""
    i.label("source")
    i("x_at", mem=Mem.POOL)
    i("source_word", src=Src.POOL_LOW, mem=Mem.HIST)
    i(src=Src.HIST, wr="x")
    i("source_bit", Fn.AND)
    i("x", Fn.OR, wr="pre")
    i(jump="next_source", when=When.ZERO)
    i.label("active")
    i()
    i("x")
    i("7l", when=When.SOME)
    i("trace_counts", flag=Flag.SIGN)
    i("x", when=When.SET)
    i("x", wr="x_amount")
    i(ONES, when=When.SOME)
    i(src=Src.LFSR_LOW, wr="x_mask")
    i("source_random", Fn.ADD)
    i(src=Src.LFSR_HIGH, wr="random_dep")
    i("source_random", Fn.ADD)
    i("row0", wr="random_pot")
    i(jump="row", when=When.SPARSE)
    i.label("dense_source")
    i(wr="row")
    i("9l")
    i("y_first", wr="left")
    i("target_word0", wr="y_at")
    i(0, wr="target_word")
    i(wr="target_random")
    i(jump="word")
    i.label("dense_source_end")
    i.label("next_source")
    bumps(i, [("x_at", "x_step", Fn.ADD), ("row0", "row_step", Fn.ADD), ("source_random", SOURCE_STEP, Fn.ADD)])
    i("source_bit")
    i("source_bit", Fn.ADD, flag=Flag.CARRY, to=To.A)
    i(1, when=When.ZERO)
    i("source_word", wr="source_bit")
    i(1, Fn.ADD, when=When.SET)
    i("sources", wr="source_word")
    i(1, Fn.SUB)
    i(wr="sources")
    i(jump="source", when=When.SOME)
    i.label("next_source_end")
    i(jump="done")
    i.label("last_source_end")


@cache
def program_of(config: CoreConfig) -> Assembler:
    """The program for one configuration."""
    i = Assembler()
    _setup(i)
    _sources(i)
    dense_rows(i)
    sparse_rows(i, config.target_bits)
    synapse(i)
    return i
