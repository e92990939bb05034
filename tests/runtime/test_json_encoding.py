"""What a handler stores as JSON comes back as it went in."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from django.utils.dateparse import parse_duration
from django.utils.functional import lazystr

from scheduled_tasks import TaskContext
from scheduled_tasks.handlers.declarations import as_json
from scheduled_tasks.handlers.registry import HandlerRegistry
from scheduled_tasks.runtime.json_encoding import ExactJSONEncoder
from scheduled_tasks.runtime.sanitizing import redacted_json, sanitized_json, strict_json
from scheduled_tasks.testing import run_handler

WAYS: dict[str, Callable[[Any], Any]] = {
    "payload": lambda value: as_json("payload", value),
    "result": sanitized_json,
    "shown": redacted_json,
    "checkpoint": strict_json,
}
ODD_OFFSET = timezone(timedelta(hours=5, minutes=53, seconds=28))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("value", "read"),
    [
        (datetime(2026, 1, 31, 9, 0, 0, 123456, tzinfo=UTC), datetime.fromisoformat),
        (datetime(2026, 1, 31, 9, 0, 0, 1, tzinfo=UTC), datetime.fromisoformat),
        (datetime(2026, 1, 31, 9, 0, tzinfo=UTC), datetime.fromisoformat),
        (datetime(2026, 1, 31, 9, 0, 0, 999999), datetime.fromisoformat),
        (datetime(1890, 1, 31, 9, 0, 0, 654321, tzinfo=ODD_OFFSET), datetime.fromisoformat),
        (
            datetime(2026, 10, 25, 2, 30, 0, 7, ZoneInfo("Europe/Berlin"), fold=1),
            datetime.fromisoformat,
        ),
        (datetime(1, 1, 1, 0, 0, 0, 1, tzinfo=UTC), datetime.fromisoformat),
        (date(2026, 1, 31), date.fromisoformat),
        (time(9, 30, 0, 123456), time.fromisoformat),
        (time(9, 30, 0, 123456, tzinfo=ODD_OFFSET), time.fromisoformat),
        (timedelta(days=1, microseconds=1), parse_duration),
        (timedelta(microseconds=-1), parse_duration),
        (Decimal("1.10"), Decimal),
        (Decimal("1E+30"), Decimal),
        (UUID(int=7), UUID),
        (lazystr("later"), str),
    ],
)
def test_a_value_comes_back_as_it_was(way: str, value: Any, read: Callable[[str], Any]) -> None:
    stored = WAYS[way]({"last": [value]})
    assert in_utc(read(stored["last"][0])) == in_utc(value)


def in_utc(value: Any) -> Any:
    """Return an aware datetime in UTC: in a fold, it equals no moment of another zone."""
    aware = isinstance(value, datetime) and value.tzinfo is not None
    return value.astimezone(UTC) if aware else value


def test_utc_is_written_with_a_letter() -> None:
    text = json.dumps(datetime(2026, 1, 31, tzinfo=UTC), cls=ExactJSONEncoder)
    assert text == '"2026-01-31T00:00:00Z"'


def test_a_run_receives_and_returns_each_microsecond(registry: HandlerRegistry) -> None:
    moment = datetime(2026, 1, 31, 9, 0, 0, 123456, tzinfo=UTC)

    def resume(context: TaskContext, *, since: datetime) -> dict[str, Any]:
        context.checkpoint = {"last": since}
        return {"since": since, "same": since == moment}

    registry.register(resume)
    run = run_handler(resume, {"since": moment})
    assert run.result == {"since": "2026-01-31T09:00:00.123456Z", "same": True}
    assert run.checkpoint == {"last": "2026-01-31T09:00:00.123456Z"}
