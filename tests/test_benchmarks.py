"""The benchmarks: what they make of marks, what they print, and that they run at all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import marks
from benchmarks.__main__ import SUITES
from benchmarks.contestants import PEERS
from benchmarks.marks import Mark
from benchmarks.measure import NotMeasuredError, percentile, rate
from benchmarks.report import markdown, table
from tests.support.processes import LONG, ROOT

DOCS = (ROOT / "docs" / "benchmarks.md").read_text()


def row(what: str, *samples: dict[str, float], note: str = "") -> dict[str, Any]:
    return {"labels": {"what": what}, "samples": list(samples), "note": note}


def test_marks_are_read_in_order_of_their_beginning(tmp_path: Path) -> None:
    file = tmp_path / "marks"
    file.write_bytes(marks.LAYOUT.pack(1, 5) + marks.LAYOUT.pack(2, 4) + b"half")
    assert marks.read(file) == [Mark(due=2, begun=4), Mark(due=1, begun=5)]
    assert marks.count(file) == 2
    assert marks.read(file)[0].delay == 2


def test_there_are_no_marks_without_a_file(tmp_path: Path) -> None:
    assert marks.read(tmp_path / "none") == []
    assert marks.count(tmp_path / "none") == 0


def test_the_rate_excludes_the_beginning_and_the_end() -> None:
    steady = [Mark(due=0, begun=number / 100) for number in range(10, 90)]
    slow_ends = [Mark(due=0, begun=-50)] * 10 + steady + [Mark(due=0, begun=50)] * 10
    assert rate(slow_ends) == pytest.approx(100)
    with pytest.raises(NotMeasuredError, match="at least 20 jobs"):
        rate(steady[:5])


@pytest.mark.parametrize(("share", "expected"), [(0, 1), (0.5, 51), (0.95, 96), (1, 100)])
def test_percentiles(share: float, expected: float) -> None:
    assert percentile(range(100, 0, -1), share) == expected


def test_a_table_shows_medians_or_a_note() -> None:
    rows = [
        row("ours", {"executions/s": 1200.0}, {"executions/s": 900.0}, {"executions/s": 1000.4}),
        row("slow", {"executions/s": 3.14159}),
        row("peer", note="not installed: pip install peer"),
    ]
    assert table({"rows": rows}).splitlines() == [
        "| what | executions/s | note                            |",
        "| ---- | -----------: | ------------------------------- |",
        "| ours |        1,000 |                                 |",
        "| slow |         3.14 |                                 |",
        "| peer |              | not installed: pip install peer |",
    ]


def test_the_documentation_names_every_suite_and_peer() -> None:
    for suite in SUITES:
        assert f"python -m benchmarks {suite}" in DOCS
    assert f"pip install {' '.join(peer.requirements for peer in PEERS)}\n" in DOCS


@pytest.mark.parametrize(
    ("suite", "size"),
    [
        pytest.param("processes", 30, marks=pytest.mark.long),
        pytest.param("logs", 200, marks=pytest.mark.long),
        pytest.param("history", 300, marks=pytest.mark.long),
    ],
)
def test_a_suites_results_can_be_printed_again(tmp_path: Path, suite: str, size: int) -> None:
    results = tmp_path / "results.json"
    command = [sys.executable, "-m", "benchmarks", f"--json={results}"]
    environment = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    done = subprocess.run(
        [*command, suite, f"--size={size}", "--runs=1", "--database=sqlite"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=2 * LONG,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(results.read_text())
    assert all(len(row["samples"]) == 1 and not row["note"] for row in found[suite]["rows"])
    assert done.stdout.strip() == markdown(suite, found[suite])
    assert subprocess.check_output([*command, "tables"], cwd=ROOT, text=True) == done.stdout
