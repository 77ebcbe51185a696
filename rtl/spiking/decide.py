"""DECIDE: leader and runner-up among the spike counts of a population, and whether the leader is ahead enough."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import wiring
from neuroloom.compiler.spiking.core import CoreConfig

from .ports import decide_members

ENTRY_BITS = 16
"""Bits of a table entry that are looked at."""


class Decide(wiring.Component):
    """Looks at the counts of a population once and decides, or not.

    The rule is that of the graph's ``decide``: the leader has the largest count, the lowest index first. Margin (mode 0):
    decided when leader − runner-up ≥ ``margin``; the runner-up's count is 0 when there is one neuron. Confidence
    (mode 1): when the sum over all neurons, the leader too, of table[min(leader − count, entries − 1)] is ≤ ``margin``.
    The table stands in program words, an entry in the low 16 bits of each.

    One cycle per neuron, and four more by confidence; nothing once it is decided. Exactly: ``decide_cycles`` of
    ``compiler/spiking/cycles_learning.py``, from the cycle of ``start`` to that of ``done`` with both counted.

    Parameters
    ----------
    config : :class:`CoreConfig`

    Members
    -------
    See :func:`decide_members`. ``winner`` is the leader so far until ``decided``, then frozen; it is valid from the cycle
    after ``done``.
    """

    def __init__(self, config: CoreConfig) -> None:
        self._config = config
        super().__init__(decide_members(config))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        lanes = self._config.lanes
        bits = self._config.state_bits  # a count is never negative
        lane_bits = (lanes - 1).bit_length()

        address = Signal(16, reset_less=True)
        number = Signal(16, reset_less=True)
        seen = Signal(bits, reset_less=True)  # a count, and whose it is
        seen_number = Signal(16, reset_less=True)
        fresh = Signal()
        place = Signal(12, reset_less=True)
        left = Signal(16, reset_less=True)
        leader, runner = Signal(bits, reset_less=True), Signal(bits, reset_less=True)
        leading = Signal(16, reset_less=True)
        total = Signal(32, reset_less=True)
        sure = Signal(reset_less=True)
        pages = self.pool.data_r
        count = pages.word_select(number[:lane_bits], 32)[:bits] if lanes > 1 else pages[:bits]

        comes = self._config.pool_cycles  # a count comes so many cycles after its word was asked for
        late = comes > 1
        last_lane = number % lanes == lanes - 1
        last = left == 1

        def rewind() -> None:
            m.d.sync += [address.eq(self.state_base + self.k), number.eq(0), left.eq(self.neurons)]

        def advance() -> None:
            m.d.sync += [number.eq(number + 1), left.eq(left - 1)]

        def ask_next(when: Value) -> None:
            """In the cycle that asks for the next count's word, which is another one ``when``."""
            with m.If(when):
                m.d.sync += address.eq(address + self.stride)
                m.d.comb += self.pool.addr.eq(address + self.stride)

        def take() -> None:
            m.d.sync += [seen.eq(count), seen_number.eq(number)]

        m.d.sync += fresh.eq(0)
        with m.If(fresh):
            with m.If(seen > leader):
                m.d.sync += [leader.eq(seen), leading.eq(seen_number), runner.eq(leader)]
            with m.Elif(seen > runner):
                m.d.sync += runner.eq(seen)
        with m.If(self.clear):
            m.d.sync += [self.decided.eq(0), self.winner.eq(0), self.at.eq(0)]
        with m.FSM(name="decide"):
            with m.State("IDLE"):
                m.d.sync += [leader.eq(0), runner.eq(0), leading.eq(0), total.eq(0)]
                with m.If(self.start):
                    rewind()
                    m.next = "ASK"
                    with m.If((self.neurons == 0) | self.decided):
                        m.next = "DONE"
            with m.State("ASK"):
                m.d.comb += self.pool.addr.eq(address)
                m.next = f"COMES{comes - 1}" if late else "RANK"
            for more in range(comes - 1, 0, -1):
                with m.State(f"COMES{more}"):
                    m.d.comb += self.pool.addr.eq(address)
                    m.next = f"COMES{more - 1}" if more > 1 else "RANK"
            with m.State("RANK"):
                m.d.comb += self.pool.addr.eq(address)
                m.d.sync += fresh.eq(1)
                take()
                advance()
                ask_next(number % lanes == lanes - comes if late else last_lane)
                with m.If(last):
                    m.next = "SETTLE"
            with m.State("SETTLE"):
                rewind()
                m.next = "MARGIN"
                with m.If(self.mode == 1):
                    m.next = "ASK_AGAIN"
            with m.State("MARGIN"):
                m.d.sync += sure.eq(leader - runner >= self.margin)
                m.next = "CONCLUDE"

            with m.State("ASK_AGAIN"):
                m.d.comb += self.pool.addr.eq(address)
                m.next = f"COMES_AGAIN{comes - 1}" if late else "TAKE"
            for more in range(comes - 1, 0, -1):
                with m.State(f"COMES_AGAIN{more}"):
                    m.d.comb += self.pool.addr.eq(address)
                    m.next = f"COMES_AGAIN{more - 1}" if more > 1 else "TAKE"
            with m.State("TAKE"):
                m.d.comb += self.pool.addr.eq(address)
                take()
                m.next = "SUBTRACT"
            with m.State("SUBTRACT"):
                m.d.comb += self.pool.addr.eq(address)
                most = self.entries - 1
                behind = (leader - seen)[:bits]
                m.d.sync += place.eq(Mux(behind > most, most, behind))
                if late:
                    ask_next(last_lane)
                m.next = "LOOK_UP"
            with m.State("LOOK_UP"):
                m.d.comb += [self.pool.addr.eq(address), self.program.addr.eq(self.table + place)]
                m.next = "SUM"
            with m.State("SUM"):
                m.d.sync += total.eq(total + self.program.data_r[:ENTRY_BITS])
                m.d.comb += self.pool.addr.eq(address)
                advance()
                if not late:
                    ask_next(last_lane)
                m.next = "TAKE"
                with m.If(last):
                    m.next = "CONFIDENCE"
            with m.State("CONFIDENCE"):
                m.d.sync += sure.eq(total <= self.margin)
                m.next = "CONCLUDE"

            with m.State("CONCLUDE"):
                m.d.sync += self.winner.eq(leading)
                with m.If(sure):
                    m.d.sync += [self.decided.eq(1), self.at.eq(self.step)]
                m.next = "DONE"
            with m.State("DONE"):
                m.d.comb += self.done.eq(1)
                m.next = "IDLE"
        return m
