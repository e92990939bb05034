"""The page of an execution: progress, log and deletion."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from scheduled_tasks.admin.executions import downloads
from scheduled_tasks.models import Attempt, Execution, ExecutionLog
from scheduled_tasks.models.attempt import AttemptOutcome
from tests.admin.pages import change, page, say, shown, text

pytestmark = pytest.mark.any_database

Make = Callable[..., Any]


@pytest.fixture
def execution(make_task: Make, make_execution: Make) -> Execution:
    made: Execution = make_execution(make_task("nightly", "shop.cleanup"))
    return made


def test_a_running_execution_shows_its_progress(admin_client: Client, execution: Execution) -> None:
    change(
        execution,
        status="running",
        progress={"done": 40.0, "total": 100, "text": "letters"},
        checkpoint={"last": 40},
        processed_count=40,
        error_count=2,
        reason="It was asked to stop.",
        peak_memory_mb=123,
    )
    said = shown(admin_client, execution)
    for part in (
        "40 of 100, letters",
        "40 processed, 2 with errors",
        "&quot;last&quot;: 40",
        "It was asked to stop.",
        "123 MB",
    ):
        assert part in said


def test_a_suspect_says_why_it_runs_alone(admin_client: Client, execution: Execution) -> None:
    change(execution, status="queued", attempt=1, probation_seconds=30)
    said = shown(admin_client, execution)
    assert "runs apart at first: a run of this task ended together with its worker" in said
    change(execution, status="running", alone_on="host")
    assert "runs alone: an earlier run ended together with its worker" in shown(
        admin_client, execution
    )


def test_empty_fields_are_left_out(admin_client: Client, execution: Execution) -> None:
    said = shown(admin_client, execution)
    for name in ("reason", "progress_text", "counts", "checkpoint_text"):
        assert f"field-{name}" not in said
    assert "Full log" not in said
    assert "data-st-live" not in said
    change(execution, status="skipped", attempt=0)
    assert 'class="module st-log"' not in shown(admin_client, execution)


def test_the_page_of_an_unfinished_execution_updates_itself(
    admin_client: Client, execution: Execution
) -> None:
    for status in ("queued", "running"):
        change(execution, status=status)
        assert "data-st-live" in shown(admin_client, execution)


@pytest.mark.parametrize("checkpoint", [0, False, [], {}])
def test_a_falsy_checkpoint_is_shown(
    admin_client: Client, execution: Execution, checkpoint: Any
) -> None:
    change(execution, checkpoint=checkpoint)
    assert "field-checkpoint_text" in shown(admin_client, execution)


def test_the_log_is_shown_oldest_first(admin_client: Client, execution: Execution) -> None:
    say(execution, "begun")
    say(execution, "<b>odd</b>", level=logging.WARNING, logger="shop.mail")
    say(execution, "ended", level=logging.ERROR, logged_at=execution.created_at - timedelta(1))
    said = shown(admin_client, execution)
    parts = [
        ">INFO<",
        "shop.letters",
        "begun",
        '<span class="st-badge st-warning">WARNING</span>',
        "shop.mail",
        "&lt;b&gt;odd&lt;/b&gt;",
        '<span class="st-badge st-error">ERROR</span>',
        "ended",
    ]
    places = [said.index(part) for part in parts]
    assert places == sorted(places)
    assert "Only the last lines are shown" not in said


def test_the_log_marks_where_attempts_start_and_end(
    admin_client: Client, execution: Execution
) -> None:
    say(execution, "first words")
    Attempt.of(execution, AttemptOutcome.LOST).save()
    change(execution, attempt=2, worker_label="second-worker", duration_ms=2_400)
    say(execution, "second words", attempt=2)
    said = shown(admin_client, execution)
    log = said[said.index('class="module st-log"') :]
    parts = [
        "attempt 1",
        "first words",
        "lost after",
        "attempt 2 on second-worker",
        "second words",
        "success after 2.4 s",
    ]
    places = [log.index(part) for part in parts]
    assert places == sorted(places)
    change(execution, status="running", finished_at=None)
    assert "success after" not in shown(admin_client, execution)


def test_lines_of_deleted_attempts_are_shown(admin_client: Client, execution: Execution) -> None:
    change(execution, attempt=1234)
    say(execution, "an old one", attempt=1)
    assert "an old one" in shown(admin_client, execution)


def test_the_full_log_is_a_text_file(
    admin_client: Client,
    staff: Callable[..., Client],
    execution: Execution,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(downloads, "BATCH_SIZE", 3)
    say(execution, *(f"line {number}" for number in range(7)))
    say(execution, "<b>two\nlines</b>", level=logging.ERROR, attempt=2)
    said = shown(admin_client, execution)
    assert "Full log (8 lines)" in said
    address = page("execution_log", execution.pk)
    assert address in said
    response = admin_client.get(address)
    assert response["Content-Type"] == "text/plain; charset=utf-8"
    text = response.getvalue().decode()  # type: ignore[attr-defined]
    assert [line.partition(": ")[2] for line in text.splitlines()[:7]] == [
        f"line {number}" for number in range(7)
    ]
    assert "#2 ERROR shop.letters: <b>two\\nlines</b>\n" in text
    assert staff("view_task").get(address).status_code == 403
    assert admin_client.get(page("execution_log", execution.pk + 1)).status_code == 404


@pytest.mark.parametrize(
    "mark", ["\n", "\r\n", "\x0b", "\x0c", "\x1b[2K\r", "\x85", "\u2028", "\u202e", "\u2066"]
)
def test_a_message_forges_no_line_of_the_log(
    admin_client: Client, make_task: Make, make_execution: Make, mark: str
) -> None:
    execution = make_execution(make_task("nightly", "shop.cleanup"))
    forged = f"all well{mark}2026-03-01T12:00:00+00:00 #1 ERROR shop: stolen\ttab"
    say(execution, forged, "next", logger=f"shop{mark}x")
    answer = admin_client.get(page("execution_log", execution.pk))
    lines = b"".join(answer).decode().splitlines()
    escaped = repr(mark)[1:-1]
    assert [line.partition("INFO ")[2] for line in lines] == [
        f"shop{escaped}x: {forged.replace(mark, escaped)}",
        f"shop{escaped}x: next",
    ]


def test_secrets_in_the_input_are_redacted(admin_client: Client, execution: Execution) -> None:
    change(execution, payload={"api_key": "hunter2xyz"}, checkpoint={"token": "hunter2xyz"})
    said = shown(admin_client, execution)
    assert "hunter2xyz" not in said
    assert said.count("[redacted]") == 2


def test_only_the_last_lines_are_shown(admin_client: Client, execution: Execution) -> None:
    say(execution, *(f"line-{number:03}." for number in range(200)))
    assert "Only the last lines are shown" not in shown(admin_client, execution)
    say(execution, "line-200.")
    said = shown(admin_client, execution)
    assert "Only the last lines are shown." in said
    assert "line-000." not in said
    assert said.index("line-001.") < said.index("line-200.")


def test_a_long_line_is_truncated_by_the_database(
    admin_client: Client, execution: Execution
) -> None:
    say(execution, "x" * 10_000, "y" * 10_001, "z" * 100_000)
    said = shown(admin_client, execution)
    assert f">{'x' * 10_000}<" in said
    assert f">{'y' * 10_000} …<" in said
    assert f">{'z' * 10_000} …<" in said


def test_deleting_an_execution_deletes_its_log_lines_unlisted(
    admin_client: Client, execution: Execution, make_execution: Make
) -> None:
    other = make_execution(execution.task)
    say(execution, "secret line", "another")
    say(other, "kept")
    confirmation = text(admin_client.get(page("execution_delete", execution.pk)))
    assert str(execution) in confirmation
    assert "log line" not in confirmation.lower()
    response = admin_client.post(page("execution_delete", execution.pk), {"post": "yes"})
    assert response.status_code == 302
    assert [row.message for row in ExecutionLog.objects.all()] == ["kept"]
    admin_client.post(
        page("execution_changelist"),
        {"action": "delete_selected", "_selected_action": [other.pk], "post": "yes"},
    )
    assert not ExecutionLog.objects.exists()


def test_deleting_needs_the_permission(staff: Callable[..., Client], execution: Execution) -> None:
    client = staff("view_execution")
    assert client.get(page("execution_delete", execution.pk)).status_code == 403
    assert Execution.objects.exists()
