"""The checker, where somebody was harmed to whom nothing was done, or only later."""

from __future__ import annotations

import pytest

from tests.chaos.checker import violations
from tests.chaos.histories import SECOND, at, healthy, history, row, slot, tried, with_first
from tests.chaos.history import Harm, History, Life, Outage

TWO_KILLED = (Harm("fork server killed", at(1)), Harm("fork server killed", at(2)))
WRONG: dict[str, tuple[History, str]] = {
    "a healthy worker given up": (
        history(lives=healthy("b1", Harm("frozen", at(5), 1.0))),
        "worker b1 was given up, and was well",
    ),
    "a worker given up before it was harmed": (
        history(lives=healthy("b1", Harm("killed", at(100)), ended_at=at(5))),
        "worker b1 was given up, and was well",
    ),
    "a run lost by a healthy worker": (
        history(lives=healthy(), states={"a1": "stopped", "b1": "stopped"}),
        "#1 was lost by worker b1, which was well",
    ),
    "a run lost before its worker was killed": (
        history(lives=healthy("b1", Harm("killed", at(100)))),
        "#1 was lost by worker b1, which was well",
    ),
    "a last run lost by a healthy worker": (
        with_first(row(1, "failed", attempt=2, losses=2)),
        "#1 was lost by worker a1, which was well",
    ),
    "a run given back by a healthy worker": (
        history(lives=healthy(), tried=[tried(1, 1, "given_back", worker="b1")]),
        "#1 was lost by worker b1, which was well",
    ),
    "a last run given back by a healthy worker": (
        with_first(row(1, "failed", attempt=2, losses=1, category="lost")),
        "#1 was lost by worker a1, which was well",
    ),
    "a run lost by a short outage": (
        history(lives=healthy(), outages=[Outage(slot(0), slot(0) + SECOND)]),
        "#1 was lost by worker b1, which was well",
    ),
    "a run lost long after an outage": (
        history(lives=healthy(), outages=[Outage(slot(-9), slot(-8))]),
        "#1 was lost by worker b1, which was well",
    ),
    "a worker that died by itself": (
        history(lives={**history().lives, "c1": Life(label="c1", exit_code=1)}),
        "worker c1 ended with 1, and was well",
    ),
    "a worker that died after one fork server was killed": (
        history(
            lives=healthy("b1", Harm("fork server killed", at(1)), ended_at=at(5), exit_code=1)
        ),
        "worker b1 ended with 1, and was well",
    ),
    "a worker that died long after two fork servers were killed": (
        history(lives=healthy("b1", *TWO_KILLED, ended_at=at(50), exit_code=1)),
        "worker b1 ended with 1, and was well",
    ),
    "a worker that died before it was harmed": (
        history(lives=healthy("b1", Harm("stopped", at(100)), ended_at=at(5), exit_code=1)),
        "worker b1 ended with 1, and was well",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_harm_without_a_cause_is_caught(name: str) -> None:
    wrong, said = WRONG[name]
    assert said in violations(wrong)


def test_a_long_outage_may_cost_runs_not_workers() -> None:
    outage = Outage(slot(0), slot(0) + 7 * SECOND)
    assert violations(history(lives=healthy(), outages=[outage])) == [
        "worker b1 was given up, and was well"
    ]


def test_anybody_may_give_back_what_has_not_begun() -> None:
    rows, journal = [row(1, attempt=2), *history().rows[1:]], history().journal[2:]
    assert violations(history(rows=rows, journal=journal, tried=[tried(1, 1, "given_back")])) == []


def test_killing_fork_servers_repeatedly_may_end_a_worker() -> None:
    ends = healthy("b1", *TWO_KILLED, ended_at=at(5), exit_code=1)
    assert violations(history(lives=ends)) == []
