"""Time zones: of schedules, of the times next to them, and of what is typed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from scheduled_tasks.admin.typed_times import ZONE_FIELD
from scheduled_tasks.models import Pause, Task
from tests.admin.pages import act, as_typed, page, task_data, text

pytestmark = pytest.mark.any_database

Make = Callable[..., Any]

RIGA = {ZONE_FIELD: "Europe/Riga"}
TYPED = datetime(2026, 3, 8, 10, 0)
#: The same in Riga, two hours ahead, as it is stored.
STORED = datetime(2026, 3, 8, 8, 0, tzinfo=UTC)


OWN = '<span class="st-schedule-zone" data-zone="UTC"'


@pytest.mark.parametrize(
    ("schedule", "zone", "shown_in", "shown"),
    [
        ("20 3 * * *", "UTC", "UTC", f"{OWN} hidden>UTC</span>"),
        ("20 3 * * *", "UTC", "Europe/Riga", f"{OWN}>UTC</span>"),
        ("20 3 * * *", "Europe/Riga", "UTC", "At 03:20 (Europe/Riga)</span>"),
        ("every 1 hour", "Europe/Riga", "UTC", "Every hour</span>"),
        ("", "Europe/Riga", "UTC", "Manual only</span>"),
    ],
)
def test_a_schedule_names_its_zone_beside_others(  # noqa: PLR0917
    admin_client: Client, make_task: Make, schedule: str, zone: str, shown_in: str, shown: str
) -> None:
    task = make_task("a", "shop.plain", schedule, timezone=zone)
    with timezone.override(shown_in):
        for url in (page("task_changelist"), page("task_change", task.pk)):
            said = text(admin_client.get(url))
            assert shown in said
            assert said.count("st-schedule-zone") == (zone == "UTC")


def test_an_invalid_schedule_names_no_zone(admin_client: Client, make_task: Make) -> None:
    make_task("a", "shop.plain", "20 3 * * *")
    Task.objects.update(schedule="nonsense")
    assert "st-schedule-zone" not in text(admin_client.get(page("task_changelist")))


def test_times_are_read_in_the_browsers_zone(admin_client: Client, make_task: Make) -> None:
    task = make_task("nightly", "shop.cleanup")
    typed = as_typed(paused_until=TYPED, starts_at=TYPED)
    url = page("task_change", task.pk)
    assert admin_client.post(url, task_data(**typed, **RIGA)).status_code == 302
    task.refresh_from_db()
    assert (task.paused_until, task.starts_at) == (STORED, STORED)

    typed = as_typed(paused_until=TYPED + timedelta(days=1))
    act(admin_client, "pause", task, pause="Pause", **typed, **RIGA)
    task.refresh_from_db()
    assert task.paused_until == STORED + timedelta(days=1)

    admin_client.post(page("pause_add"), {**as_typed(until=TYPED), **RIGA, "reason": ""})
    assert Pause.objects.get().until == STORED


@pytest.mark.parametrize("zone", ["", "Mars/Olympus", "../../etc/passwd", "\0", "x" * 10_000])
def test_without_a_known_zone_times_are_djangos(
    admin_client: Client, make_task: Make, zone: str
) -> None:
    task = make_task("nightly", "shop.cleanup")
    posted = task_data(**as_typed(starts_at=TYPED), **{ZONE_FIELD: zone})
    with timezone.override("Europe/Riga"):
        assert admin_client.post(page("task_change", task.pk), posted).status_code == 302
    task.refresh_from_db()
    assert task.starts_at == STORED


@pytest.mark.parametrize("typed", [datetime(2026, 3, 29, 3, 30), datetime(2026, 10, 25, 3, 30)])
def test_times_that_no_clock_shows_once_are_refused(
    admin_client: Client, make_task: Make, typed: datetime
) -> None:
    task = make_task("nightly", "shop.cleanup")
    posted = task_data(**as_typed(starts_at=typed), **RIGA)
    changed = admin_client.post(page("task_change", task.pk), posted)
    everything = admin_client.post(page("pause_add"), as_typed(until=typed) | RIGA)
    tasks = act(admin_client, "pause", task, pause="Go", **as_typed(paused_until=typed), **RIGA)
    for answer in (changed, everything, tasks):
        [errors] = answer.context["adminform"].form.errors.values()
        assert "in time zone Europe/Riga; it may be ambiguous or it may not exist" in errors[0]
    assert not Pause.objects.exists()


def test_a_stored_time_that_comes_twice_stays(admin_client: Client, make_task: Make) -> None:
    second = datetime(2026, 10, 25, 1, 30, tzinfo=UTC)  # 03:30 in Riga for the second time
    task = make_task("nightly", "shop.cleanup", starts_at=second)
    shown = as_typed(starts_at=second + timedelta(hours=2))
    posted = task_data(category="mail", **shown, **RIGA)
    assert admin_client.post(page("task_change", task.pk), posted).status_code == 302
    task.refresh_from_db()
    assert (task.category, task.starts_at) == ("mail", second)


def test_inputs_say_their_zone_and_their_moment(admin_client: Client, make_task: Make) -> None:
    task = make_task("nightly", "shop.cleanup", starts_at=STORED)
    url = page("task_change", task.pk)
    said = text(admin_client.get(url))
    assert f'data-instant="{STORED.isoformat()}"' in said
    assert '<span class="st-typed-zone">UTC</span>' in said
    # What was typed before an error is in the zone in which it was typed.
    refused = task_data(handler="", **as_typed(starts_at=TYPED), **RIGA)
    said = text(admin_client.post(url, refused))
    assert 'value="10:00:00"' in said
    assert 'data-instant="2026' not in said
