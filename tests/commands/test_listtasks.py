"""The output of listtasks."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from django.utils import timezone

from scheduled_tasks import disable_task, scheduled_task
from scheduled_tasks.handlers.registry import HandlerRegistry
from scheduled_tasks.lifecycle.parking import park
from scheduled_tasks.lifecycle.pausing import begin_pause
from scheduled_tasks.models import Task
from scheduled_tasks.operations.records import task_record
from tests.commands.conftest import Command

pytestmark = [pytest.mark.django_db, pytest.mark.any_database]

Make = Callable[..., Task]


@pytest.fixture(autouse=True)
def handlers(registry: HandlerRegistry) -> None:
    @scheduled_task(name="shop.cleanup")
    def cleanup(*, days: int = 30) -> None: ...


def test_without_tasks_it_says_how_to_make_one(command: Command) -> None:
    assert "Declare one with @scheduled_task" in command("listtasks").out
    assert json.loads(command("listtasks", "--json").out) == []


def test_every_task_has_a_line_with_its_state(
    command: Command, make_task: Make, now: datetime
) -> None:
    make_task("b-night", "shop.cleanup", "0 2 * * *", timezone="Europe/Berlin")
    make_task("a-by-hand", "shop.cleanup")
    make_task("c-off", "shop.cleanup", "every 1 hour")
    disable_task("c-off")
    parked = make_task("d-parked", "shop.cleanup", "every 1 hour")
    park(parked.state, "No handler.", now, using="default")
    heading, *lines = command("listtasks").out.splitlines()
    assert heading.split() == ["task", "schedule", "zone", "next", "run", "last", "status", "state"]
    assert [line.split()[0] for line in lines] == ["a-by-hand", "b-night", "c-off", "d-parked"]
    hand, night, off, parked = lines
    assert "manual" in hand
    assert "Europe/Berlin  2026-03-02 01:00:00 UTC" in night
    assert night.endswith("enabled")
    assert off.endswith("disabled")
    assert parked.endswith("parked: No handler.")


def test_a_paused_task_shows_end_and_reason(command: Command, make_task: Make) -> None:
    until = datetime(2040, 1, 1, 9, 30, tzinfo=UTC)
    make_task("a", "shop.cleanup", "0 2 * * *", paused_until=until, pause_reason="It moves.")
    make_task("b", "shop.cleanup", "0 2 * * *", paused_until=until)
    make_task("c", "shop.cleanup", "0 2 * * *", paused_until=timezone.now())
    make_task("d", "shop.cleanup", paused_until=until, enabled=False)
    _, *lines = command("listtasks").out.splitlines()
    assert [line.rpartition("  ")[2] for line in lines] == [
        "paused until 2040-01-01 09:30:00 UTC: It moves.",
        "paused until 2040-01-01 09:30:00 UTC",
        "enabled",
        "disabled",
    ]
    record = json.loads(command("listtasks", "--json").out)[0]
    assert record["pausedUntil"] == "2040-01-01T09:30:00Z"
    assert record["pauseReason"] == "It moves."


@pytest.mark.parametrize("number", [0, 1])
def test_a_global_pause_is_printed_first(command: Command, make_task: Make, number: int) -> None:
    until = datetime(2040, 1, 1, 9, 30, tzinfo=UTC)
    begin_pause(timezone.now(), until=until, reason="Deploy", by="user:ada")
    for _ in range(number):
        make_task("a", "shop.cleanup")
    first, blank, heading = command("listtasks").out.splitlines()[:3]
    assert first.startswith("All tasks are paused until 2040-01-01 09:30:00 UTC: Deploy (since ")
    assert first.endswith(" by user:ada)")
    assert blank == ""
    assert heading.startswith(("task ", "There are no tasks yet"))
    assert len(json.loads(command("listtasks", "--json").out)) == number


def test_lines_are_aligned_and_end_without_blanks(command: Command, make_task: Make) -> None:
    make_task("a", "shop.cleanup", "0 2 * * *")
    make_task("a-much-longer-name", "shop.cleanup", "every 1 hour")
    lines = command("listtasks").out.splitlines()
    assert lines[1].index("0 2") == lines[2].index("every") == lines[0].index("schedule")
    assert all(line == line.rstrip() for line in lines)


def test_json_is_the_record_of_each_task(command: Command, make_task: Make) -> None:
    make_task("night", "shop.cleanup", "0 2 * * *", payload={"days": 3})
    assert json.loads(command("listtasks", "--json").out) == [task_record(Task.objects.get())]


def test_json_shows_no_secrets(command: Command, make_task: Make) -> None:
    make_task("night", "shop.cleanup", payload={"days": 3}, metadata={"api_key": "k-123"})
    Task.objects.update(payload={"password": "k-123"})
    assert "k-123" not in command("listtasks", "--json").out


def test_a_task_with_an_invalid_row_is_listed(command: Command, make_task: Make) -> None:
    make_task("bad", "shop.cleanup", "every 1 hour")
    Task.objects.update(schedule="nonsense", handler="gone.gone", timezone="Mars/Base")
    assert "nonsense" in command("listtasks").out
    assert json.loads(command("listtasks", "--json").out)[0]["handler"] == "gone.gone"


def test_the_number_of_queries_does_not_grow(
    command: Command, make_task: Make, django_assert_num_queries: Callable[[int], object]
) -> None:
    for number in range(5):
        make_task(f"task-{number}", "shop.cleanup", "every 1 hour")
    with django_assert_num_queries(2):  # type: ignore[attr-defined]
        command("listtasks")
    with django_assert_num_queries(1):  # type: ignore[attr-defined]
        command("listtasks", "--json")
