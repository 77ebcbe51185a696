"""The ports between the sequencer, the memories and the units that work on them.

One unit works at a time: the sequencer sets the fields of its command, pulses ``start`` for one cycle, and waits for a pulse
of ``done``. Ports are joined with OR gates, so **a unit drives 0 on every output of its ports while it is idle**, from the
cycle after ``done`` until (not including) the cycle in which ``start`` is 1; it may use the ports in the cycle of ``start``
itself and in the cycle of ``done``.
"""

from __future__ import annotations

from amaranth.hdl import Mux, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from neuroloom.compiler.spiking.core import CoreConfig
from neuroloom.compiler.spiking.isa import FIELDS, Step

POOL_ADDR_BITS = 16
HIST_SLOT_BITS = 6
HIST_WORD_BITS = 9
PROGRAM_ADDR_BITS = 12


class PoolPort(wiring.Signature):
    """The one port of the pool, from its user's side.

    ``data_r`` has the word of ``addr`` in the cycle after, on large cores in the third one (``CoreConfig.pool_cycles``), and
    is undefined then if that cycle had ``write`` = 1. A word is written as a whole; reads of later cycles see it.
    """

    def __init__(self, config: CoreConfig) -> None:
        super().__init__(
            {
                "addr": Out(POOL_ADDR_BITS),
                "write": Out(1),
                "data_w": Out(config.word_bits),
                "data_r": In(config.word_bits),
            }
        )


class PoolWritePort(wiring.Signature):
    """A second port of the pool of large cores, from its user's side: writes a word while :class:`PoolPort` reads another."""

    def __init__(self, config: CoreConfig) -> None:
        super().__init__({"addr": Out(POOL_ADDR_BITS), "write": Out(1), "data": Out(config.word_bits)})


class HistPort(wiring.Signature):
    """The one port of the spike history, from its user's side.

    ``data_r`` has the spike word (16 neighbouring sources, lowest first) of ``slot`` and ``word`` in the cycle after; it is
    undefined after a cycle with ``write`` = 1. The memory reduces slots modulo their number: bits above are ignored.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "slot": Out(HIST_SLOT_BITS),
                "word": Out(HIST_WORD_BITS),
                "write": Out(1),
                "data_w": Out(16),
                "data_r": In(16),
            }
        )


class ProgramPort(wiring.Signature):
    """Read port of the program memory, from its user's side: ``data_r`` has the word of ``addr`` in the cycle after."""

    def __init__(self) -> None:
        super().__init__({"addr": Out(PROGRAM_ADDR_BITS), "data_r": In(32)})


def command_members(*commands: Step) -> dict[str, wiring.Member]:
    """One ``In`` per field of the commands, by the names of :data:`neuroloom.compiler.spiking.isa.FIELDS`.

    The sequencer holds them still from ``start`` until ``done``.
    """
    members = {}
    for command in commands:
        for name, place in FIELDS[command].items():
            members[name] = In(signed(place.width) if place.signed else place.width)
    return members


def several_members(config: CoreConfig) -> dict[str, wiring.Member]:
    """What one of several cores has beside the members of a core alone.

    ``waits`` : it waits for the others, or has nothing to do; ``go``: all of them did in the cycle before, and do now; ``word_o``,
    ``word_i``: the bus of :mod:`.exchange`; ``any_stalled``, ``any_decided``: one of the cores is.
    """
    if config.cores == 1:
        return {}
    outs, ins = {"waits": 1, "word_o": 16}, {"go": 1, "word_i": 16, "any_stalled": 1, "any_decided": 1}
    return {**{name: Out(width) for name, width in outs.items()}, **{name: In(width) for name, width in ins.items()}}


def learn_members(config: CoreConfig, command: Step) -> dict[str, wiring.Member]:
    """Members of a unit of LEARN_DENSE or LEARN_SPARSE.

    ``slot`` is the current step's, ``lfsr`` the random word of this step, ``reward`` the value of the control space. The
    fields that say where random numbers begin are there in one of several cores only.
    """
    fields = command_members(command)
    if config.cores == 1:
        fields = {name: member for name, member in fields.items() if "random" not in name}
    return {
        "start": In(1),
        "done": Out(1),
        **fields,
        "slot": In(HIST_SLOT_BITS),
        "lfsr": In(32),
        "reward": In(signed(8)),
        "pool": Out(PoolPort(config)),
        "hist": Out(HistPort()),
    }


def decide_members(config: CoreConfig) -> dict[str, wiring.Member]:
    """Members of the unit of DECIDE.

    ``step`` is the number of the current step, ``clear`` forgets the decision. ``decided``, ``winner`` (neuron inside the
    population) and ``at`` (step) are registers, frozen from the first decision until ``clear``; they are right in the cycle
    after ``done``.
    """
    return {
        "start": In(1),
        "done": Out(1),
        **command_members(Step.DECIDE),
        "step": In(32),
        "clear": In(1),
        "decided": Out(1),
        "winner": Out(16),
        "at": Out(32),
        "pool": Out(PoolPort(config)),
        "program": Out(ProgramPort()),
    }


def times(number: Value, value: Value) -> Value:
    """``number * value`` from adders, for a number of few bits: one path for the tools that shorten and time paths.

    nextpnr times no path through an iCE40 multiplier.
    """
    terms = [Mux(bit, value, 0) << place for place, bit in enumerate(number)]
    while len(terms) > 1:
        terms = [a + b for a, b in zip(terms[::2], terms[1::2], strict=False)] + terms[len(terms) & ~1 :]
    return terms[0]
