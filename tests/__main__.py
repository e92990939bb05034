"""Run the suite on every database that it is meant for: ``python -m tests``.

SQLite comes with Python and PostgreSQL from a wheel, so there is nothing to set up. DATABASE_URL
points the suite at one database of your own instead. Tests that are not about a database run on
the first only. Other arguments go on to pytest.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from tests.support.coverage_by_room import combined, print_by_room
from tests.support.servers import given, postgresql_without_fsync, sqlite

Database = Callable[[], AbstractContextManager[str]]

#: What pytest exits with when it has selected no test.
NOTHING_TO_RUN = 5
VERDICTS = {0: "passed", NOTHING_TO_RUN: "had no test to run"}
#: Tests of real processes wait most of the time, so there are more workers than cores.
WORKERS = (f"-n{2 * (os.cpu_count() or 1)}", "--dist=worksteal")
#: Options of pytest that say how many workers there are, or that need the terminal.
WITHOUT_WORKERS = ("-n", "--numprocesses", "-s", "--pdb", "--co", "--collect-only")
#: What the databases after the first are asked to run.
ON_EACH_DATABASE = "not without_database and not any_database"
#: What is longer than ``--long``, a command each.
ENDURANCE = (
    "SIMULATION_SEEDS=200 python -m tests tests/policies/test_simulation.py",
    "STORIES=1500 python -m tests tests/policies/test_stateful.py",
    "SCHEDULES=5000 python -m tests tests/schedules/test_simulation.py",
    "INTERLEAVINGS=5000 python -m tests tests/concurrency/test_interleavings.py",
    "RACES=50 python -m tests tests/concurrency/test_interleavings_sqlite.py",
    "ROUNDS=1000 python -m tests tests/concurrency/test_three_claimers.py",
    "ROUNDS=100 python -m tests tests/concurrency/test_once.py",
    "REPLICA_SECONDS=600 python -m tests -m replicas",
    "ENDURANCE_RUNS=10000 python -m tests tests/executors/test_process_endurance.py",
    "BREAK_EVERY=1 python -m tests tests/environment/test_broken_connections.py",
    "BULK_TASKS=10000 python -m tests tests/environment/test_bulk_edits.py",
    "CHAOS_SECONDS=3600 python -m tests -m chaos",
)


@dataclass(frozen=True)
class Phase:
    """One run of pytest on one database."""

    name: str
    database: Database
    arguments: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)


def main(arguments: Sequence[str]) -> int:
    """Run pytest once for each phase, and print at the end which of them passed."""
    options, rest = parser().parse_known_args(arguments)
    phases = list(endurance() if options.endurance else suite(rest, options))
    codes, lines = [], []
    for phase in phases:
        begun = time.monotonic()
        code = run(phase, measured=options.coverage)
        codes.append(code)
        verdict = VERDICTS.get(code, f"FAILED (exit {code})")
        lines.append(f"  {phase.name:<12} {verdict} in {time.monotonic() - begun:.0f} s")
    print("\nThe suite ran on\n" + "\n".join(lines), flush=True)
    if options.coverage:
        codes.append(print_by_room(combined()))
    if all(code == NOTHING_TO_RUN for code in codes):
        return NOTHING_TO_RUN
    return next((code for code in codes if code not in VERDICTS), 0)


def parser() -> argparse.ArgumentParser:
    """Return the parser of what is not pytest's."""
    parser = argparse.ArgumentParser(prog="python -m tests", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="on SQLite only")
    parser.add_argument("--long", action="store_true", help="only the long forms, and chaos")
    parser.add_argument("--endurance", action="store_true", help="the longest forms: many hours")
    parser.add_argument("-m", dest="marks", default="", help="as in pytest")
    parser.add_argument("--coverage", action="store_true", help="measure by module and by room")
    return parser


def suite(rest: Sequence[str], options: argparse.Namespace) -> Iterator[Phase]:
    """Yield a phase for each database; chaos has one of its own, with the machine to itself."""
    databases = {"SQLite": sqlite, "PostgreSQL": postgresql_without_fsync}
    if "DATABASE_URL" in os.environ:
        databases = {"DATABASE_URL": given}
    elif options.quick:
        del databases["PostgreSQL"]
    alone = options.marks == "chaos" or any(part.startswith(WITHOUT_WORKERS) for part in rest)
    workers = () if alone else WORKERS
    given_marks = f"({options.marks})" if options.marks else ""
    for number, (name, database) in enumerate(databases.items()):
        terms = [
            given_marks,
            "long and not chaos" if options.long else "",
            ON_EACH_DATABASE if number else "",
        ]
        marks = " and ".join(filter(None, terms))
        yield Phase(name, database, [*workers, *(["-m", marks] if marks else []), *rest])
    if options.long:
        yield Phase("Chaos", sqlite, ["-m", "chaos", *rest])


def endurance() -> Iterator[Phase]:
    """Yield the longest forms, one after the other."""
    for command in ENDURANCE:
        words = shlex.split(command)
        variable, _, value = words[0].partition("=")
        options, rest = parser().parse_known_args(words[words.index("tests") + 1 :])
        for phase in suite(rest, options):
            name = f"{phase.name}: {command}"
            yield Phase(name, phase.database, phase.arguments, {variable: value})


def run(phase: Phase, *, measured: bool) -> int:
    """Run pytest; return its exit code."""
    print(f"\n━━━ {phase.name} ━━━", flush=True)
    runner = ["coverage", "run", "-m", "pytest"] if measured else ["pytest"]
    environment = {**os.environ, **phase.environment}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # hundreds of processes import the package
    with phase.database() as url:
        done = subprocess.run(
            [sys.executable, "-m", *runner, *phase.arguments],
            env={**environment, "DATABASE_URL": url},
            check=False,
        )
    return done.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
