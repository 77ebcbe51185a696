"""Place and route of the trained networks: LUTs, fastest clock by seed, and the hash by which a record goes stale."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from neuroloom.boards.build import BuildResult
from neuroloom.boards.registry import load_board
from neuroloom.compiler.frontends.onnx import InputRule
from neuroloom.compiler.ir import Graph
from neuroloom.host.flow import build_model, core_verilog

import neuroloom as nl
from bench import networks
from bench.benchmark import Benchmark, Say, register
from bench.results import table


@dataclass(frozen=True)
class Job:
    """A network of ``bench.networks.TRAINED`` on a board, with so many seeds."""

    network: str
    board: str
    seeds: int


DIGITS = tuple(Job("digits", board, 3) for board in ("icebreaker", "ice40_hx8k_evn", "tang_nano_9k", "ulx3s_85f"))
SMALL = (Job("mnist_small", "ulx3s_85f", 3),)
LARGE = (Job("mnist_gates48k", "ulx3s_85f", 3),)


def design(network: str, board: str) -> tuple[Graph, str]:
    """The graph that is built for a board, and the SHA-256 of its core's Verilog: a record with another one is stale."""
    bounds = networks.BOUNDS.get(network)
    rules = {"input_rules": {"": InputRule(bounds=bounds)}} if bounds else {}
    graph = nl.compile(networks.TRAINED[network], board=board, **rules).graph
    text = core_verilog(graph, board=load_board(board))
    return graph, hashlib.sha256(text.encode()).hexdigest()


def outcome(built: BuildResult) -> dict[str, Any]:
    """What a record keeps of a build."""
    return {
        "design_sha256": built.design_sha256,
        "used": dict(built.used),
        "available": dict(built.available),
        "shell_luts": built.shell_luts,
        "clock_mhz": built.clock_hz / 1e6,
        "timing_met": built.timing_met,
        "seeds": [asdict(s) for s in built.seeds],
        "tools": dict(built.tools),
        "seconds": built.seconds,
    }


def runner(jobs: Sequence[Job]) -> Callable[[Say, int], list[dict[str, Any]]]:
    """The benchmark that builds ``jobs`` whose networks are there."""

    def run(say: Say, seed: int) -> list[dict[str, Any]]:
        found = []
        for job in jobs:
            if job.network not in networks.trained():
                say(f"{job.network} is not there; left out")
                continue
            graph, core = design(job.network, job.board)
            seeds = tuple(range(seed + 1, seed + 1 + job.seeds))
            built = build_model(
                graph, job.board, seeds=seeds, progress=lambda s, j=job: say(f"{j.network} on {j.board}: {s}")
            )
            found.append(
                {
                    "network": job.network,
                    "board": job.board,
                    "core_sha256": core,
                    **outcome(built),
                }
            )
        return found

    return run


def render(found: list[dict[str, Any]]) -> str:
    """One row per network and board."""
    rows = []
    for b in found:
        fmax = ", ".join("not routed" if s.get("unrouted") else f"{s['fmax_hz'] / 1e6:.1f}" for s in b["seeds"])
        wall = ", ".join(f"{s['seconds']:.0f}" for s in b["seeds"])
        luts = b["used"].get("luts", 0)
        rows.append(
            [
                b["network"],
                b["board"],
                f"{luts} of {b['available'].get('luts')}",
                luts - b["shell_luts"],
                b["used"].get("ffs", ""),
                f"{b['clock_mhz']:g}",
                fmax,
                "yes" if b["timing_met"] else "no",
                wall,
                f"`{b['core_sha256'][:12]}`",
            ]
        )
    head = [
        "network",
        "board",
        "LUTs in all",
        "without the link",
        "FFs",
        "clock, MHz",
        "Fmax by seed, MHz",
        "met by every seed",
    ]
    return table([*head, "place and route, s", "core"], rows)


register(Benchmark("place_digits", "Place and route of the digits network on every board.", runner(DIGITS), render))
register(Benchmark("place_small", "Place and route of the small MNIST network.", runner(SMALL), render))
register(Benchmark("place_48k", "Place and route of 48,000 gates on the ULX3S-85F.", runner(LARGE), render))
