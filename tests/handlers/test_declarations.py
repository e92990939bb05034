"""What code declares: schedules, options and payloads, and how they are refused."""

from __future__ import annotations

import copy
import pickle
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from scheduled_tasks import Cron, Interval, Once, declare, scheduled_task
from scheduled_tasks.exceptions import (
    InvalidPayload,
    InvalidSchedule,
    InvalidTask,
    ScheduledTasksError,
)
from scheduled_tasks.handlers.declarations import Declaration
from scheduled_tasks.handlers.registry import HandlerRegistry
from scheduled_tasks.schedules import Schedule, parse
from tests.support.functions import function_of

MIDNIGHT = datetime(2026, 3, 1, tzinfo=UTC)


def only(registry: HandlerRegistry) -> Declaration:
    [declaration] = registry.declarations
    return declaration


def test_the_decorator_returns_the_function_itself(registry: HandlerRegistry) -> None:
    function = function_of("shop.tasks")
    assert scheduled_task("0 2 * * *")(function) is function
    assert registry.get("shop.cleanup").function is function


def test_the_decorator_works_bare_and_called_without_arguments(registry: HandlerRegistry) -> None:
    bare = scheduled_task(function_of("shop.tasks", "bare"))
    called = scheduled_task()(function_of("shop.tasks", "called"))
    assert [bare.__name__, called.__name__] == ["bare", "called"]
    assert sorted(registry.handlers) == ["shop.bare", "shop.called"]
    assert {item.schedule for item in registry.declarations} == {""}


def test_called_as_a_function_it_takes_options(registry: HandlerRegistry) -> None:
    scheduled_task(function_of("shop.tasks"), name="a.b", queue="slow")  # type: ignore[call-overload]
    assert (only(registry).handler, only(registry).policies["queue"]) == ("a.b", "slow")


def test_all_options_are_noted(registry: HandlerRegistry) -> None:
    scheduled_task(
        "  0  2 * * mon ",
        name="nightly",
        timezone="Europe/Berlin",
        payload={"days": 3},
        enabled=False,
        description="Cleans.",
        category="cleanup",
        metadata={"team": "a"},
        queue="slow",
        priority=5,
        timeout=600,
        memory_limit_mb=512,
        executor="thread",
    )(function_of("shop.tasks"))
    assert only(registry) == Declaration(
        handler="nightly",
        name="nightly",
        schedule="0 2 * * MON",
        timezone="Europe/Berlin",
        payload={"days": 3},
        enabled=False,
        description="Cleans.",
        category="cleanup",
        metadata={"team": "a"},
        policies={
            "queue": "slow",
            "priority": 5,
            "timeout": 600,
            "memory_limit_mb": 512,
            "executor": "thread",
        },
    )


def test_a_description_comes_from_the_docstrings_first_paragraph(
    registry: HandlerRegistry,
) -> None:
    @scheduled_task(name="a")
    def documented() -> None: ...

    documented.__doc__ = "\n    Clean up\n    the   shop.\n\n    Not this.\n    "

    @scheduled_task(name="b")
    def silent() -> None: ...

    assert [item.description for item in registry.declarations] == ["Clean up the shop.", ""]


@pytest.mark.parametrize(
    ("schedule", "text", "timezone", "anchor"),
    [
        (Cron("0 2 * * *", timezone="Asia/Tokyo"), "0 2 * * *", "Asia/Tokyo", None),
        (Interval(timedelta(minutes=90)), "every 90 minutes", None, None),
        (
            Interval(timedelta(hours=1), anchor=MIDNIGHT),
            "every 1 hour",
            None,
            "2026-03-01T00:00:00+00:00",
        ),
        (
            Once(datetime(2030, 1, 1, 9), timezone="Asia/Tokyo"),
            "at 2030-01-01 09:00",
            "Asia/Tokyo",
            None,
        ),
        ("@every 15m", "every 15 minutes", None, None),
        ("", "", None, None),
        (None, "", None, None),
    ],
)
def test_a_schedule_is_a_text_or_a_value(
    registry: HandlerRegistry, schedule: Any, text: str, timezone: str | None, anchor: str | None
) -> None:
    scheduled_task(schedule)(function_of("shop.tasks"))
    noted = only(registry)
    assert (noted.schedule, noted.timezone, noted.anchor) == (text, timezone, anchor)


