"""What code declares for a task: its schedule, its payload, and its policies."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder

from scheduled_tasks.exceptions import InvalidPayload, InvalidSchedule, InvalidTask
from scheduled_tasks.handlers.policies import MOMENTS, UNITS, PolicyOptions
from scheduled_tasks.handlers.retries import Retry, retry_of
from scheduled_tasks.schedules import Cron, Interval, Once, Schedule, parse


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """What code declares for one task. With the name None, the task is named like its handler."""

    handler: str
    name: str | None = None
    schedule: str = ""
    timezone: str | None = None
    anchor: str | None = None
    payload: Mapping[str, Any] = field(default_factory=dict)
    enabled: bool = True
    description: str = ""
    category: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    #: Those that code sets, as the columns hold them; moments as text.
    policies: Mapping[str, Any] = field(default_factory=dict)


class Options(PolicyOptions, total=False):
    """What code may declare for a task, in addition to its handler and schedule."""

    timezone: str | None
    payload: Mapping[str, Any]
    enabled: bool
    description: str
    category: str
    metadata: Mapping[str, Any]


#: The options that are not policies.
ABOUT_THE_TASK = tuple(
    name for name in Options.__annotations__ if name not in PolicyOptions.__annotations__
)
OPTIONS = (*ABOUT_THE_TASK, *PolicyOptions.__annotations__)


def declaration_of(
    caller: str, schedule: Schedule | str | None, name: str | None, options: Options
) -> Declaration:
    """Build a Declaration, with the schedule in its canonical text."""
    if unknown := sorted(set(options) - set(OPTIONS)):
        raise TypeError(
            f"{caller}() got an unexpected option {unknown[0]!r}; the options are "
            f"{', '.join(OPTIONS)}."
        )
    timezone, anchor = options.get("timezone"), None
    match schedule:
        case Interval(anchor=datetime() as moment):
            anchor = moment.isoformat()
        case Cron() | Once():
            timezone = timezone or schedule.timezone
        case None | str() | Schedule():
            pass
        case _:
            raise InvalidSchedule(
                f"{schedule!r} is not a schedule: use a text such as 'every 15 minutes', or a "
                "Cron, Interval or Once."
            )
    # UTC stands in for the project's time zone: settings may not be loaded yet.
    value = parse(str(schedule or ""), timezone or "UTC")
    given = as_fields({**options, "timezone": timezone})
    for key in MOMENTS:
        if given.get(key) is not None:
            given[key] = aware(key, given[key]).isoformat()
    if "description" in given:
        given["description"] = str(given["description"])  # it may be a lazy translation
    for key in ("payload", "metadata"):
        if key in given:
            given[key] = as_json(key, given[key])
    about = {name: given.pop(name) for name in ABOUT_THE_TASK if name in given}
    return Declaration(
        handler="",
        name=name,
        schedule=value.text if value else "",
        anchor=anchor,
        policies=given,
        **about,
    )


def as_json(option: str, value: Any) -> Any:
    """Return a value as JSON: dates and decimals become text.

    Raise InvalidPayload, by option, for a value without a JSON form.
    """
    allow_nan = option == "payload"  # the payload's own check has the better error message
    try:
        return json.loads(json.dumps(value, cls=DjangoJSONEncoder, allow_nan=allow_nan))
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidPayload({option: [f"cannot be written as JSON: {error}."]}) from None


def as_fields(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options as fields of a task: durations in seconds, ``retry`` as its four fields.

    Raise InvalidTask, by option, for fractions of a unit, which no column can store, and for an
    invalid ``retry``.
    """
    fields = {
        option: as_whole(option, value) if option in UNITS else value
        for option, value in options.items()
    }
    if "retry" in fields:
        fields |= retry_fields(retry_of(fields.pop("retry")))
    return fields


def refuse_error_classes(caller: str, retry: Any) -> None:
    """Raise TypeError for a Retry with exception classes: these belong to the handler."""
    if isinstance(retry, Retry) and (retry.retry_on or retry.give_up_on):
        raise TypeError(
            f"{caller}() does not accept retry_on and give_up_on: exception classes belong to the "
            "handler. Pass them to @scheduled_task."
        )


def retry_fields(retry: Retry) -> dict[str, Any]:
    return {
        "max_retries": retry.max_retries,
        "retry_delay": retry.delay,
        "retry_backoff": float(retry.backoff),
        "retry_max_delay": retry.max_delay,
    }


def as_whole(option: str, value: Any) -> Any:
    number = value
    if UNITS[option] == "seconds" and isinstance(value, timedelta):
        number = value.total_seconds()
    if not isinstance(number, float):
        return number  # the task's own validation refuses other types
    if not number.is_integer():
        raise InvalidTask({option: [f"must be a whole number of {UNITS[option]}, not {value}."]})
    return int(number)


def aware(option: str, moment: Any) -> datetime:
    if not isinstance(moment, datetime) or moment.utcoffset() is None:
        raise InvalidTask({option: [f"must be a datetime with a time zone, not {moment!r}."]})
    return moment
