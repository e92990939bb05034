"""The form of a task: what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.template.response import TemplateResponse
from django.test import Client

from scheduled_tasks.models import Task
from tests.admin.forms import add, change, errors_of

Make = Callable[..., Any]

BAD_INPUT = [
    ({"name": "Weekly Clean"}, "name", "lowercase letters"),
    ({"name": ""}, "name", "required"),
    ({"name": "a" * 101}, "name", "100"),
    ({"name": "a\0b"}, "name", "Null characters"),
    ({"handler": "shop.cleanap"}, "handler", "Did you mean shop.cleanup"),
    ({"handler": ""}, "handler", "required"),
    ({"schedule": "0 25 * * *"}, "schedule", "25"),
    ({"schedule": "0 2 * * * *"}, "schedule", "fields"),
    ({"schedule": "whenever"}, "schedule", "whenever"),
    ({"schedule": "0 0 30 2 *"}, "schedule", "never"),
    ({"schedule": "every 0 seconds"}, "schedule", "second"),
    ({"schedule": "*/10 * * * * *"}, "schedule", "every 10 seconds"),
    ({"schedule": "at 2020-01-01 09:00"}, "schedule", "in the past"),
    ({"schedule": "<script>alert(1)</script>"}, "schedule", "script"),
    ({"schedule": "*" * 300}, "schedule", "255"),
    ({"timezone": "Mars/Base"}, "timezone", "Mars/Base"),
    ({"timezone": ""}, "timezone", "required"),
    ({"payload": '{"daays": 3}'}, "payload", "did you mean days?"),
    ({"payload": '{"days": "three"}'}, "payload", "days:"),
    ({"payload": '{"days": NaN}'}, "payload", "days:"),
    ({"payload": '{"days": "\\u0000"}'}, "payload", "days:"),
    ({"payload": '{"days": "\\ud800"}'}, "payload", "days:"),
    ({"payload": f'{{"days": {"[" * 900}{"]" * 900}}}'}, "payload", "nested more than 100"),
    ({"payload": f'{{"days": "{"x" * 1_000_000}"}}'}, "payload", "days:"),
    ({"metadata": '{"a": NaN}'}, "metadata", "must be finite"),
    ({"metadata": '{"a": -Infinity}'}, "metadata", "must be finite"),
    ({"metadata": '{"a": "\\u0000"}'}, "metadata", "NUL"),
    ({"metadata": '{"\\udfff": 1}'}, "metadata", "surrogate"),
    ({"metadata": f'{{"a": {"[" * 900}{"]" * 900}}}'}, "metadata", "nested more than 100"),
    ({"metadata": f'{{"a": {"9" * 4_000}}}'}, "metadata", "too large"),
    ({"metadata": f'{{"a": "{"x" * 1_000_000}"}}'}, "metadata", "has 1000009 characters"),
    ({"metadata": '{"recipients": 5}'}, "metadata", "5 is not an address"),
    ({"description": "a\0b"}, "description", "Null characters"),
    ({"description": "x" * 100_001}, "description", "has 100001 characters"),
    ({"category": "\0"}, "category", "Null characters"),
    ({"paused_until_0": "2020-01-01", "paused_until_1": "09:00"}, "paused_until", "nothing to end"),
    ({"pause_reason": "x" * 256}, "pause_reason", "255"),
    ({"payload": "[1]"}, "payload", "object"),
    ({"payload": "null"}, "payload", "object"),
    ({"payload": '{"days": 3, "days": 4}'}, "payload", "has the key 'days' twice"),
    ({"metadata": '{"a": {"b": 1, "b": 1}}'}, "metadata", "has the key 'b' twice"),
    ({"payload": "{days: 3}"}, "payload", "valid JSON"),
    ({"payload": "[" * 100_000}, "payload", "nested more than 100"),
    ({"payload": f'{{"days": {"9" * 5_000}}}'}, "payload", "valid JSON"),
    ({"handler": "shop.export", "payload": "{}"}, "payload", "customer: required"),
    ({"anchor_0": "2026-13-01", "anchor_1": "00:00"}, "anchor", "valid date"),
    ({"priority": "high"}, "priority", "whole number"),
    ({"on_lost": "explode"}, "on_lost", "not one of the available choices"),
    ({"max_losses": "-1"}, "max_losses", "greater than or equal to 0"),
    ({"metadata": "[1"}, "metadata", "valid JSON"),
    ({"metadata": "[1]"}, "metadata", "JSON object"),
    ({"priority": "9" * 30}, "priority", "less than"),
    ({"queue": ""}, "queue", "required"),
    ({"timeout": "0"}, "timeout", "greater than or equal to 1"),
    ({"timeout": "1.5"}, "timeout", "whole number"),
    ({"timeout": "9" * 30}, "timeout", "less than"),
    ({"memory_limit_mb": "0"}, "memory_limit_mb", "greater than or equal to 1"),
    ({"executor": "celery"}, "executor", "not one of the available choices"),
    ({"max_retries": "-1"}, "max_retries", "greater than or equal to 0"),
    ({"max_retries": ""}, "max_retries", "required"),
    ({"retry_delay": "1.5"}, "retry_delay", "whole number"),
    ({"retry_backoff": "0.5"}, "retry_backoff", "greater than or equal to 1"),
    ({"retry_backoff": "1001"}, "retry_backoff", "less than or equal to 1000"),
    ({"retry_backoff": "nan"}, "retry_backoff", "number"),
    ({"retry_max_delay": "9" * 30}, "retry_max_delay", "less than"),
    ({"misfire_policy": "never"}, "misfire_policy", "not one of the available choices"),
    ({"misfire_grace": "-5"}, "misfire_grace", "greater than or equal to 0"),
    ({"catch_up_limit": "0"}, "catch_up_limit", "greater than or equal to 1"),
    ({"overlap_policy": ""}, "overlap_policy", "required"),
    ({"jitter": "86401"}, "jitter", "less than or equal to 86400"),
    ({"starts_at_0": "2030-01-01", "starts_at_1": ""}, "starts_at", "valid time"),
    ({"ends_at_0": "soon", "ends_at_1": "00:00"}, "ends_at", "valid date"),
    (
        {
            "starts_at_0": "2030-01-01",
            "starts_at_1": "09:00:00",
            "ends_at_0": "2030-01-01",
            "ends_at_1": "09:00:00",
        },
        "ends_at",
        "The end must be later than the start.",
    ),
    ({"paused_until_0": "tomorrow", "paused_until_1": "09:00"}, "paused_until", "valid date"),
    ({"pause_reason": "x" * 256}, "pause_reason", "255"),
]


@pytest.fixture
def unrendered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the pages empty: to render the form takes five times as long as to refuse it."""
    monkeypatch.setattr(TemplateResponse, "rendered_content", "")