@pytest.mark.parametrize(
    "schedule",
    [
        Cron("0 2 * * *", timezone="UTC"),
        Once(datetime(2030, 1, 1, 9), timezone="UTC"),
        Once(datetime(2030, 1, 1, 9, tzinfo=UTC)),
        pickle.loads(pickle.dumps(Cron("0 2 * * *", timezone="UTC"))),
    ],
)
def test_two_zones_of_one_task_are_refused(registry: HandlerRegistry, schedule: Schedule) -> None:
    with pytest.raises(InvalidSchedule, match=r"zone UTC, and timezone= is Asia/Tokyo: give one"):
        scheduled_task(schedule, timezone="Asia/Tokyo")
    with pytest.raises(InvalidSchedule, match="give one of them"):
        declare("shop.cleanup", schedule, name="a", timezone="Asia/Tokyo")
    scheduled_task(schedule, timezone="UTC")(function_of("shop.tasks"))
    assert only(registry).timezone == "UTC"


@pytest.mark.parametrize(
    "schedule",
    [
        Cron("0 2 * * *"),
        Once(datetime(2030, 1, 1, 9)),
        Once.from_text("at 2030-01-01 09:00"),
        parse("0 2 * * *"),
        parse("at 2030-01-01 09:00"),
    ],
    ids=repr,
)
def test_a_schedule_may_leave_its_zone_open(registry: HandlerRegistry, schedule: Schedule) -> None:
    scheduled_task(copy.deepcopy(schedule), timezone="Asia/Tokyo")(function_of("shop.tasks"))
    declare("shop.cleanup", pickle.loads(pickle.dumps(schedule)), name="a")
    with_zone, without = registry.declarations
    assert (with_zone.timezone, without.timezone) == ("Asia/Tokyo", None)
    assert with_zone.schedule == without.schedule == schedule.text


def test_a_zone_is_a_name_whatever_the_schedule(registry: HandlerRegistry) -> None:
    for schedule in ("0 2 * * *", Cron("0 2 * * *"), Cron("0 2 * * *", timezone="Asia/Tokyo")):
        with pytest.raises(InvalidSchedule, match="given by its name, not by ZoneInfo"):
            scheduled_task(schedule, timezone=ZoneInfo("Asia/Tokyo"))  # type: ignore[call-overload]


@pytest.mark.parametrize(
    "schedule",
    ["nonsense", "61 * * * *", "every 0 minutes", "at noon", "* * * * * *", "\0", "x" * 100_000],
)
def test_a_bad_schedule_is_refused_at_the_decorator(
    registry: HandlerRegistry, schedule: str
) -> None:
    with pytest.raises(InvalidSchedule) as refused:
        scheduled_task(schedule)
    assert isinstance(refused.value, ValueError)
    assert isinstance(refused.value, ScheduledTasksError)
    assert len(str(refused.value)) < 500
    assert refused.traceback[0].path.name == "test_declarations.py"
    assert not registry.declarations


@pytest.mark.parametrize(
    "schedule", [5, 0, False, 1.5, timedelta(minutes=5), date(2030, 1, 1), b"* * * * *", [], {}]
)
def test_an_object_that_is_no_schedule_is_refused(registry: HandlerRegistry, schedule: Any) -> None:
    with pytest.raises(InvalidSchedule, match="is not a schedule: use a text such as 'every 15"):
        scheduled_task(schedule)
    with pytest.raises(InvalidSchedule, match="or a Cron, Interval or Once"):
        declare("shop.cleanup", schedule, name="a")


@pytest.mark.parametrize(
    "schedule", [None, "", "0 2 * * *", Cron("0 2 * * *"), Interval(timedelta(hours=1))]
)
def test_a_bad_zone_is_refused_with_any_schedule(registry: HandlerRegistry, schedule: Any) -> None:
    for zone in ("Europe/Berln", "Mars", "../etc/passwd", "\0", 5, "x" * 100_000):
        with pytest.raises(InvalidSchedule) as refused:
            scheduled_task(schedule, timezone=zone)  # type: ignore[arg-type]
        assert "zone" in str(refused.value)
        assert len(str(refused.value)) < 500


