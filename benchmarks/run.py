"""Measures the cases of a suite, in turn, several times."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from inspect import getdoc
from types import ModuleType
from typing import Any

from benchmarks.contestants import find_peers
from benchmarks.measure import NotMeasuredError, describe_machine
from benchmarks.suites.base import Case, Plan


def run(
    suite: ModuleType, *, runs: int, size: int | None, seconds: float | None, peers: bool
) -> dict[str, Any]:
    """Run a suite and return what it found, as JSON holds it.

    Each run measures all cases in turn, so that what disturbs the machine for a while hits all
    alike.
    """
    present, absent = find_peers() if peers and suite.WITH_PEERS else ([], {})
    plan = Plan(
        size=suite.SIZE if size is None else size,
        seconds=suite.SECONDS if seconds is None else seconds,
        peers=present,
    )
    cases = suite.cases(plan)
    rows: list[dict[str, Any]] = [
        {"labels": case.labels, "samples": [], "note": ""} for case in cases
    ]
    for number in range(1, runs + 1):
        for case, row in zip(cases, rows, strict=True):
            say(f"run {number} of {runs}: {', '.join(filter(None, case.labels.values()))}")
            measure(case, row)
    rows += [{"labels": {"what": name}, "samples": [], "note": why} for name, why in absent.items()]
    return {
        "about": getdoc(suite),
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": describe_machine(),
        "size": plan.size,
        "seconds": plan.seconds,
        "rows": rows,
    }


def measure(case: Case, row: dict[str, Any]) -> None:
    try:
        row["samples"].append(case.measure())
    except NotMeasuredError as error:
        row["note"] = " ".join(str(error).replace("|", "/").split())  # fits into a table


def say(text: str) -> None:
    """Tell whoever waits; the tables go another way."""
    sys.stderr.write(f"{text}\n")