@pytest.mark.any_database
@pytest.mark.usefixtures("unrendered")
@pytest.mark.parametrize(("fields", "wrong", "says"), BAD_INPUT)
def test_invalid_input_is_a_field_error_saving_nothing(
    admin_client: Client, fields: dict[str, str], wrong: str, says: str
) -> None:
    errors = errors_of(add(admin_client, **fields))
    assert list(errors) == [wrong]
    assert len(errors[wrong]) == 1
    assert says in errors[wrong][0]
    assert not Task.objects.exists()


@pytest.mark.parametrize(("fields", "wrong", "says"), BAD_INPUT[::5])
def test_a_refused_change_leaves_the_task_unchanged(
    admin_client: Client, make_task: Make, fields: dict[str, str], wrong: str, says: str
) -> None:
    task = make_task("kept", "shop.plain", "0 3 * * *")
    errors = errors_of(change(admin_client, task, **{"category": "changed", **fields}))
    assert list(errors) == [wrong]
    assert says in errors[wrong][0]
    task = Task.objects.get()
    assert (task.name, task.schedule, task.category) == ("kept", "0 3 * * *", "")


def test_a_name_that_is_taken_is_refused(admin_client: Client, make_task: Make) -> None:
    make_task("nightly", "shop.plain")
    assert list(errors_of(add(admin_client))) == ["name"]
    assert Task.objects.count() == 1


def test_all_errors_are_told_at_once(admin_client: Client) -> None:
    errors = errors_of(add(admin_client, name="", schedule="x", handler="gone", payload="{"))
    assert set(errors) == {"name", "schedule", "handler", "payload"}


@pytest.mark.any_database
@pytest.mark.usefixtures("unrendered")
@pytest.mark.parametrize("name", ["anchor", "starts_at", "ends_at", "paused_until"])
@pytest.mark.parametrize("year", ["0001", "1899", "9999"])
def test_moments_at_the_calendars_ends_are_refused(
    admin_client: Client, settings: Any, year: str, name: str
) -> None:
    settings.TIME_ZONE = "Europe/Berlin"
    fields = {f"{name}_0": f"{year}-01-01", f"{name}_1": "00:00:00", "schedule": "every 1 hour"}
    errors = errors_of(add(admin_client, **fields))
    assert list(errors) == [name]
    assert len(errors[name]) == 1
    assert not Task.objects.exists()
