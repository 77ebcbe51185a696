"""Goodput of the link in line time: inferences streamed over a virtual board, with an ideal adapter and with slow ones."""

from __future__ import annotations

import resource
import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from neuroloom.boards.emulate import emulate
from neuroloom.boards.faults import LineFaults
from neuroloom.boards.registry import load_board
from neuroloom.compiler.spiking.core import CORES
from neuroloom.host.device import connect
from neuroloom.rtl.gated.engine import GatedEngine
from neuroloom.rtl.link.protocol import Buffers, Identity
from neuroloom.rtl.spiking.engine import buffers

from bench.benchmark import Benchmark, Say, register
from bench.results import table

BOARD = "icebreaker"
BYTES = 100_000
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


@dataclass(frozen=True)
class Traffic:
    """What an engine of the board has to move: bytes of a message and of its answer, and its own cycles in between."""

    profile: str
    what: str
    bytes_in: int
    bytes_out: int
    cycles: int

    @property
    def buffers(self) -> Buffers:
        """The engine's frame buffers on the board."""
        for gated in load_board(BOARD).gated:
            if gated.profile == self.profile:
                return GatedEngine(gated).buffers
        return buffers(next(core for core in CORES[BOARD] if core.profile == self.profile))


TRAFFIC = (
    Traffic("lanes8", "digits_early_exit, a run and its cycles", 66, 24, 1190),
    Traffic("tables6", "streaming_gru, a run and its cycles", 72, 10, 3190),
    *(
        Traffic(profile, what, *sizes, 0)
        for profile in ("infer", "delay16")  # the others' buffers are as those of infer
        for what, sizes in (("load", (185, 1)), ("read back", (7, 185)))
    ),
)
"""As the examples' networks have them. Spiking cores have no samples: memories are written and read, and between the runs of a
sample the host looks at what came of them."""


class Blocks(wiring.Component):
    """Takes a sample of ``bytes_in`` bytes, one a cycle, and ``cycles`` later gives ``bytes_out`` bytes: the sum, counted up."""

    def __init__(self, bytes_in: int, bytes_out: int, cycles: int = 0, buffers: Buffers | None = None) -> None:
        self._sizes, self._cycles = (bytes_in, bytes_out), cycles
        self.buffers = buffers or Buffers()
        super().__init__({"i": In(stream.Signature(8)), "o": Out(stream.Signature(8)), "reset": In(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        bytes_in, bytes_out = self._sizes
        total, taken, given, full = Signal(8), Signal(range(bytes_in)), Signal(range(bytes_out + 1)), Signal()
        ready = full
        if self._cycles:
            thinking = Signal(range(self._cycles + 1))
            ready = full & (thinking == 0)
            with m.If(thinking != 0):
                m.d.sync += thinking.eq(thinking - 1)
        m.d.comb += [self.i.ready.eq(~full), self.o.valid.eq(ready), self.o.payload.eq(total + given)]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [total.eq(total + self.i.payload), taken.eq(taken + 1)]
            with m.If(taken == bytes_in - 1):
                m.d.sync += [taken.eq(0), full.eq(1), *([thinking.eq(self._cycles)] if self._cycles else [])]
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += given.eq(given + 1)
            with m.If(given == bytes_out - 1):
                m.d.sync += [given.eq(0), full.eq(0)]
        with m.If(self.reset):
            m.d.sync += [total.eq(0), taken.eq(0), given.eq(0), full.eq(0)]
            if self._cycles:
                m.d.sync += thinking.eq(0)
        return m


def expected(samples: np.ndarray, bytes_out: int) -> np.ndarray:
    """What :class:`Blocks` answers from reset on: uint8 (N, bytes_out)."""
    totals = np.cumsum(samples.sum(axis=1, dtype=np.int64))
    return ((totals[:, None] + np.arange(bytes_out)) % 256).astype(np.uint8)


def run(say: Say, seed: int) -> list[dict[str, Any]]:
    """Every pair of sizes under every adapter, with the usual buffers; then every engine's traffic with its own."""
    found = []
    for bytes_in, bytes_out in SIZES:
        found += _measure(Blocks(bytes_in, bytes_out), bytes_in, bytes_out, {}, say, seed)
    for one in TRAFFIC:
        engine = Blocks(one.bytes_in, one.bytes_out, one.cycles, one.buffers)
        about = {"profile": one.profile, "what": one.what, "cycles": one.cycles, **asdict(one.buffers)}
        found += _measure(engine, one.bytes_in, one.bytes_out, about, say, seed)
    return found


def _measure(
    engine: Blocks, bytes_in: int, bytes_out: int, about: dict[str, Any], say: Say, seed: int
) -> list[dict[str, Any]]:
    board, found = load_board(BOARD), []
    identity = Identity("loopback", BOARD, bytes(32), bytes_in, bytes_out, board.speed("logic").plan.logic_hz)
    with emulate(lambda: engine, identity, board) as virtual:
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
                        **about,
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
                who = f"{about['profile']}, " if about else ""
                say(f"{who}{bytes_in} to {bytes_out} bytes, {name}: {found[-1]['goodput']:.1%} of the line")
    return found


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def render(found: list[dict[str, Any]]) -> str:
    """One row per pair of sizes, one column per adapter; then one row per engine's traffic."""

    def row(mine: dict[str, dict[str, Any]], *first: object) -> list[object]:
        ideal = mine["ideal"]
        return [
            *first,
            f"{ideal['bytes_in']} to {ideal['bytes_out']}",
            f"{ideal['samples'] / ideal['line_s']:,.0f}",
            *(f"{100 * mine[name]['goodput']:.1f} %" for name in ADAPTERS),
            f"{100 * ideal['host_cpu_s'] / ideal['line_s']:.0f} %",
        ]

    groups: dict[tuple[object, ...], dict[str, dict[str, Any]]] = {}
    for f in found:
        groups.setdefault((f.get("profile"), f.get("what"), f["bytes_in"], f["bytes_out"]), {})[f["adapter"]] = f
    columns = ["bytes of a sample and its answer", "samples/s on an ideal adapter"]
    columns += [f"goodput, {name}" for name in ADAPTERS] + ["host's processor"]
    usual = [row(mine) for (profile, *_), mine in groups.items() if profile is None]
    own = [
        row(
            mine,
            profile,
            f"{mine['ideal']['window']} of {mine['ideal']['frame_bytes']}",
            what,
            f"{mine['ideal']['cycles']:,}",
        )
        for (profile, what, *_), mine in groups.items()
        if profile is not None
    ]
    text = table(columns, usual)
    return f"{text}\n\n{table(['engine', 'frames', 'traffic', 'its cycles', *columns], own)}" if own else text


register(
    Benchmark(
        "link",
        "Payload of the busier direction as a part of 3 Mbaud (10 bits a byte), in line time, on the virtual iCEBreaker; "
        "latencies are the adapter's. The last column is the host's processor time per second of line time. The second table has "
        "each engine's own frame buffers, and a stand-in that takes, thinks and answers as the engine does in that traffic.",
        run,
        render,
    )
)
