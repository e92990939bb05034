"""Hostile query strings and ids: an answer or a sentence, and never what is redacted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scheduled_tasks.lifecycle.changes import record_change
from scheduled_tasks.models import Execution, Task
from tests.admin.pages import listed, messages, page, say, text, tried

Make = Callable[..., Any]
Staff = Callable[..., Client]

LISTS = (
    "task_changelist",
    "execution_changelist",
    "deadletter_changelist",
    "taskchange_changelist",
    "worker_changelist",
    "pause_changelist",
    "alert_changelist",
    "maintenancewindow_changelist",
)
#: Parameters that Django or a filter of ours reads.
PARAMETERS = (
    *("q", "p", "o", "e", "all", "_facets", "_popup", "_to_field", "_source_model", "index"),
    *("_changelist_filters", "term", "page", "field_name", "app_label", "model_name"),
    *("status", "status__exact", "status__in", "trigger__exact", "test_mode__exact", "task"),
    *("cause", "dead", "queue", "enabled__exact", "parked", "paused", "last_status", "category"),
    *("origin__exact", "action__exact", "state__exact", "id", "pk", "id__gte", "slot__gte"),
    *("payload__password", "short_error", "starts_at", "paused_until", "until", "name", "x"),
    *("open", "condition__exact", "severity__exact", "severity", "ends_at"),
)
VALUES = (
    *("", "0", "1", "-1", "9" * 19, "9" * 29, "9" * 5_000, "1_2", "1.5", "\u0661", "²", "True"),
    *("\0", "a\0b", "%", "%%%", "'", '"', "\\", "';--", "a" * 10_240, "a " * 5_000, "%" * 30_000),
    *("failed", "-", ".", "-1.2.-3", "2026-02-30", "9999-12-31", "0000-00-00 25:61", "[]", "{}"),
    *("\u202e", "\ud7ff", "🙂", "\n\r\t", "id", "state", "Task", "scheduled_tasks", "execution"),
)
IDS = ("0", "-1", str(10**30), "abc", "\0", "1_2", "_5F", "²", " 1", "1/2", "9" * 5_000)

#: Lookups that would tell a secret, character by character.
TELLING = {
    "task_changelist": (
        *("payload__password__startswith", "metadata__token__contains", "declared__payload"),
        *("changes__fields__payload__contains", "executions__error__contains", "description"),
        *("state__parked_reason__startswith", "pause_reason__startswith", "payload", "name__gte"),
    ),
    "execution_changelist": (
        *("payload__password__startswith", "payload", "payload__has_key", "result__token"),
        *("error__contains", "traceback__regex", "checkpoint__token", "reason__startswith"),
        *("log_lines__message__contains", "attempts__traceback__contains", "resolution__gte"),
        *("short_error__startswith", "short_reason__startswith", "task__payload__password"),
        *("task__declared__payload__password", "requeue_of__payload__password", "status__gte"),
    ),
    "taskchange_changelist": (
        *("fields__payload__contains", "short_fields__startswith", "reason__contains"),
        *("task__payload__password__startswith", "task__executions__error__contains"),
    ),
    "worker_changelist": ("handlers__contains", "queues__0", "host__startswith"),
    "pause_changelist": ("reason__startswith", "begun_by"),
    "alert_changelist": (
        *("message__startswith", "short_message__startswith", "details__token", "open_key"),
        *("deliveries__target__startswith", "deliveries__error__contains", "severity__gte"),
        *("task__payload__password__startswith", "cleared_because__contains"),
    ),
    "maintenancewindow_changelist": (
        *("reason__startswith", "created_by", "task__payload__password__startswith"),
    ),
}


@pytest.mark.any_database
@pytest.mark.parametrize(
    ("view", "lookup"), [(view, lookup) for view in TELLING for lookup in TELLING[view]]
)
def test_lookups_that_no_filter_offers_are_refused(
    admin_client: Client, make_task: Make, make_execution: Make, view: str, lookup: str
) -> None:
    secret = {"password": "hunter2"}
    make_execution(make_task("a", "shop.plain", metadata=secret), payload=secret, error="hunter2")
    for lookup_ in (lookup, f"{lookup}__in", f"{lookup}__isnull"):
        assert admin_client.get(page(view), {lookup_: "h"}).status_code == 400


def test_a_viewer_learns_no_secret_from_choices(staff: Staff, make_task: Make) -> None:
    make_task("a", "shop.plain", metadata={"password": "hunter2"})
    client = staff("view_task", "view_execution")
    source = {"app_label": "scheduled_tasks", "model_name": "execution", "field_name": "task"}
    for term, found in (("a", ["a"]), ("hunter2", []), ("\0", []), ("%" * 30_000, [])):
        answer = client.get("/admin/autocomplete/", {**source, "term": term})
        assert [row["text"] for row in answer.json()["results"]] == found


@pytest.fixture
def addresses(  # noqa: PLR0917
    admin_client: Client,
    make_task: Make,
    make_execution: Make,
    make_worker: Make,
    make_alert: Make,
    make_window: Make,
) -> list[str]:
    """Return the addresses of all pages, without the query string."""
    task = make_task("nightly", "shop.cleanup")
    dead = make_execution(task, status="failed", error="x")
    tried(dead, 1)
    say(dead, "line")
    record_change(task, "changed", dead.created_at, fields={"priority": (0, 1)}, using="default")
    worker = make_worker()
    change = task.changes.first()
    alert, window = make_alert(task), make_window(task=task)
    return [
        *map(page, LISTS),
        *(page(f"{model}_add") for model in ("task", "pause", "maintenancewindow")),
        *(page(f"alert_{view}", alert.pk) for view in ("change", "history")),
        *(page(f"maintenancewindow_{view}", window.pk) for view in ("change", "history", "delete")),
        page("alert_test"),
        *(page(f"task_{view}", task.pk) for view in ("change", "history", "run", "delete")),
        *(page(f"execution_{view}", dead.pk) for view in ("change", "history", "log", "delete")),
        *(page(f"execution_{view}", dead.pk) for view in ("cancel", "resolve", "requeue_payload")),
        *(page(f"deadletter_{view}", "-") for view in ("requeue", "resolve")),
        page("worker_change", worker.pk),
        page("taskchange_change", change.pk),
        "/admin/autocomplete/",
        "/admin/scheduled_tasks/",
    ]


def test_no_query_string_is_an_error(admin_client: Client, addresses: list[str]) -> None:
    pairs = st.tuples(
        st.sampled_from(PARAMETERS), st.sampled_from(VALUES) | st.text(max_size=20)
    ).map(lambda pair: urlencode([pair], errors="replace"))
    broken = st.sampled_from(["%ff=%fe", "status__exact=%ed%a0%80", "q=%c3", "&&==", "p", "%00"])

    @settings(
        max_examples=60,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.sampled_from(addresses), st.lists(pairs | broken, min_size=1, max_size=4))
    def ask(address: str, query: list[str]) -> None:
        answer = admin_client.get(f"{address}?{'&'.join(query)}")
        assert answer.status_code in {200, 302, 400, 403, 404}
        b"".join(answer) if answer.streaming else answer.content

    ask()


@pytest.mark.parametrize("view", ["change", "delete"])
def test_an_empty_field_means_the_id(admin_client: Client, make_task: Make, view: str) -> None:
    task = make_task("a", "shop.plain")
    assert admin_client.get(page(f"task_{view}", task.pk), {"_to_field": ""}).status_code == 200


@pytest.mark.parametrize("value", ["\0", "9" * 29, "-1", "%"], ids=["null", "long", "-1", "%"])
def test_each_filter_takes_each_value(
    admin_client: Client, make_task: Make, make_execution: Make, value: str
) -> None:
    make_execution(make_task("a", "shop.plain", queue="slow", category="mail"), status="failed")
    make_task("b", "shop.plain")
    for view in LISTS:
        context = admin_client.get(page(view)).context
        filters = context["cl"].filter_specs if "cl" in context else []
        names = {name for spec in filters for name in spec.expected_parameters()}
        for name in sorted(names | {"q", "p", "o"}):
            answer = admin_client.get(page(view), {name: value})
            assert answer.status_code in {200, 302}, (view, name)


@pytest.mark.parametrize("pk", IDS, ids=range(len(IDS)))
def test_no_id_is_an_error(admin_client: Client, addresses: list[str], pk: str) -> None:
    models = ("task", "execution", "worker", "pause", "taskchange", "alert", "maintenancewindow")
    for model in models:
        for view in ("change", "history", "delete"):
            for quoted in {quote(pk, safe=""), quote(pk)}:
                url = f"/admin/scheduled_tasks/{model}/{quoted}/{view}/"
                for answer in (admin_client.get(url), admin_client.post(url)):
                    assert answer.status_code in {302, 403, 404}
    for view in ("run", "log", "cancel", "requeue", "requeue/payload", "resolve", "end"):
        for model in ("task", "execution", "maintenancewindow"):
            url = f"/admin/scheduled_tasks/{model}/{quote(pk, safe='')}/{view}/"
            assert admin_client.get(url).status_code in {302, 404, 405}
    assert Task.objects.count() == Execution.objects.count() == 1


def test_an_unusable_address_shows_all_rows_and_why(admin_client: Client, make_task: Make) -> None:
    make_task("a", "shop.plain")
    for query, why in (
        ("?origin__exact=%00", "null character"),
        ("?q=" + "a" * 201, "Search for at most 200 characters."),
        ("?category=" + "a" * 501, "too long"),
    ):
        answer = admin_client.get(page("task_changelist") + query)
        assert answer.url == page("task_changelist")
        assert why in messages(answer)[-1]
    answer = admin_client.get(page("task_changelist") + "?enabled__exact=x", follow=True)
    assert "This list has no such filter, value or page." in text(answer)
    assert listed(admin_client, "task_changelist", "?e=1") == ["a"]
