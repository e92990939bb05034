"""Measure the app, and print a table and write JSON: ``python -m benchmarks throughput``."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.databases import DATABASES, prepared
from benchmarks.report import markdown

SUITES = (
    "throughput",
    "throughput_with_alerts",
    "latency",
    "burst",
    "scale",
    "alerts",
    "idle",
    "processes",
    "logs",
    "history",
    "pruning",
    "pruneexecutions",
    "metrics",
    "register",
    "schedules",
)
RESULTS = Path("benchmark-results.json")


def main() -> int:
    """Do what the command line says."""
    options = parser().parse_args()
    if options.suite == "tables":
        print_tables(load(options.json))
        return 0
    # Ends by itself then, with all that it has started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    names = SUITES if options.suite == "all" else (options.suite,)
    with prepared(options.database):
        for name in names:
            found = measured(name, options)
            print_tables({name: found})
            # What was measured before is kept, and the next suite may fail.
            options.json.write_text(json.dumps(load(options.json) | {name: found}, indent=1))
    return 0


def parser() -> argparse.ArgumentParser:
    described = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    described.add_argument(
        "suite",
        choices=[*SUITES, "all", "tables"],
        help="What to measure; 'tables' prints the tables of the JSON file again.",
    )
    described.add_argument("--runs", type=int, default=3, help="How many times to measure (3).")
    described.add_argument("--peers", action="store_true", help="Measure the peers as well.")
    described.add_argument("--size", type=int, help="How many jobs, tasks or executions.")
    described.add_argument("--seconds", type=float, help="How long to watch.")
    described.add_argument(
        "--database",
        choices=sorted(DATABASES),
        help="By default the server of DATABASE_URL, where a database is created for this, or the "
        "PostgreSQL that comes with the development extra.",
    )
    described.add_argument(
        "--json", type=Path, default=RESULTS, help=f"The file of results ({RESULTS})."
    )
    return described


def measured(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Measure one suite; only now can what needs Django be imported."""
    run = import_module("benchmarks.run").run
    suite = import_module(f"benchmarks.suites.{name}")
    found: dict[str, Any] = run(
        suite,
        runs=options.runs,
        size=options.size,
        seconds=options.seconds,
        peers=options.peers,
    )
    return found


def load(path: Path) -> dict[str, Any]:
    """Return what was measured before, by suite."""
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return found


def print_tables(found: dict[str, Any]) -> None:
    """Print sections in Markdown."""
    for name, of_suite in found.items():
        print(markdown(name, of_suite), end="\n\n", flush=True)


if __name__ == "__main__":
    sys.exit(main())
