"""Goodput of the link in line time: inferences streamed over a virtual board, with an ideal adapter and with slow ones."""

from __future__ import annotations

import resource
import time
from typing import Any

import numpy as np
from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from neuroloom.boards.emulate import emulate
from neuroloom.boards.faults import LineFaults
from neuroloom.boards.registry import load_board
from neuroloom.host.device import connect
from neuroloom.rtl.link.protocol import Identity

from bench.benchmark import Benchmark, Say, register
from bench.results import table

BOARD = "icebreaker"
BYTES = 200_000
"""Payload of the busier direction in one measurement."""
SIZES = ((64, 1), (1, 1), (40, 8), (98, 2), (1, 64), (256, 256), (3000, 10))
"""Bytes of a sample and of its answer."""
ADAPTERS = {
    "ideal": "none",
    "0.5 ms each way": "delay=0.5ms",
    "1 ms each way": "delay=1ms",
    "16 ms timer": "from.delay=16ms",
}
"""Latencies of the serial adapter: what low-latency mode leaves of USB, and what FTDI's usual timer adds without it."""
TARGET = 0.9


class Blocks(wiring.Component):
    """Takes a sample of ``bytes_in`` bytes, one a cycle, then gives ``bytes_out`` bytes: the sum, counted up."""

    def __init__(self, bytes_in: int, bytes_out: int) -> None:
        self._sizes = (bytes_in, bytes_out)
        super().__init__({"i": In(stream.Signature(8)), "o": Out(stream.Signature(8)), "reset": In(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        bytes_in, bytes_out = self._sizes
        total, taken, given, full = Signal(8), Signal(range(bytes_in)), Signal(range(bytes_out + 1)), Signal()
        m.d.comb += [self.i.ready.eq(~full), self.o.valid.eq(full), self.o.payload.eq(total + given)]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [total.eq(total + self.i.payload), taken.eq(taken + 1)]
            with m.If(taken == bytes_in - 1):
                m.d.sync += [taken.eq(0), full.eq(1)]
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += given.eq(given + 1)
            with m.If(given == bytes_out - 1):
                m.d.sync += [given.eq(0), full.eq(0)]
        with m.If(self.reset):
            m.d.sync += [total.eq(0), taken.eq(0), given.eq(0), full.eq(0)]
        return m


def expected(samples: np.ndarray, bytes_out: int) -> np.ndarray:
    """What :class:`Blocks` answers from reset on: uint8 (N, bytes_out)."""
    totals = np.cumsum(samples.sum(axis=1, dtype=np.int64))
    return ((totals[:, None] + np.arange(bytes_out)) % 256).astype(np.uint8)


def run(say: Say, seed: int) -> list[dict[str, Any]]:
    """Every pair of sizes under every adapter."""
    board, found = load_board(BOARD), []
    for bytes_in, bytes_out in SIZES:
        identity = Identity("loopback", BOARD, bytes(32), bytes_in, bytes_out, board.speed("logic").plan.logic_hz)
        with emulate(lambda i=bytes_in, o=bytes_out: Blocks(i, o), identity, board) as virtual:
            assert virtual.port is not None
            with connect(virtual.port, timeout=20) as device:
                count = BYTES // max(bytes_in, bytes_out)
                x = np.random.default_rng(seed).integers(0, 256, (count, bytes_in), np.uint8)
                for name, spec in ADAPTERS.items():
                    virtual.set_faults(LineFaults.parse(spec))
                    device.reset()
                    before, cpu, repeats = virtual.statistics(), _cpu(), device.repeats
                    wall = time.perf_counter()
                    y = device.run_bytes(x)
                    after = virtual.statistics()
                    if not np.array_equal(y, expected(x, bytes_out)):
                        raise RuntimeError(f"answers of {bytes_in} to {bytes_out} bytes must be right, and are not")
                    clock, baud = device.identity.clock_hz, device.identity.baud
                    seconds = (after.cycles - before.cycles) / clock
                    busier, moved = max(x.size, y.size), max(after.sent - before.sent, after.received - before.received)
                    found.append(
                        {
                            "bytes_in": bytes_in,
                            "bytes_out": bytes_out,
                            "adapter": name,
                            "samples": count,
                            "line_s": round(seconds, 4),
                            "goodput": round(busier * 10 / baud / seconds, 4),
                            "line_busy": round(moved * 10 / baud / seconds, 4),
                            "repeats": device.repeats - repeats,
                            "host_cpu_s": round(_cpu() - cpu, 3),
                            "wall_s": round(time.perf_counter() - wall, 3),
                        }
                    )
                    say(f"{bytes_in} to {bytes_out} bytes, {name}: {found[-1]['goodput']:.1%} of the line")
    return found


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def render(found: list[dict[str, Any]]) -> str:
    """One row per pair of sizes, one column per adapter."""
    rows = []
    for bytes_in, bytes_out in SIZES:
        mine = {f["adapter"]: f for f in found if (f["bytes_in"], f["bytes_out"]) == (bytes_in, bytes_out)}
        ideal = mine["ideal"]
        rows.append(
            [
                f"{bytes_in} to {bytes_out}",
                f"{ideal['samples'] / ideal['line_s']:,.0f}",
                *(f"{100 * mine[name]['goodput']:.1f} %" for name in ADAPTERS),
                f"{100 * ideal['host_cpu_s'] / ideal['line_s']:.0f} %",
            ]
        )
    head = ["bytes of a sample and its answer", "samples/s on an ideal adapter"]
    return table(head + [f"goodput, {name}" for name in ADAPTERS] + ["host's processor"], rows)


register(
    Benchmark(
        "link",
        "Payload of the busier direction as a part of 3 Mbaud (10 bits a byte), in line time, on the virtual iCEBreaker; "
        "latencies are the adapter's. The last column is the host's processor time per second of line time.",
        run,
        render,
    )
)
