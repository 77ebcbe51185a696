#!/usr/bin/env python3
"""Measures speed and size, beside peers in the same run: ``make bench``, or ``python bench/run.py --only simulate``.

Each benchmark writes ``bench/records/NAME.json``; ``bench/RESULTS.md`` shows all records. Nothing else may run on the machine
while ``simulate`` and ``compile`` do: the records carry the load average before and after.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench import record, results
from bench.benchmark import everything


def main() -> int:
    """Run what was asked for; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    benchmarks = everything()
    parser.add_argument(
        "--only", action="append", choices=benchmarks, metavar="NAME", help="may be repeated; see --list"
    )
    parser.add_argument("--list", action="store_true", help="list the benchmarks and exit")
    parser.add_argument("--json", action="store_true", help="print the records instead of the tables")
    parser.add_argument("--render", action="store_true", help="write RESULTS.md from the records and exit")
    parser.add_argument("--seed", type=int, default=0, help="of random networks, images and place and route")
    options = parser.parse_args()
    if options.list:
        for name, benchmark in benchmarks.items():
            print(f"{name:12s} {benchmark.about}")
        return 0
    if options.render:
        results.write(benchmarks)
        return 0
    command = "python bench/run.py " + " ".join(a for a in sys.argv[1:] if a != "--json")

    def say(text: str) -> None:
        print(f"{time.strftime('%H:%M:%S')}  {text}", file=sys.stderr, flush=True)

    for name in options.only or benchmarks:
        benchmark = benchmarks[name]
        say(f"== {name}: {benchmark.about}")
        setting = record.machine()
        found = benchmark.run(say, options.seed)
        path = record.write(name, command.strip(), setting, found, options.seed)
        results.write(benchmarks)
        print(path.read_text(encoding="utf-8") if options.json else benchmark.render(found), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
