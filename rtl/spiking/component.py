"""The spiking core as a component of someone else's design: flat ports, and its memories' Verilog beside it."""

from __future__ import annotations

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from neuroloom.compiler.spiking.core import CoreConfig

from .bytes import ByteEngine
from .engine import memory_files

STREAMS = {
    "i": ("in", {"data": 8}),
    "o": ("out", {"data": 8}),
    "spike": ("in", {"source": 16}),
    "advance": ("in", {"steps": 16}),
    "event": ("out", {"step": 16, "source": 16}),
}
"""Streams of the core: direction, and the parts of the payload with their bits, lowest first."""

PORTS = """\
// Ports, all synchronous to the rising edge of clk; a word moves in a cycle in which valid and ready are both 1.
//   clk, rst           rst 1 (synchronous): as after power-up, but the memories stay as they are
//   i_*, o_*           opcodes and answers, see "Bytes of the engine" in docs/spiking-core.md
//   spike_*            source number of a spike for the next step: a neuron from 0 on, an input from NEURONS on
//   advance_*          so many steps (0: none), numbered on; taken when the core is idle and no spike is offered
//   event_*            a spike of a watched population: its step (modulo 65536) and source number
//   event_enable       1: events go to event_*; 0: they wait for the opcode D. Change it while the core is idle and no event waits
//   idle               no opcode and no step is under way, and no event waits for event_*
"""


class StreamCore(wiring.Component):
    """A spiking core with byte streams, and with streams of their own for spikes, steps and events.

    Members
    -------
    NAME_valid, NAME_ready, NAME_PART : for every stream of :data:`STREAMS`
    event_enable : In(1), idle : Out(1), as :class:`~.bytes.ByteEngine` says

    A spike is taken in 3 cycles, an event given in 2. Between the cycle that takes ``advance`` and the first cycle of the step
    lies one.
    """

    def __init__(self, config: CoreConfig) -> None:
        self._config = config
        self.extra_files = memory_files(config)
        members = {"event_enable": In(1), "idle": Out(1)}
        for name, (direction, parts) in STREAMS.items():
            ahead, back = (In, Out) if direction == "in" else (Out, In)
            members |= {f"{name}_valid": ahead(1), f"{name}_ready": back(1)}
            members |= {f"{name}_{part}": ahead(width) for part, width in parts.items()}
        super().__init__(members)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.bytes = inner = ByteEngine(self._config, ports=True)
        m.d.comb += [inner.event_enable.eq(self.event_enable), self.idle.eq(inner.idle)]
        for name, (direction, parts) in STREAMS.items():
            port, at = getattr(inner, name), 0
            ahead = [(getattr(self, f"{name}_valid"), port.valid)]
            for part, width in parts.items():
                ahead.append((getattr(self, f"{name}_{part}"), port.payload[at : at + width]))
                at += width
            back = getattr(self, f"{name}_ready")
            if direction == "in":
                m.d.comb += [inside.eq(outside) for outside, inside in ahead] + [back.eq(port.ready)]
            else:
                m.d.comb += [outside.eq(inside) for outside, inside in ahead] + [port.ready.eq(back)]
        return m


def header(config: CoreConfig) -> str:
    """The comment in front of the written Verilog: what the core is, and its ports."""
    facts = (
        f"// neuroloom spiking core, profile {config.profile}: {config.lanes} lanes, NEURONS = {config.neurons}, "
        f"{config.inputs} inputs, {config.slots} slots, pool of {config.pool_words} words, learning {config.learning}\n"
    )
    return facts + PORTS
