"""Renders every record into ``RESULTS.md``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench import record
from bench.benchmark import Benchmark

PATH = Path(__file__).resolve().parent / "RESULTS.md"

HEAD = """# Speed and size

Rendered from `bench/records/` by `make bench`; each section names the command that repeats it. Where the load average
is above the number of cores, other work ran at the same time, and processor time is the figure to read, not wall time.
"""


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A markdown table."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows])


def origin(body: Mapping[str, Any]) -> str:
    """Where and when a record was measured, in one paragraph."""
    m = body["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in body["tools"].items())
    return (
        f"`{body['command']}`, {body['date']}, seed {body['seed']}. {m['processor']}, {m['cores']} cores, {m['memory']}, "
        f"{m['system']}; load average {m['load_before']} before and {m['load_after']} after. {versions}."
    )


def text(benchmarks: Mapping[str, Benchmark]) -> str:
    """All records that exist, as markdown."""
    parts = [HEAD]
    for name, benchmark in benchmarks.items():
        body = record.read(name)
        if body is not None:
            shown = benchmark.render(body["results"])
            parts.append(f"## {name}\n\n{benchmark.about}\n\n{shown}\n\n{origin(body)}\n")
    return "\n".join(parts)


def write(benchmarks: Mapping[str, Benchmark]) -> None:
    """Render all records that exist into ``RESULTS.md``."""
    PATH.write_text(text(benchmarks), encoding="utf-8")
