"""Executions with several attempts, skipped slots, or a requeue."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.test import Client

from scheduled_tasks.admin.executions import attempts
from scheduled_tasks.lifecycle import requeueing
from scheduled_tasks.models import Attempt, Execution
from tests.admin.pages import change, page, shown, text, tried

pytestmark = pytest.mark.any_database

Make = Callable[..., Any]


@pytest.fixture
def execution(make_task: Make, make_execution: Make, now: datetime) -> Execution:
    """Return an execution that is queued for its third attempt."""
    made: Execution = make_execution(
        make_task("nightly", "shop.cleanup"),
        status="queued",
        attempt=2,
        failures=2,
        slot=now,
        run_after=now + timedelta(seconds=4),
        started_at=None,
        finished_at=None,
        duration_ms=None,
        error_category="network",
        error="ConnectionError: no answer",
    )
    return made


def shown_in_list(client: Client) -> str:
    return text(client.get(page("execution_changelist")))


def test_earlier_attempts_are_shown_in_order(admin_client: Client, execution: Execution) -> None:
    tried(execution, 1)
    tried(execution, 2, outcome="lost", traceback="", error_category="lost", error="<b>Gone.</b>")
    said = shown(admin_client, execution).partition("Earlier attempts")[2]
    parts = [
        '<th scope="row">1</th>',
        '<span class="st-badge st-failed">failed</span>',
        "2026-03-01 12:01:00 UTC",
        "2026-03-01 12:01:01 UTC",
        "2026-03-01 12:01:03 UTC",
        "2.0 s",
        "web-1:42",
        '<span class="st-category">network</span> ConnectionError: no answer to 1',
        "<details><summary>Traceback</summary>",
        "Traceback of 1",
        '<th scope="row">2</th>',
        '<span class="st-badge st-lost">lost</span>',
        "&lt;b&gt;Gone.&lt;/b&gt;",
    ]
    places = [said.index(part) for part in parts]
    assert places == sorted(places)
    assert said.count("<details>") == 1


def test_a_single_attempt_has_no_list(admin_client: Client, execution: Execution) -> None:
    assert "Earlier attempts" not in shown(admin_client, execution)


def test_an_attempt_that_never_started_has_gaps(admin_client: Client, execution: Execution) -> None:
    unknown = dict.fromkeys(("claimed_at", "started_at", "duration_ms"))
    blank = dict.fromkeys(("error", "error_category", "traceback", "worker_label"), "")
    tried(execution, 1, outcome="given_back", **unknown, **blank)
    said = shown(admin_client, execution)
    assert "returned to the queue" in said
    assert "st-error-row" not in said


def test_only_latest_attempts_and_traceback_ends_are_shown(
    admin_client: Client, execution: Execution, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempts, "MAX_TRACEBACK_LENGTH", 10)
    for number in range(1, 51):
        tried(execution, number, traceback="a" * number)
    assert "Only the latest" not in shown(admin_client, execution)
    tried(execution, 51, traceback=f"{'b' * 100}{'c' * 10}")
    said = shown(admin_client, execution)
    assert "Only the latest 50 attempts are shown." in said
    assert "no answer to 1<" not in said
    assert f"… {'c' * 10}</pre>" in said
    assert "bbc" not in said
    assert f">{'a' * 10}</pre>" in said


def test_a_queued_retry_shows_its_number_and_time(
    admin_client: Client, execution: Execution
) -> None:
    for said in (shown(admin_client, execution), shown_in_list(admin_client)):
        before, _, after = said.partition("attempt 3 after ")
        assert "st-queued" in before
        assert "2026-03-01 12:00:04 UTC" in after
        assert "ConnectionError: no answer" in after
    assert "Failure of the last attempt" in shown(admin_client, execution)
    assert '<td class="field-delay">-</td>' in shown_in_list(admin_client)


def test_a_run_delayed_by_jitter_shows_its_time(admin_client: Client, execution: Execution) -> None:
    change(execution, attempt=0, error="", error_category="", claimed_at=None)
    assert "attempt 1 after" in shown(admin_client, execution)
    change(execution, run_after=execution.scheduled_for)
    for said in (shown(admin_client, execution), shown_in_list(admin_client)):
        assert "attempt 1" not in said


def test_running_and_finished_executions_have_no_next_attempt(
    admin_client: Client, execution: Execution
) -> None:
    for status in ("running", "failed", "success"):
        change(execution, status=status)
        assert "attempt 3" not in shown(admin_client, execution)
        assert "attempt 3" not in shown_in_list(admin_client)


def test_an_execution_being_cancelled_shows_it(
    admin_client: Client, execution: Execution, now: datetime
) -> None:
    change(execution, status="running", reason="Replaced by a later slot.")
    assert "asked to stop" not in shown(admin_client, execution).lower()
    change(execution, cancel_requested_at=now + timedelta(minutes=7))
    said = shown(admin_client, execution)
    assert "Asked to stop:" in said
    assert "2026-03-01 12:07:00 UTC" in said
    for part in ("asked to stop", "Replaced by a later slot."):
        assert f'<span class="st-remark">{part}</span>' in shown_in_list(admin_client)


def test_a_covering_row_shows_its_range_of_slots(
    admin_client: Client, execution: Execution, now: datetime
) -> None:
    change(
        execution,
        status="skipped",
        attempt=0,
        error="",
        reason="Paused until 2026-03-01 13:30:00 UTC: It moves.",
        slot_until=now + timedelta(hours=1),
        slots=61,
    )
    for url in (
        page("execution_change", execution.pk),
        page("execution_changelist"),
        page("task_change", execution.task_id),
    ):
        said = text(admin_client.get(url))
        _, _, after = said.partition('<span class="st-range">')
        after, _, _ = after.partition("61 slots")
        assert "2026-03-01 12:00:00 UTC" in after, url
        assert "2026-03-01 13:00:00 UTC" in after, url
        assert "Paused until 2026-03-01 13:30:00 UTC: It moves." in said, url


def test_a_row_of_one_slot_shows_no_range(admin_client: Client, execution: Execution) -> None:
    change(execution, status="missed", slot_until=execution.slot, reason="Too late.")
    said = shown_in_list(admin_client)
    assert "st-range" not in said
    assert '<span class="st-remark">Too late.</span>' in said


def test_long_reasons_are_cut_in_lists(admin_client: Client, execution: Execution) -> None:
    change(execution, reason="x" * 500)
    assert f">{'x' * 160}…<" in shown_in_list(admin_client)
    assert "x" * 500 in shown(admin_client, execution)


def test_a_requeue_links_to_its_failure(
    admin_client: Client, execution: Execution, now: datetime
) -> None:
    change(execution, status="failed")
    again = requeueing.requeue(execution.pk, now, by="user:ada")
    assert again is not None
    said = shown(admin_client, again)
    assert f'<a href="{page("execution_change", execution.pk)}">#{execution.pk}</a>' in said
    failed = shown(admin_client, execution)
    assert f"Requeued as #{again.pk}." in failed
    assert "field-requeue_link" not in failed
    assert "field-resolution_text" not in said


def test_deleting_an_execution_deletes_its_attempts_unlisted(
    admin_client: Client, execution: Execution
) -> None:
    tried(execution, 1)
    url = page("execution_delete", execution.pk)
    assert "no answer" not in text(admin_client.get(url))
    assert admin_client.post(url, {"post": "yes"}).status_code == 302
    assert not Attempt.objects.exists()
