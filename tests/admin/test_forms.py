"""The form of a task: what it saves and what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib.admin.utils import flatten
from django.test import Client

from scheduled_tasks import scheduled_task
from scheduled_tasks.executors import EXECUTORS
from scheduled_tasks.handlers.registry import HandlerRegistry
from scheduled_tasks.lifecycle.parking import restart_clock
from scheduled_tasks.models import Task, TaskChange
from scheduled_tasks.models.policies import Policies
from tests.admin.pages import as_typed, page, task_data, text

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
    ({"description": "a\0b"}, "description", "Null characters"),
    ({"description": "x" * 100_001}, "description", "has 100001 characters"),
    ({"category": "\0"}, "category", "Null characters"),
    ({"pause_reason": "x" * 256}, "pause_reason", "255"),
    ({"payload": "[1]"}, "payload", "object"),
    ({"payload": "null"}, "payload", "object"),
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

POLICIES = {
    "max_retries": "3",
    "retry_delay": "5",
    "retry_backoff": "1.5",
    "retry_max_delay": "60",
    "on_lost": "fail",
    "max_losses": "1",
    "misfire_policy": "all",
    "misfire_grace": "900",
    "catch_up_limit": "7",
    "overlap_policy": "buffer_all",
    "jitter": "30",
    "pause_reason": "The warehouse moves.",
}


def add(client: Client, **fields: Any) -> Any:
    return client.post(page("task_add"), task_data(**fields))


def change(client: Client, task: Task, **fields: Any) -> Any:
    return client.post(page("task_change", task.pk), task_data(**{"name": task.name, **fields}))


def errors_of(response: Any) -> dict[str, list[str]]:
    assert response.status_code == 200
    return dict(response.context["adminform"].form.errors)


def test_a_task_is_made_with_its_clock(admin_client: Client) -> None:
    response = add(admin_client, payload='{"days": 7}', category="mail")
    assert response.status_code == 302
    task = Task.objects.get()
    assert (task.name, task.handler, task.schedule) == ("nightly", "shop.cleanup", "0 2 * * *")
    assert (task.payload, task.category, task.origin) == ({"days": 7}, "mail", Task.Origin.ADMIN)
    assert task.state.next_run_at == task.next_slot(task.updated_at)


def test_limits_are_saved_and_taken_away(admin_client: Client) -> None:
    add(admin_client, timeout="60", memory_limit_mb="100", executor="thread")
    task = Task.objects.get()
    assert (task.timeout, task.memory_limit_mb, task.executor) == (60, 100, "thread")
    assert change(admin_client, task).status_code == 302
    task.refresh_from_db()
    assert (task.timeout, task.memory_limit_mb, task.executor) == (None, None, "")


def test_all_policies_are_saved(admin_client: Client, later: datetime) -> None:
    moments = {
        "starts_at": later,
        "ends_at": later + timedelta(days=365),
        "paused_until": later + timedelta(days=30, minutes=30),
    }
    assert add(admin_client, **POLICIES, **as_typed(**moments)).status_code == 302
    task = Task.objects.get()
    assert {name: str(getattr(task, name)) for name in POLICIES} == POLICIES
    assert {name: getattr(task, name) for name in moments} == moments
    assert task.state.next_run_at == later + timedelta(hours=13)


def test_every_policy_has_its_place_on_the_page(admin_client: Client) -> None:
    form = admin_client.get(page("task_add")).context["adminform"]
    shown = [name for _, options in form.fieldsets for name in flatten(options["fields"])]
    assert sorted(shown) == sorted(set(shown))
    assert {*Policies.DECLARED_FIELDS, *Policies.MOMENTS, "pause_reason"} <= set(shown)
    assert set(form.form.fields) == set(shown)


def test_unchanged_times_keep_their_fractions_of_a_second(
    admin_client: Client, make_task: Make, later: datetime
) -> None:
    moment = later + timedelta(seconds=15, microseconds=123456)
    task = make_task("nightly", "shop.cleanup", "0 2 * * *", ends_at=moment)
    response = change(
        admin_client,
        task,
        timezone="UTC",
        description="Only words.",
        **as_typed(ends_at=moment),
    )
    assert response.status_code == 302
    assert Task.objects.get().ends_at == moment
    assert set(TaskChange.objects.first().fields) == {"description"}


def test_the_pause_section_is_expanded_while_paused(
    admin_client: Client, make_task: Make, now: datetime
) -> None:
    def is_collapsed() -> bool:
        sets = admin_client.get(page("task_change", task.pk)).context["adminform"].fieldsets
        return "classes" in dict(sets)["Pause"]

    task = make_task("nightly", "shop.cleanup", "0 2 * * *")
    assert is_collapsed()
    Task.objects.update(paused_until=now)
    assert not is_collapsed()


def test_the_executors_of_this_package_are_offered(admin_client: Client) -> None:
    form = admin_client.get(page("task_add")).context["adminform"].form
    offered = dict(form.fields["executor"].choices)
    assert offered.pop("") == "Worker default"
    assert set(offered) == set(EXECUTORS)


def test_registered_handlers_and_zones_are_offered(admin_client: Client) -> None:
    form = admin_client.get(page("task_add")).context["adminform"].form
    keys = [key for key, label in form.fields["handler"].widget.choices]
    assert keys == ["", "shop.cleanup", "shop.export", "shop.plain"]
    zones = [name for name, label in form.fields["timezone"].widget.choices]
    assert "Europe/Berlin" in zones
    assert "localtime" not in zones


@pytest.mark.any_database
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


def test_a_moment_that_has_passed_may_stay(admin_client: Client, make_task: Make) -> None:
    task = make_task("once", "shop.cleanup", "at 2020-01-01 09:00")
    unchanged = {"schedule": task.schedule, "timezone": task.timezone}
    assert change(admin_client, task, description="Done.", **unchanged).status_code == 302
    assert Task.objects.get().description == "Done."


def test_a_name_that_is_taken_is_refused(admin_client: Client, make_task: Make) -> None:
    make_task("nightly", "shop.plain")
    assert list(errors_of(add(admin_client))) == ["name"]
    assert Task.objects.count() == 1


def test_all_errors_are_told_at_once(admin_client: Client) -> None:
    errors = errors_of(add(admin_client, name="", schedule="x", handler="gone", payload="{"))
    assert set(errors) == {"name", "schedule", "handler", "payload"}


def test_an_empty_payload_means_no_arguments(admin_client: Client) -> None:
    assert add(admin_client, payload="").status_code == 302
    assert Task.objects.get().payload == {}


def test_a_manual_task_may_lack_arguments(admin_client: Client) -> None:
    assert add(admin_client, handler="shop.export", schedule="").status_code == 302
    assert Task.objects.get().state.next_run_at is None


def test_an_edit_of_words_leaves_the_clock(
    admin_client: Client, make_task: Make, later: datetime
) -> None:
    task = make_task("hourly", "shop.cleanup", "every 1 hour")
    restart_clock(task.state, later, using="default")
    anchor, due = task.anchor, task.state.next_run_at
    response = change(
        admin_client,
        task,
        schedule="every 1 hour",
        timezone=task.timezone,
        description="Only words.",
        **as_typed(anchor=anchor),
    )
    assert response.status_code == 302
    task = Task.objects.get()
    assert task.description == "Only words."
    assert (task.anchor, task.state.next_run_at) == (anchor, due)


def test_editing_the_schedule_restarts_the_clock(
    admin_client: Client, make_task: Make, later: datetime
) -> None:
    task = make_task("nightly", "shop.cleanup", "0 2 * * *")
    schedule = f"at {later:%Y-%m-%d %H:%M}"
    assert change(admin_client, task, schedule=schedule).status_code == 302
    assert Task.objects.get().state.next_run_at == later - timedelta(hours=1)


def test_the_form_cannot_change_a_declared_tasks_identity(
    admin_client: Client, make_task: Make
) -> None:
    task = make_task("nightly", "shop.cleanup", "0 2 * * *", origin=Task.Origin.CODE)
    assert change(admin_client, task, handler="shop.plain", description="x").status_code == 302
    task = Task.objects.get()
    assert (task.name, task.handler, task.description) == ("nightly", "shop.cleanup", "x")


def test_errors_of_read_only_fields_are_form_errors(admin_client: Client, make_task: Make) -> None:
    task = make_task("nightly", "shop.cleanup", "0 2 * * *", origin=Task.Origin.CODE)
    Task.objects.update(handler="shop.gone")
    response = change(admin_client, task, description="x")
    assert "handler: No handler is called 'shop.gone'." in errors_of(response)["__all__"][0]
    assert Task.objects.get().description == ""


@pytest.mark.parametrize(
    "gone_bad",
    [
        {"handler": "shop.gone"},
        {"schedule": "nonsense"},
        {"timezone": "Mars/Base"},
        {"payload": [1]},
        {"payload": {"gone": 1}},
        {"payload": None},
        {"name": "Bad Name"},
        {"declared": {"schedule": "* * * * *"}, "origin": "code"},
    ],
)
def test_a_row_that_went_bad_can_be_mended(
    admin_client: Client, make_task: Make, gone_bad: dict[str, Any]
) -> None:
    task = make_task("nightly", "shop.cleanup", "0 2 * * *")
    if gone_bad.get("payload", "") is None:
        gone_bad = {"payload": "null"}
    Task.objects.update(**gone_bad)
    assert admin_client.get(page("task_changelist")).status_code == 200
    response = admin_client.get(page("task_change", task.pk))
    assert response.status_code == 200
    for name in {"handler", "timezone"} & set(gone_bad):
        assert f'<option value="{gone_bad[name]}" selected>' in text(response)
    assert change(admin_client, task).status_code == 302
    assert Task.objects.get().problem() == ""


def test_an_invalid_row_says_so(admin_client: Client, make_task: Make) -> None:
    task = make_task("nightly", "shop.cleanup", "0 2 * * *")
    url = page("task_change", task.pk)
    Task.objects.update(schedule="nonsense")
    assert "Invalid: nonsense" in text(admin_client.get(page("task_changelist")))
    assert "Cannot run: " in text(admin_client.get(url))
    Task.objects.update(schedule="0 2 * * *", handler="shop.gone")
    assert "No handler is called &#x27;shop.gone&#x27;." in text(admin_client.get(url))


def test_two_handlers_with_one_key_break_no_page(
    admin_client: Client, make_task: Make, registry: HandlerRegistry
) -> None:
    task = make_task("nightly", "shop.cleanup", "0 2 * * *")

    @scheduled_task(name="shop.cleanup")
    def another() -> None: ...

    assert admin_client.get(page("task_change", task.pk)).status_code == 200
    assert admin_client.get(page("task_add")).status_code == 200
    assert "Two functions register" in errors_of(change(admin_client, task))["handler"][0]
    assert admin_client.get(page("task_run", task.pk)).status_code == 302


def test_a_payload_is_indented_and_echoed_as_typed(admin_client: Client, make_task: Make) -> None:
    task = make_task("nightly", "shop.cleanup", payload={"days": 7})
    laid_out = "{\n  &quot;days&quot;: 7\n}"
    assert laid_out in text(admin_client.get(page("task_change", task.pk)))
    assert "{days: 7" in text(change(admin_client, task, payload="{days: 7"))


def test_the_extremes_of_time_break_no_page(
    admin_client: Client, make_task: Make, settings: Any
) -> None:
    settings.TIME_ZONE = "Asia/Tokyo"
    task = make_task("last", "shop.plain", "at 9999-12-31 23:59", timezone="UTC")
    assert task.state.next_run_at.year == 9999
    assert "9999-12-31 23:59:00 UTC" in text(admin_client.get(page("task_changelist")))
    assert admin_client.get(page("task_change", task.pk)).status_code == 200


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


def test_a_save_keeps_concurrent_changes_to_other_fields(
    admin_client: Client, make_task: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = make_task("nightly", "shop.cleanup", "0 2 * * *")
    save = Task.save

    def meanwhile(self: Task, *args: Any, **options: Any) -> None:
        Task.objects.update(description="by sync", declared={"description": "by sync"})
        save(self, *args, **options)

    monkeypatch.setattr(Task, "save", meanwhile)
    assert change(admin_client, task, category="mail").status_code == 302
    task.refresh_from_db()
    assert (task.category, task.description) == ("mail", "by sync")
    assert task.declared == {"description": "by sync"}
