"""The form of a task: what it shows and what it offers."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.contrib.admin.utils import flatten
from django.test import Client

from scheduled_tasks.executors import EXECUTORS
from scheduled_tasks.models import Task
from scheduled_tasks.models.policies import Policies
from tests.admin.forms import change
from tests.admin.pages import page, text

Make = Callable[..., Any]


def test_every_policy_has_its_place_on_the_page(admin_client: Client) -> None:
    form = admin_client.get(page("task_add")).context["adminform"]
    shown = [name for _, options in form.fieldsets for name in flatten(options["fields"])]
    assert sorted(shown) == sorted(set(shown))
    assert {*Policies.DECLARED_FIELDS, *Policies.MOMENTS, "pause_reason"} <= set(shown)
    assert set(form.form.fields) == set(shown)


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
