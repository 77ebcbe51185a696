"""Who uses a memory of the core: its units, one at a time, and between the steps the host."""

from __future__ import annotations

from typing import Any, Protocol

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from neuroloom.compiler.spiking.core import CoreConfig

from .history import History
from .learn import Learn
from .memories import Pool, Program


class Space:
    """Address spaces of the byte engine."""

    PROGRAM, POOL, HIST, CONTROL = range(4)


class Host(Protocol):
    """The core's members by which the host works on its memories; :class:`.core.Core` says what they are."""

    config: CoreConfig
    idle: Signal
    sweep: Signal
    access: Signal
    space: Signal
    address: Signal
    write: Signal
    data_w: Signal


def uses(core: Host, space: int) -> Value:
    """Whether the host uses a space in this cycle."""
    return core.access & (core.space == space)


def may_use(core: Host, space: int) -> Value:
    """Whether the host's address and data stand at a space: on small cores whenever the core is idle, because how the host's
    byte is decoded would come first on the longest paths.
    """
    return uses(core, space) if core.config.large else core.idle


def join_pool(m: Module, core: Host, units: list[Any], pool: Pool) -> None:
    """The pool of synapses and states."""
    config = core.config
    lane_bits = (config.lanes - 1).bit_length()
    addr: Value = Mux(may_use(core, Space.POOL), core.address[2 + lane_bits :], 0)
    write: Value = Const(0)
    data: Value = Const(0)
    rows: list[Any] = []
    host_lane = (Const(1, config.lanes) << core.address[2:][:lane_bits])[: config.lanes]
    for unit in units:
        if "pool" in unit.signature.members:
            addr, write, data = addr | unit.pool.addr, write | unit.pool.write, data | unit.pool.data_w
            m.d.comb += unit.pool.data_r.eq(pool.data_r)
        if "rows" in unit.signature.members:
            rows.append(unit.rows)
    if config.large:
        w_addr = Const(0)
        for unit in units:  # no other unit writes through the port that it reads by
            w_addr = unit.pool.addr if isinstance(unit, Learn) else w_addr
        for port in rows:
            w_addr = Mux(port.write, port.addr, w_addr)
            write, data = write | port.write, data | port.data
    m.d.comb += [
        pool.addr.eq(addr),
        pool.write.eq(write.replicate(len(pool.write))),
        pool.data_w.eq(data),
    ]
    host_writes, host_data = uses(core, Space.POOL) & core.write, core.data_w
    if config.large:  # a cycle later: the address of all the rest hangs on nothing that the host sends
        late = [Signal.like(value) for value in (host_writes, host_lane, host_data, core.address)]
        m.d.sync += [
            kept.eq(value) for kept, value in zip(late, (host_writes, host_lane, host_data, core.address), strict=True)
        ]
        host_writes, host_lane, host_data = late[:3]
        w_addr = Mux(host_writes, late[3][2 + lane_bits :], w_addr)
        m.d.comb += pool.w_addr.eq(w_addr)
    else:
        host = core.data_w.replicate(config.lanes)
        m.d.comb += pool.data_w.eq(Mux(may_use(core, Space.POOL), host, data))
    with m.If(host_writes):
        if config.large:  # the word goes back as it came, but for the lane
            kept = (pool.data_r.word_select(lane, 32) for lane in range(config.lanes))
            merged = Cat(Mux(host_lane[lane], host_data, old) for lane, old in enumerate(kept))
            m.d.comb += [pool.write.eq(1), pool.data_w.eq(merged)]
        else:
            m.d.comb += pool.write.eq(host_lane)


def join_history(m: Module, core: Host, units: list[Any], hist: History) -> None:
    """The history of spikes, which a sweep clears."""
    config = core.config
    slot_bits = (config.slots - 1).bit_length()
    index = Mux(core.sweep, core.address, Mux(may_use(core, Space.HIST), core.address[1:], 0))
    slot: Value = index[:slot_bits]
    word: Value = index[slot_bits:]
    write = core.sweep | (uses(core, Space.HIST) & core.write)
    hosts = may_use(core, Space.HIST) if config.large else core.idle & ~core.sweep
    data = Mux(hosts, core.data_w[16:], 0)
    for unit in units:
        if "hist" in unit.signature.members:
            slot, word = slot | unit.hist.slot, word | unit.hist.word
            write, data = write | unit.hist.write, data | unit.hist.data_w
            m.d.comb += unit.hist.data_r.eq(hist.port.data_r)
    m.d.comb += [
        hist.port.slot.eq(slot),
        hist.port.word.eq(word),
        hist.port.write.eq(write),
        hist.port.data_w.eq(data),
    ]


def join_program(m: Module, core: Host, units: list[Any], program: Program) -> None:
    """The step program; the core itself says what is read."""
    m.d.comb += [program.write.eq(uses(core, Space.PROGRAM) & core.write), program.data_w.eq(core.data_w)]
    for unit in units:
        if "program" in unit.signature.members:
            m.d.comb += unit.program.data_r.eq(program.data_r)