def test_an_unknown_option_names_the_function_called(
    registry: HandlerRegistry,
) -> None:
    with pytest.raises(
        TypeError,
        match=r"^scheduled_task\(\) takes no 'max_retries'. Did you mean 'retry'\? It takes time",
    ):
        scheduled_task("0 2 * * *", max_retries=3)  # type: ignore[call-overload]
    with pytest.raises(
        TypeError,
        match=r"^declare\(\) takes no 'anchor'. It takes timezone, ",
    ):
        declare("shop.cleanup", name="a", anchor="2026")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"takes no 'ancho'\..*takes no 'timeot'\. Did you mean"):
        declare("shop.cleanup", name="a", timeot=1, ancho=2)  # type: ignore[call-arg]
    for reserved in ("handler", "schedule"):
        with pytest.raises(TypeError, match=reserved):
            scheduled_task(**{reserved: "x"})  # type: ignore[call-overload]
    assert not registry.declarations


@pytest.mark.parametrize(
    ("timeout", "seconds"),
    [(timedelta(minutes=10), 600), (timedelta(seconds=1), 1), (90.0, 90), (5, 5), (None, None)],
)
def test_a_timeout_is_seconds_or_a_timedelta(
    registry: HandlerRegistry, timeout: Any, seconds: int | None
) -> None:
    scheduled_task(timeout=timeout)(function_of("shop.tasks"))
    declare("shop.cleanup", name="again", timeout=timeout)
    assert [item.policies["timeout"] for item in registry.declarations] == [seconds, seconds]


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("timeout", timedelta(milliseconds=1_500), "number of seconds, not 0:00:01.500000"),
        ("timeout", timedelta(microseconds=1), "number of seconds, not 0:00:00.000001"),
        ("timeout", 0.5, "number of seconds, not 0.5"),
        ("timeout", float("inf"), "number of seconds, not inf"),
        ("timeout", float("nan"), "number of seconds, not nan"),
        ("memory_limit_mb", 0.5, "number of megabytes, not 0.5"),
    ],
)
def test_a_limit_that_is_not_whole_is_refused(
    registry: HandlerRegistry, option: str, value: Any, says: str
) -> None:
    with pytest.raises(InvalidTask, match=f"^{option}: must be a whole {says}.$"):
        scheduled_task(**{option: value})
    with pytest.raises(InvalidTask, match=says):
        declare("shop.cleanup", name="a", **{option: value})
    assert not registry.declarations


def test_a_payload_of_dates_is_kept_as_json(registry: HandlerRegistry) -> None:
    day = date(2026, 3, 1)
    scheduled_task(payload={"day": day, "at": MIDNIGHT})(function_of("shop.tasks"))
    assert only(registry).payload == {"day": "2026-03-01", "at": "2026-03-01T00:00:00Z"}


def test_a_declared_payload_is_a_copy(
    registry: HandlerRegistry,
) -> None:
    payload = {"days": [1]}
    scheduled_task(payload=payload)(function_of("shop.tasks"))
    payload["days"].append(2)
    assert only(registry).payload == {"days": [1]}


def test_what_json_cannot_hold_is_refused_at_once(registry: HandlerRegistry) -> None:
    circular: list[Any] = []
    circular.append(circular)
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    for value, said in (
        (object(), "cannot be written as JSON: Object of type object"),
        (circular, "is nested more than 100 levels deep"),
        (deep, "is nested more than 100 levels deep"),
        ({object: 1}, "cannot be written as JSON: Object of type type"),
        ({1: "a", "1": "b"}, "cannot be written as JSON: two of its keys are the same text"),
        (10**5000, "has too large a number"),
        ("x" * 1_000_000, "has 1000009 characters as JSON"),
    ):
        with pytest.raises(InvalidPayload, match=f"payload: {said}"):
            scheduled_task(payload={"x": value})
        with pytest.raises(InvalidTask, match=f"metadata: {said}"):
            declare("shop.cleanup", name="a", metadata={"x": value})
    assert not registry.declarations
