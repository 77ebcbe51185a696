"""Place and route of the iCEBreaker's gated engines: logic cells, memories and fastest clock by seed."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from typing import Any

from neuroloom.boards.build import build
from neuroloom.boards.registry import load_board
from neuroloom.compiler.gated.core import GatedConfig
from neuroloom.host.gated.flow import engine_design, engine_verilog

from bench.benchmark import Benchmark, Say, register
from bench.place import outcome
from bench.results import table

BOARD, PROFILES, SEEDS = "icebreaker", ("lanes8",), 3


def profile_of(name: str) -> GatedConfig:
    """The board's profile of this name."""
    return next(config for config in load_board(BOARD).gated if config.profile == name)


def engine_sha256(config: GatedConfig) -> str:
    """SHA-256 of an engine's Verilog: a record with another one is stale."""
    return hashlib.sha256(engine_verilog(config).encode()).hexdigest()


def run(say: Say, seed: int) -> list[dict[str, Any]]:
    """Build every engine."""
    found, board = [], load_board(BOARD)
    for name in PROFILES:
        config = profile_of(name)
        factory, identity = engine_design(config, board)
        seeds = tuple(range(seed + 1, seed + 1 + SEEDS))
        built = build(factory, identity, board, seeds=seeds, progress=lambda s, n=name: say(f"{n}: {s}"))
        found.append(
            {"board": BOARD, "engine": asdict(config), "engine_sha256": engine_sha256(config), **outcome(built)}
        )
    return found


def render(found: list[dict[str, Any]]) -> str:
    """One row per engine."""
    rows = [
        [
            b["board"],
            b["engine"]["profile"],
            b["engine"]["lanes"],
            *(f"{b['used'].get(k, 0)} of {b['available'][k]}" for k in ("luts", "brams", "sprams", "dsps")),
            b["shell_luts"],
            f"{b['clock_mhz']:g}",
            ", ".join("not routed" if s.get("unrouted") else f"{s['fmax_hz'] / 1e6:.1f}" for s in b["seeds"]),
            "yes" if b["timing_met"] else "no",
            ", ".join(f"{s['seconds']:.0f}" for s in b["seeds"]),
        ]
        for b in found
    ]
    head = ["board", "profile", "lanes", "LUTs in all", "block RAM", "SPRAM", "multipliers", "of the link's shell"]
    return table(
        [*head, "clock, MHz", "Fmax by seed, MHz", "met by every seed", "place and route, s"],
        rows,
    )


register(Benchmark("place_gated_icebreaker", "Place and route of the gated engine of the iCEBreaker.", run, render))
