"""Place and route of the boards' spiking cores: logic cells, memories and fastest clock by seed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from neuroloom.boards.emit import to_rtlil
from neuroloom.compiler.spiking.capacity import capacity
from neuroloom.compiler.spiking.core import CORES, CoreConfig
from neuroloom.host.flow import build_core
from neuroloom.rtl.spiking.engine import SpikingEngine

from bench.benchmark import Benchmark, Say, register
from bench.place import outcome
from bench.results import table


@dataclass(frozen=True)
class Job:
    """The core of one profile of a board, with so many seeds."""

    board: str
    config: CoreConfig
    seeds: int


def jobs_of(board: str, seeds: int, *profiles: str) -> tuple[Job, ...]:
    """Every core of a board, or those of some profiles."""
    return tuple(Job(board, config, seeds) for config in CORES[board] if not profiles or config.profile in profiles)


def core_sha256(config: CoreConfig) -> str:
    """SHA-256 of a core's RTL: a record with another one is stale."""
    engine = SpikingEngine(config)
    text = json.dumps([to_rtlil(engine, "core"), engine.extra_files], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def runner(jobs: Sequence[Job]) -> Callable[[Say, int], list[dict[str, Any]]]:
    """The benchmark that builds ``jobs``."""

    def run(say: Say, seed: int) -> list[dict[str, Any]]:
        found = []
        for job in jobs:
            name = f"{job.config.profile} on {job.board}"
            seeds = tuple(range(seed + 1, seed + 1 + job.seeds))
            built = build_core(job.config.profile, job.board, seeds=seeds, progress=lambda s, n=name: say(f"{n}: {s}"))
            found.append(
                {
                    "board": job.board,
                    "core": asdict(job.config),
                    "core_sha256": core_sha256(job.config),
                    "capacity": asdict(capacity(job.config, job.board)),
                    **outcome(built),
                }
            )
        return found

    return run


def render(found: list[dict[str, Any]]) -> str:
    """One row per core."""
    rows = []
    for b in found:
        used, available, core, holds = b["used"], b["available"], b["core"], b["capacity"]

        def share(name: str, used: Any = used, available: Any = available) -> str:
            return f"{used.get(name, 0)} of {available[name]}" if name in available else "-"

        rows.append(
            [
                b["board"],
                core["profile"],
                core["lanes"],
                *(share(name) for name in ("luts", "brams", "sprams", "dsps")),
                f"{b['clock_mhz']:g}",
                ", ".join("not routed" if s.get("unrouted") else f"{s['fmax_hz'] / 1e6:.1f}" for s in b["seeds"]),
                "yes" if b["timing_met"] else "no",
                f"{holds['dense']:,}",
                f"{holds['compressed']:,}",
                ", ".join(f"{s['seconds']:.0f}" for s in b["seeds"]),
            ]
        )
    head = ["board", "profile", "lanes", "LUTs in all", "block RAM", "SPRAM", "multipliers", "clock, MHz"]
    head += ["Fmax by seed, MHz", "met by every seed", "dense synapses", "compressed synapses", "place and route, s"]
    return table(head, rows)


ABOUT = "Place and route of the spiking cores of the {}."
register(
    Benchmark("place_cores_icebreaker", ABOUT.format("iCEBreaker"), runner(jobs_of("icebreaker", 3)), render),
)
register(Benchmark("place_cores_hx8k", ABOUT.format("iCE40-HX8K-EVN"), runner(jobs_of("ice40_hx8k_evn", 3)), render))
register(Benchmark("place_cores_tang", ABOUT.format("Tang Nano 9K"), runner(jobs_of("tang_nano_9k", 3)), render))
register(
    Benchmark("place_cores_ulx3s", ABOUT.format("ULX3S-85F"), runner(jobs_of("ulx3s_85f", 1, "delay")), render),
)
register(
    Benchmark(
        "place_cores_twin",
        "Place and route of two spiking cores in a ULX3S-85F.",
        runner(jobs_of("ulx3s_85f", 3, "twin")),
        render,
    )
)
