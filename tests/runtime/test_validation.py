"""What runs report: whatever they put into a field, it is refused or can be stored and shown."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any, get_args
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduled_tasks.admin import display
from scheduled_tasks.operations.estimates import part_done
from scheduled_tasks.runtime.messages import Checkpoint, Counts, LogLine, Message, Progress
from scheduled_tasks.runtime.runs import Outcome
from scheduled_tasks.runtime.validation import (
    MAX_CLOCK_ERROR,
    MAX_COUNT,
    MAX_DURATION_MS,
    MAX_LEVEL,
    MAX_MOMENT,
    MAX_PROGRESS,
    MIN_MOMENT,
    InvalidReportError,
    checked_message,
    checked_outcome,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
BEGUN = NOW - timedelta(seconds=5)
LINE = LogLine(logged_at=NOW, level=20, logger="shop", message="sold")
OUTCOME = Outcome(
    execution_id=1, attempt=1, status="success", started_at=BEGUN, finished_at=NOW, duration_ms=5000
)
MESSAGES = (LINE, Progress(done=1), Counts(), Checkpoint(value=1))
anything = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([10**400, -(10**400), 2**63, -1, math.nan, math.inf, -math.inf, 1e308])
    | st.floats()
    | st.text(max_size=40)
    | st.binary(max_size=3)
    | st.datetimes(timezones=st.none() | st.just(UTC))
    | st.lists(st.none(), max_size=1)
)


@given(st.sampled_from(MESSAGES), st.data())
def test_any_message_is_refused_or_fits(message: Message, data: Any) -> None:
    name = data.draw(st.sampled_from([field.name for field in fields(message)]))
    try:
        checked = checked_message(replace(message, **{name: data.draw(anything)}))
    except InvalidReportError as error:
        flaw = str(error)
        assert flaw.startswith(f"{name} is ")
        assert len(flaw) < 250
        return
    match checked:
        case LogLine():
            assert 0 <= checked.level <= MAX_LEVEL
            assert MIN_MOMENT <= checked.logged_at <= MAX_MOMENT
            checked.logged_at.astimezone(ZoneInfo("Pacific/Kiritimati"))
        case Counts():
            assert 0 <= checked.processed <= MAX_COUNT
            assert 0 <= checked.errors <= MAX_COUNT
        case Progress():
            shown = {"done": checked.done, "total": checked.total, "text": checked.text}
            assert display.progress_bar(shown, part_done(shown))
    assert checked_message(checked) == checked


@given(st.data())
def test_any_outcome_is_refused_or_fits(data: Any) -> None:
    names = [field.name for field in fields(Outcome) if field.name not in ("result", "complete")]
    changes = {data.draw(st.sampled_from(names)): data.draw(anything) for _ in range(2)}
    try:
        checked = checked_outcome(replace(OUTCOME, **changes), earliest=BEGUN, now=NOW)
    except InvalidReportError:
        return
    assert 0 <= checked.duration_ms <= MAX_DURATION_MS
    assert checked.started_at <= checked.finished_at
    assert display.duration(checked.duration_ms)


@pytest.mark.parametrize(
    ("changes", "times"),
    [
        ({"duration_ms": -1}, (BEGUN, NOW, 5000)),
        ({"duration_ms": 2**62}, (BEGUN, NOW, 5000)),
        ({"duration_ms": 4000}, (BEGUN, NOW, 4000)),
        ({"started_at": NOW + timedelta(seconds=1)}, (BEGUN, NOW, 5000)),
        ({"finished_at": BEGUN - timedelta(seconds=1)}, (BEGUN, NOW, 5000)),
        ({"started_at": datetime(1601, 1, 1, tzinfo=UTC)}, (BEGUN, NOW, 5000)),
        ({"finished_at": NOW + 2 * MAX_CLOCK_ERROR}, (BEGUN, NOW, 5000)),
        ({"finished_at": NOW + MAX_CLOCK_ERROR}, (BEGUN, NOW + MAX_CLOCK_ERROR, 5000)),
    ],
    ids=str,
)
def test_impossible_times_are_replaced_by_the_workers(
    changes: dict[str, Any], times: tuple[datetime, datetime, int]
) -> None:
    outcome = checked_outcome(replace(OUTCOME, **changes), earliest=BEGUN, now=NOW)
    assert (outcome.started_at, outcome.finished_at, outcome.duration_ms) == times
    assert outcome.status == "success"


def test_a_clock_set_back_gives_no_negative_time() -> None:
    outcome = checked_outcome(OUTCOME, earliest=NOW + timedelta(days=1), now=NOW)
    assert outcome.finished_at >= outcome.started_at


@pytest.mark.parametrize(
    ("given", "done", "total"),
    [
        (Progress(done=math.nan, total=math.nan), 0, None),
        (Progress(done=math.inf, total=-math.inf), 0, None),
        (Progress(done=10**400, total=10**400), MAX_PROGRESS, MAX_PROGRESS),
        (Progress(done=-(10**400), total=0.5), -MAX_PROGRESS, 0.5),
    ],
    ids=["nan", "inf", "huge", "negative"],
)
def test_a_progress_can_always_be_calculated_with(
    given: Progress, done: float, total: float | None
) -> None:
    assert checked_message(given) == Progress(done=done, total=total)


@pytest.mark.parametrize("kind", [*get_args(Message), Outcome])
def test_every_kind_of_report_is_checked(kind: type[Any]) -> None:
    names = [field.name for field in fields(kind) if field.name not in ("value", "answer")]
    if names:
        with pytest.raises(InvalidReportError, match="is of the kind object"):
            checked_message(kind(**dict.fromkeys(names, object())))
