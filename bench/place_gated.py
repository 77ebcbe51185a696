"""Place and route of the boards' gated engines: logic cells, memories and fastest clock by seed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from neuroloom.boards.build import build
from neuroloom.boards.registry import load_board
from neuroloom.compiler.gated.core import GatedConfig
from neuroloom.host.gated.flow import engine_design, engine_verilog

from bench.benchmark import Benchmark, Say, register
from bench.place import outcome
from bench.results import table

PLACED = {
    "place_gated_icebreaker": ("icebreaker", "iCEBreaker", {"lanes8": 3}),
    "place_gated_tables6": ("icebreaker", "iCEBreaker, long tables", {"tables6": 3}),
    "place_gated_ulx3s": ("ulx3s_85f", "ULX3S-85F", {"lanes16": 3}),
    "place_gated_lanes128": ("ulx3s_85f", "ULX3S-85F, 136 multipliers", {"lanes128": 1}),
}
"""Per benchmark its board, what it says of it, and the profiles that are placed, with how many seeds."""


def profile_of(board: str, name: str) -> GatedConfig:
    """A board's profile of this name."""
    return next(config for config in load_board(board).gated if config.profile == name)


def engine_sha256(config: GatedConfig) -> str:
    """SHA-256 of an engine's Verilog: a record with another one is stale."""
    return hashlib.sha256(engine_verilog(config).encode()).hexdigest()


def runner(name: str, seeds_of: dict[str, int]) -> Callable[[Say, int], list[dict[str, Any]]]:
    """The benchmark that builds these engines of a board, one seed after the other."""

    def run(say: Say, seed: int) -> list[dict[str, Any]]:
        found, board = [], load_board(name)
        for profile, count in seeds_of.items():
            config = profile_of(name, profile)
            factory, identity = engine_design(config, board)
            seeds = tuple(range(seed + 1, seed + 1 + count))
            built = build(factory, identity, board, seeds=seeds, jobs=1, progress=lambda s, p=profile: say(f"{p}: {s}"))
            found.append(
                {"board": name, "engine": asdict(config), "engine_sha256": engine_sha256(config), **outcome(built)}
            )
        return found

    return run


def render(found: list[dict[str, Any]]) -> str:
    """One row per engine."""
    rows = [
        [
            b["board"],
            b["engine"]["profile"],
            b["engine"]["lanes"],
            *(
                f"{b['used'].get(k, 0)} of {b['available'][k]}" if k in b["available"] else "-"
                for k in ("luts", "brams", "sprams", "dsps")
            ),
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


for _name, (_board, _title, _seeds) in PLACED.items():
    about = f"Place and route of the gated engines of the {_title}."
    register(Benchmark(_name, about, runner(_board, _seeds), render))
