"""Pausing all tasks from the command line."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from scheduled_tasks.models import Pause
from tests.commands.conftest import Command

pytestmark = [pytest.mark.django_db, pytest.mark.any_database]


@pytest.fixture(autouse=True)
def ada(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: "ada")


def in_force() -> Pause:
    return Pause.objects.in_force(timezone.now()).get()


def test_without_an_end_the_pause_lasts_until_resumed(command: Command) -> None:
    ran = command("pausescheduler")
    assert ran.code == 0
    pause = in_force()
    assert (pause.until, pause.reason, pause.begun_by) == (None, "", "cli:ada")
    begun = f"{pause.begun_at:%Y-%m-%d %H:%M:%S} UTC"
    assert ran.out == (
        f"All tasks are paused (since {begun} by cli:ada)\n"
        "To resume, run pausescheduler --resume.\n"
    )


@pytest.mark.parametrize(
    ("text", "until"),
    [
        ("2040-01-01T09:30", datetime(2040, 1, 1, 8, 30, tzinfo=UTC)),
        ("2040-07-01 09:30:15", datetime(2040, 7, 1, 7, 30, 15, tzinfo=UTC)),
        ("2040-01-01T09:30Z", datetime(2040, 1, 1, 9, 30, tzinfo=UTC)),
        ("2040-01-01T09:30-05:00", datetime(2040, 1, 1, 14, 30, tzinfo=UTC)),
        ("2040-01-01", datetime(2039, 12, 31, 23, tzinfo=UTC)),
    ],
)
def test_until_without_offset_is_in_the_projects_zone(
    command: Command, settings: Any, text: str, until: datetime
) -> None:
    settings.TIME_ZONE = "Europe/Berlin"
    ran = command("pausescheduler", "--until", text, "--reason", "The database moves.")
    assert (in_force().until, in_force().reason) == (until, "The database moves.")
    said = r"All tasks are paused until \d{4}-\d\d-\d\d \d\d:\d\d:\d\d CES?T: The database moves. "
    assert re.match(said, ran.out)


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("30m", timedelta(minutes=30)),
        ("2h", timedelta(hours=2)),
        ("1D", timedelta(days=1)),
        ("1h30m", timedelta(hours=1, minutes=30)),
        ("90 minutes", timedelta(minutes=90)),
    ],
)
def test_a_pause_can_be_given_its_length(command: Command, text: str, length: timedelta) -> None:
    command("pausescheduler", "--for", text)
    pause = in_force()
    assert pause.until is not None
    assert abs(pause.until - pause.begun_at - length) < timedelta(seconds=10)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            ["--until", "2020-01-01T09:00"],
            "--until: 2020-01-01 09:00:00 UTC is in the past",
        ),
        (["--until", "tomorrow"], "'tomorrow' is not an ISO date and time, such as 2030-01-01T09"),
        (["--until", ""], "'' is not an ISO date and time"),
        (["--until", "9999-12-31T23:59"], "the year 9999 is not supported"),
        (["--until", "0001-01-01T00:00+14:00"], "the year 1 is not supported"),
        (["--until", "x" * 100_000], "is not an ISO date and time"),
        (["--for", "soon"], "argument --for: 'soon' is not a duration such as 30m, 2h, 1d"),
        (["--for", "-5m"], "expected one argument"),
        (["--for", "0m"], "a pause must last at least one second"),
        (["--for", "99999999w"], "99999999w is too long"),
        (["--for", "9" * 100_000], "is not a duration"),
        (["--until", "2040-01-01", "--for", "2h"], "argument --for: not allowed with argument"),
        (["--resume", "--for", "2h"], "argument --for: not allowed with argument --resume"),
        (["--status", "--resume"], "argument --resume: not allowed with argument --status"),
        (["--resume", "--reason", "x"], "--reason can only be given when a pause starts."),
        (["--status", "--reason", ""], "--reason can only be given when a pause starts."),
        (["--reason", "x" * 256], "--reason: has 256 characters; at most 255 are stored."),
        (["now"], "unrecognized arguments: now"),
    ],
    ids=lambda value: " ".join(value)[:30],
)
def test_invalid_options_are_refused_in_a_sentence(
    command: Command, arguments: list[str], says: str
) -> None:
    ran = command("pausescheduler", *arguments)
    assert ran.code == 1
    assert says in ran.err
    assert len(ran.err) < 500
    assert ran.out == ""
    assert not Pause.objects.exists()


@pytest.mark.parametrize("reason", ["a\0b", "a\udcffb"])
def test_a_reason_that_cannot_be_stored_is_refused(command: Command, reason: str) -> None:
    assert "--reason: has a NUL or half a" in command("pausescheduler", "--reason", reason).err
    assert not Pause.objects.exists()


def test_a_pause_replaces_the_active_one(command: Command) -> None:
    command("pausescheduler", "--for", "1h")
    command("pausescheduler", "--for", "2h", "--reason", "longer")
    assert in_force().reason == "longer"
    assert Pause.objects.last().ended_by == "cli:ada"


def test_resume_ends_the_pause_once(command: Command) -> None:
    command("pausescheduler")
    assert command("pausescheduler", "--resume").out == "All tasks resumed.\n"
    pause = Pause.objects.get()
    assert pause.ended_by == "cli:ada"
    assert not Pause.objects.in_force(timezone.now()).exists()
    ran = command("pausescheduler", "--resume")
    assert (ran.code, ran.out) == (0, "There was no global pause.\n")


def test_status_changes_nothing(command: Command) -> None:
    assert command("pausescheduler", "--status").out == "There is no global pause.\n"
    assert not Pause.objects.exists()
    paused = command("pausescheduler", "--until", "2040-01-01", "--reason", "Deploy").out
    said = command("pausescheduler", "--status").out
    assert said.startswith("All tasks are paused until 2040-01-01 00:00:00 UTC: Deploy (since ")
    assert said == paused.partition("\n")[0] + "\n"
    assert Pause.objects.get().ended_at is None
