"""What is scheduled: the next slots of a task, and assertions about them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.test import override_settings

from scheduled_tasks import Interval, declare, disable_task, get_task, register_task, scheduled_task
from scheduled_tasks.exceptions import UnknownTask
from scheduled_tasks.handlers.registry import HandlerRegistry
from scheduled_tasks.lifecycle.parking import park
from scheduled_tasks.models import Task
from scheduled_tasks.testing import assert_not_scheduled, assert_scheduled, upcoming
from scheduled_tasks.testing.moments import moment_of

pytestmark = pytest.mark.django_db

TWICE = "2026-10-25 02:30:00 occurs twice in Europe/Berlin: give the offset"


@pytest.fixture(autouse=True)
def handlers(registry: HandlerRegistry) -> None:
    @scheduled_task("30 2 * * *", name="nightly", timezone="Europe/Berlin")
    def nightly() -> None: ...


def test_a_declared_task_is_found_by_several_names() -> None:
    @scheduled_task("30 2 * * *", timezone="Europe/Berlin")
    def early() -> None: ...

    for name in ("nightly", "early", "tests.early"):
        assert upcoming(name, 2, after="2026-03-01 12:00+00:00") == [
            datetime(2026, 3, 2, 1, 30, tzinfo=UTC),
            datetime(2026, 3, 3, 1, 30, tzinfo=UTC),
        ]
    assert all(slot.tzinfo is UTC for slot in upcoming("nightly", 3))
    with pytest.raises(UnknownTask):
        upcoming("nigtly")


def test_an_additional_declaration_is_found_by_its_name() -> None:
    declare("nightly", "0 4 * * *", name="once-more", timezone="UTC")
    assert_scheduled("once-more", "2026-03-01 04:00+00:00", after="2026-03-01 00:00+00:00")


def test_the_default_is_what_comes_after_now() -> None:
    [slot] = upcoming("nightly")
    assert datetime.now(UTC) < slot <= datetime.now(UTC) + timedelta(days=1)
    assert_scheduled("nightly", slot)


def test_a_change_of_clocks() -> None:
    assert_scheduled(
        "nightly",
        "2026-03-28 02:30+01:00",
        "2026-03-29 03:00+02:00",  # 02:30 is skipped: it runs right after
        "2026-03-30 02:30+02:00",
        after="2026-03-27 12:00+01:00",
    )
    with override_settings(TIME_ZONE="Europe/Berlin"):
        assert_scheduled("nightly", "2026-10-26 02:30", after="2026-10-25 02:30+02:00")


def test_other_slots_are_told_in_the_tasks_zone() -> None:
    with pytest.raises(AssertionError) as raised:
        assert_scheduled("nightly", "2026-06-02 02:30+00:00", after="2026-06-01 12:00+00:00")
    assert str(raised.value) == (
        "nightly is scheduled for 2026-06-02 02:30:00 CEST, not for 2026-06-02 04:30:00 CEST."
    )
    register_task("manual", "nightly")
    with pytest.raises(AssertionError, match="manual is scheduled for nothing, not for 2026-06-0"):
        assert_scheduled("manual", "2026-06-02 02:30+00:00")
    with pytest.raises(TypeError, match="at least one"):
        assert_scheduled("nightly")


def test_slots_that_there_are_not() -> None:
    assert_not_scheduled("nightly", "2026-06-02 02:31+02:00", "2026-06-02 02:30+00:00")
    with pytest.raises(AssertionError, match=r"scheduled for 2026-06-02 02:30:00 CEST\.$"):
        assert_not_scheduled("nightly", "2026-06-02 02:30+00:00", "2026-06-02 02:30+02:00")
    with pytest.raises(AssertionError, match="nightly is scheduled for 2026-06-02"):
        assert_not_scheduled("nightly", after="2026-06-01 12:00+00:00")
    with pytest.raises(TypeError, match="either moments or after="):
        assert_not_scheduled("nightly", "2026-06-02", after="2026-06-01")
    register_task("over", "nightly", "0 0 * * *", ends_at=datetime(2026, 6, 2, tzinfo=UTC))
    assert_not_scheduled("over", after="2026-06-02 00:00+00:00")


def test_what_keeps_a_task_from_firing() -> None:
    disabled = upcoming("nightly", 2)
    disable_task("nightly")
    assert upcoming("nightly", 2) == []
    Task.objects.update(enabled=True, paused_until=disabled[1])
    assert upcoming("nightly", 1) == [disabled[1]]
    Task.objects.update(paused_until=None)
    park(get_task("nightly").state, "Its handler is gone.", datetime.now(UTC), using="default")
    assert upcoming("nightly", 2) == []


def test_an_interval_counts_from_its_anchor() -> None:
    anchor = datetime(2026, 1, 1, 0, 10, tzinfo=UTC)
    register_task("often", "nightly", Interval(timedelta(hours=6), anchor=anchor))
    assert_scheduled("often", "2026-01-01 12:10+00:00", after="2026-01-01 06:10+00:00")


@override_settings(TIME_ZONE="Europe/Berlin")
@pytest.mark.parametrize(
    ("given", "moment"),
    [
        ("2026-03-28 12:00", datetime(2026, 3, 28, 11, tzinfo=UTC)),
        ("2026-03-28T12:00:00+00:00", datetime(2026, 3, 28, 12, tzinfo=UTC)),
        ("2026-07-01", datetime(2026, 6, 30, 22, tzinfo=UTC)),
        (datetime(2026, 7, 1), datetime(2026, 6, 30, 22, tzinfo=UTC)),
        (datetime(2026, 7, 1, tzinfo=UTC), datetime(2026, 7, 1, tzinfo=UTC)),
        ("2026-10-25 02:30+01:00", datetime(2026, 10, 25, 1, 30, tzinfo=UTC)),
    ],
)
def test_moments_are_in_the_projects_zone(given: str | datetime, moment: datetime) -> None:
    assert moment_of(given) == moment
    assert moment_of(given).tzinfo is UTC


@override_settings(TIME_ZONE="Europe/Berlin")
@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("tomorrow", "'tomorrow' is not a moment: write it like '2026-03-28 12:00'."),
        (
            "2026-02-30 12:00",
            "'2026-02-30 12:00' is not a moment: write it like '2026-03-28 12:00'.",
        ),
        (12, "12 is not a moment: write it like '2026-03-28 12:00'."),
        (
            "2026-03-29 02:30",
            "2026-03-29 02:30:00 does not exist in Europe/Berlin: the clocks skip it.",
        ),
        (datetime(2026, 10, 25, 2, 30), f"{TWICE}, as in '2026-10-25 02:30:00+02:00'."),
    ],
)
def test_an_invalid_moment_is_refused_with_one_sentence(given: str | datetime, said: str) -> None:
    with pytest.raises(ValueError) as raised:  # noqa: PT011 -- the whole of it is compared
        moment_of(given)
    assert str(raised.value) == said
