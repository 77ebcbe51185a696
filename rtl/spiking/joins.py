"""Who uses a memory of the core: its units, one at a time, and between the steps the host."""

from __future__ import annotations

from typing import Any, Protocol

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from neuroloom.compiler.spiking.core import CoreConfig

from .history import History
from .inputs import Inputs
from .learn import Learn
from .memories import Pool, Program, Staging


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
    byte_r: Signal
    stage: Signal
    stage_word: Signal
    stage_write: Signal
    stage_data_w: Signal
    stage_data_r: Signal


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


def join_staging(m: Module, core: Host, inputs: Inputs, staging: Staging, raster: Signal, position: Signal) -> None:
    """The staged spikes, which INPUTS takes, the host gives, and a sweep clears; ``raster``: whether the run has one, and where
    it is.
    """
    config = core.config
    # Staged spikes; large cores write them a cycle later, and nobody reads them so soon.
    stage_at, stage_data, stage_write = staging.w_addr, staging.data_w, staging.write
    if config.large:
        stage_at, stage_data, stage_write = (Signal.like(port) for port in (stage_at, stage_data, stage_write))
        m.d.sync += [
            staging.w_addr.eq(stage_at),
            staging.data_w.eq(stage_data),
            staging.write.eq(stage_write),
        ]
    m.d.comb += [
        staging.addr.eq(inputs.stage_addr),
        stage_at.eq(inputs.stage_clear_addr),
        stage_write.eq(inputs.stage_clear | core.sweep | core.stage_write),
        inputs.staged.eq(staging.data_r),
        core.stage_data_r.eq(staging.data_r),
        inputs.raster.eq(raster),
        inputs.position.eq(position),
    ]
    with m.If(core.stage):
        m.d.comb += [
            staging.addr.eq(core.stage_word),
            stage_at.eq(core.stage_word),
            stage_data.eq(core.stage_data_w),
        ]
    with m.If(core.sweep):
        m.d.comb += stage_at.eq(core.address)


def join_byte(m: Module, core: Host, program: Program, pool: Pool, hist: History, control: Value) -> None:
    """The byte that the host reads; ``control`` are the values of the control space."""
    config = core.config
    at, space = Signal(32, reset_less=True), Signal(2, reset_less=True)
    m.d.sync += [at.eq(core.address), space.eq(core.space)]
    with m.Switch(space):
        with m.Case(Space.PROGRAM):
            m.d.comb += core.byte_r.eq(program.data_r.word_select(at[:2], 8))
        with m.Case(Space.POOL):
            bits = (config.lanes - 1).bit_length() + 2
            if config.large:
                lane_word = Signal(32, reset_less=True)
                m.d.sync += lane_word.eq(pool.data_r.word_select(at[2:bits], 32))
                m.d.comb += core.byte_r.eq(lane_word.word_select(at[:2], 8))
            else:
                m.d.comb += core.byte_r.eq(pool.data_r.word_select(at[:bits], 8))
        with m.Case(Space.HIST):
            m.d.comb += core.byte_r.eq(hist.port.data_r.word_select(at[0], 8))
        with m.Case(Space.CONTROL):
            m.d.comb += core.byte_r.eq(control.word_select(at[:4], 8))
