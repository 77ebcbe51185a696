"""The learning unit: carries out LEARN_DENSE and LEARN_SPARSE with one set of rule lanes."""

from __future__ import annotations

import functools
import operator
from typing import Any

from amaranth.hdl import Cat, Const, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from neuroloom.compiler.spiking.core import CoreConfig
from neuroloom.compiler.spiking.isa import Step

from .learn_dense import DenseWalk
from .learn_fast import FastWalk, check_fast
from .learn_rule import TRACE_BITS, Rule
from .learn_sources import Access, Sources
from .learn_sparse import SparseWalk
from .learn_targets import HIST_CYCLES, Targets
from .ports import HistPort, PoolWritePort, learn_members


class Learn(wiring.Component):
    """Applies a projection's learning rule to all its synapses, once.

    The equations are those of "Learning" in docs/spiking-core.md; the cycles of a command, from the one of ``start`` to the one
    of ``done`` with both counted, those of ``compiler/spiking/cycles_learning.py``.

    Parameters
    ----------
    config : :class:`CoreConfig`
        With ``learning`` not ``none``. InputError when a pool word has less than 4 weights.
    fast : :class:`bool`
        Additive rules without eligibility and enable plane take one cycle per row word, in F adders, and write through a second
        port of the pool. InputError when the configuration has no 8-bit weights.

    Members
    -------
    start, done, slot, lfsr, reward, pool, hist, and the fields of a LEARN command
        See :func:`learn_members`. All outputs of the ports are 0 while the unit is idle.
    sparse : ``In(1)``
        The command is LEARN_SPARSE; held from ``start`` to ``done`` like the fields.
    saturated : ``Out(1)``
        Strobe: an eligibility was cut to 8 bits.
    rows : ``Out(PoolWritePort)``
        With ``fast`` only.
    """

    def __init__(self, config: CoreConfig, *, fast: bool = False) -> None:
        self._config = config
        self._rule = Rule(config)
        self._fast = fast
        self.several = config.cores > 1
        members = {**learn_members(config, Step.LEARN_DENSE), "sparse": In(1), "saturated": Out(1)}
        if fast:
            check_fast(config)
            members["rows"] = Out(PoolWritePort(config))
        super().__init__(members)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self._config
        rule, sources = self._rule, Sources(config)
        self.look: Any = self.hist
        if config.large:  # the history's address comes from registers
            self.look = HistPort().create(path=("look",))
            m.d.sync += [self.hist.slot.eq(self.look.slot), self.hist.word.eq(self.look.word)]
        # Who reads the pool: the rule, and the walks; on large cores each by registers of its own, one of them at a time.
        readers = [Access(config, late=True) for _ in range(3)] if config.large else [Access(config)] * 3
        for_rule, for_dense, for_sparse = readers
        rule.build(m, self)
        if rule.clipped:
            clipped = Signal(len(rule.clipped))
            m.d[("sync" if config.large else "comb")] += clipped.eq(Cat(*rule.clipped))
            m.d.comb += self.saturated.eq(clipped.any())
        sources.build(m, self, rule)
        targets = Targets(self._config, self, rule, for_rule)
        targets.build(m)
        parts = self, rule, sources, targets
        fast = FastWalk(self._config, self, rule, targets) if self._fast else None
        addr, write, data = (
            functools.reduce(operator.or_, parts_of)
            for parts_of in zip(*(reader.build(m) for reader in dict.fromkeys(readers)), strict=True)
        )
        if fast is not None:
            addr = addr | fast.address
        m.d.comb += [self.pool.addr.eq(addr), self.pool.write.eq(write), self.pool.data_w.eq(data)]
        m.d.comb += [
            rule.x.eq(sources.x[:TRACE_BITS]),
            rule.traced.eq(sources.x[:TRACE_BITS].any()),
            rule.alone.eq(self.sparse),
        ]
        if config.large:
            m.d.comb += rule.traced.eq(sources.traced[0])
        dense, sparse = DenseWalk(self._config, *parts, for_dense), SparseWalk(self._config, *parts, for_sparse)
        dense.build(m)
        if fast:
            fast.build(m)
        empty = (self.sources == 0) | (self.targets == 0)
        if config.large:
            # a state machine for each kind of walk: what a state does hangs on few bits
            busy = Signal()
            with m.If(~busy):  # not with ``start``, which comes late in its cycle
                self._rewind(m, sources, targets)
            with m.If(self.start):
                m.d.sync += busy.eq(1)
            with m.Elif(self.done):
                m.d.sync += busy.eq(0)
            with m.FSM(name="dense"):
                chosen = fast.chosen if fast is not None else Const(0)
                with m.State("IDLE"):
                    with m.If(self.start & empty):
                        m.next = "DONE"
                    with m.Elif(self.start & ~self.sparse & ~chosen):
                        m.next = "TARGETS"
                self._ask_states(m, sources, targets, for_dense, "ROW")
                dense.states(m)
                self._done(m)
            with m.FSM(name="sparse"):
                with m.State("IDLE"):
                    with m.If(self.start & ~empty & self.sparse):
                        m.next = "ASK"
                self._ask_states(m, sources, targets, for_sparse, "HEADER")
                sparse.states(m)
                self._done(m)
            if fast is not None:
                with m.FSM(name="fast"):
                    with m.State("IDLE"):
                        fast.fractions.first_target(m, self)
                        with m.If(self.start & ~empty & ~self.sparse & chosen):
                            m.next = "FAST_TARGETS"
                    fast.states(m)
                    self._done(m)
            return m
        with m.FSM(name="learn"):
            with m.State("IDLE"):
                with m.If(self.start):
                    self._rewind(m, sources, targets)
                    with m.If(empty):
                        m.next = "DONE"
                    with m.Elif(self.sparse):
                        m.next = "ASK"
                    with m.Else():
                        m.next = "TARGETS"
            self._ask_states(m, sources, targets, for_dense, "ROW", sparse="HEADER")
            dense.states(m)
            sparse.states(m)
            self._done(m)
        return m

    def _rewind(self, m: Module, sources: Sources, targets: Targets) -> None:
        """Go to the first source and target."""
        sources.rewind(m, self, self._rule)
        targets.rewind(m)
        m.d.sync += sources.offset.eq(0)

    def _ask_states(
        self, m: Module, sources: Sources, targets: Targets, access: Access, behind: str, *, sparse: str | None = None
    ) -> None:
        """The states that get the traces of the next group of sources; then comes ``behind``, of a sparse command ``sparse``."""
        config = self._config
        with m.State("ASK"):
            sources.ask(m, self, access)
            if config.walk_cycles > 1:
                m.next = f"COMES{config.walk_cycles - 1}"
            else:
                sources.ask_spikes(m, self)
                m.next = "TAKE"
        for left in range(config.walk_cycles - 1, 0, -1):
            with m.State(f"COMES{left}"):
                if left == (HIST_CYCLES if config.large else 1):
                    sources.ask_spikes(m, self)
                m.next = f"COMES{left - 1}" if left > 1 else "TAKE"
        with m.State("TAKE"):
            sources.take(m, self)
            targets.limit(m)
            m.next = behind
            if sparse:
                with m.If(self.sparse):
                    m.next = sparse

    def _done(self, m: Module) -> None:
        with m.State("DONE"):
            m.d.comb += self.done.eq(1)
            m.next = "IDLE"
