"""Committed place-and-route records belong to the committed networks and to the RTL as it is now."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))  # behind everything else: the benchmarks import each other as bench.<module>

RECORDS = ("place_digits", "place_small", "place_48k")
GATED_RECORDS = ("place_gated_icebreaker", "place_gated_tables6", "place_gated_ulx3s", "place_gated_lanes128")
CORE_RECORDS = tuple(f"place_cores_{name}" for name in ("icebreaker", "hx8k", "tang", "ulx3s", "twin"))


def entries() -> list[dict]:
    from bench import record

    found = []
    for name in RECORDS:
        body = record.read(name)
        if body is not None:
            found += [pytest.param(name, e, id=f"{e['network']}-{e['board']}") for e in body["results"]]
    return found


@pytest.mark.parametrize(("name", "entry"), entries())
def test_record_is_of_the_design_as_it_is(name: str, entry: dict) -> None:
    from bench import place

    _, core = place.design(entry["network"], entry["board"])
    assert entry["core_sha256"] == core, (
        f"bench/records/{name}.json is of another design of {entry['network']}: run python bench/run.py --only {name}"
    )


def cores() -> list:
    from bench import record

    found = []
    for name in CORE_RECORDS:
        body = record.read(name)
        if body is not None:
            found += [pytest.param(name, e, id=f"{e['core']['profile']}-{e['board']}") for e in body["results"]]
    return found


@pytest.mark.parametrize(("name", "entry"), cores())
def test_record_is_of_the_spiking_core_as_it_is(name: str, entry: dict) -> None:
    from neuroloom.compiler.spiking.capacity import capacity
    from neuroloom.compiler.spiking.core import CORES

    from bench import place_cores

    config = next(c for c in CORES[entry["board"]] if c.profile == entry["core"]["profile"])
    again = f"run python bench/run.py --only {name}"
    # records that do not name the number of cores are of one
    assert {"cores": 1, **entry["core"]} == asdict(config), (
        f"bench/records/{name}.json is of another configuration: {again}"
    )
    assert entry["core_sha256"] == place_cores.core_sha256(config), (
        f"bench/records/{name}.json is of another design of {config.profile} on {entry['board']}: {again}"
    )
    assert {"cores": 1, **entry["capacity"]} == asdict(capacity(config, entry["board"]))


@pytest.mark.parametrize(("name", "entry"), cores())
def test_recorded_cores_fit_and_a_bitstream_of_them_meets_the_clock(name: str, entry: dict) -> None:
    """A core listed for a board can be built there. Not by every seed: full chips leave the placer little choice, and the
    table says which seeds failed.
    """
    assert any(s["met"] for s in entry["seeds"])
    assert entry["timing_met"] == all(s["met"] for s in entry["seeds"])
    assert all(entry["used"][k] <= entry["available"][k] for k in entry["used"])


def test_steps_per_second_are_of_the_spiking_core_as_it_is() -> None:
    from bench import record, spiking_core

    body = record.read("spiking_core")
    assert body is not None
    now = spiking_core.design_sha256(body["seed"])
    assert body["results"].get("design_sha256") == now, (
        "bench/records/spiking_core.json is of another core or other programs: run python bench/run.py --only spiking_core"
    )


@pytest.mark.parametrize(("name", "entry"), entries())
def test_recorded_builds_meet_their_clock_and_fit(name: str, entry: dict) -> None:
    assert entry["timing_met"] and all(s["met"] for s in entry["seeds"])
    assert all(entry["used"][k] <= entry["available"][k] for k in entry["used"])


def test_every_record_is_shown_in_the_results() -> None:
    from bench import results
    from bench.benchmark import everything

    shown = results.PATH.read_text(encoding="utf-8") if results.PATH.exists() else ""
    assert shown == results.text(everything()), "bench/RESULTS.md must be rendered from the records: run make bench"


def test_records_name_no_machine() -> None:
    import socket

    from bench import record

    for path in record.FOLDER.glob("*.json"):
        assert socket.gethostname() not in path.read_text(encoding="utf-8")


def gated() -> list:
    from bench import record

    body = record.read("gated")
    found = [] if body is None else [e for e in body["results"] if "cycles" in e]
    return [pytest.param(e, id=f"{e['network']}-{e['profile']}") for e in found]


@pytest.mark.parametrize("entry", gated())
def test_record_is_of_the_gated_program_as_it_is(entry: dict) -> None:
    from neuroloom.compiler.gated.program import compile_program

    from bench import gated as bench

    make, _ = bench.NETWORKS[entry["network"]]
    least, most = compile_program(make(), bench.profile_of(entry["board"], entry["profile"])).cycles
    assert least <= entry["cycles"] <= most, "run python bench/run.py --only gated"


def engines() -> list:
    from bench import record

    found = []
    for name in GATED_RECORDS:
        body = record.read(name)
        if body is not None:
            found += [pytest.param(name, e, id=e["engine"]["profile"]) for e in body["results"]]
    return found


@pytest.mark.parametrize(("name", "entry"), engines())
def test_record_is_of_the_gated_engine_as_it_is(name: str, entry: dict) -> None:
    from neuroloom.boards.registry import load_board
    from neuroloom.compiler.gated.core import GatedConfig

    from bench import place_gated

    config = place_gated.profile_of(entry["board"], entry["engine"]["profile"])
    again = f"run python bench/run.py --only {name}"
    assert entry["clock_mhz"] * 1e6 == load_board(entry["board"]).speed("gated", config.profile).plan.logic_hz
    recorded = GatedConfig(**entry["engine"])  # what came later is as it was
    assert recorded == config, f"the record of {config.profile} is of another configuration: {again}"
    assert entry["engine_sha256"] == place_gated.engine_sha256(config), (
        f"the record of {config.profile} is of another design: {again}"
    )
    assert any(s["met"] for s in entry["seeds"])
    assert entry["timing_met"] == all(s["met"] for s in entry["seeds"])
    assert all(entry["used"][k] <= entry["available"][k] for k in entry["used"])
