"""What code declares for a task: its schedule, its payload, and its policies."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.utils.functional import Promise

from scheduled_tasks.exceptions import (
    InvalidPayload,
    InvalidSchedule,
    InvalidTask,
    UnknownOption,
)
from scheduled_tasks.handlers.payloads.json_values import MAX_JSON_LENGTH, TOO_DEEP, type_name
from scheduled_tasks.handlers.payloads.python_values import as_plain
from scheduled_tasks.handlers.policies import MOMENTS, UNITS, PolicyOptions
from scheduled_tasks.handlers.retries import Retry, retry_of, whole_seconds
from scheduled_tasks.mistakes import nearest
from scheduled_tasks.runtime.json_encoding import ExactJSONEncoder
from scheduled_tasks.runtime.sanitizing import safe_repr
from scheduled_tasks.schedules import Cron, Interval, Once, Schedule, parse
from scheduled_tasks.schedules.zones import FIRST_YEAR, LAST_YEAR, DefaultZone


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


#: Of a value in a sentence, in characters.
MAX_SHOWN_LENGTH = 100
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
        raise unknown_options(caller, unknown, OPTIONS)
    if not isinstance(name, str | None):
        raise InvalidTask({"name": [f"must be text, not {safe_repr(name, limit=100)}."]})
    own = schedule_fields(schedule, options.get("timezone"))
    timezone, anchor = options.get("timezone") or own.get("timezone"), own.get("anchor")
    # UTC stands in for the project's time zone: settings may not be loaded yet.
    value = parse(own["schedule"], timezone or "UTC")
    given = as_fields({**options, "timezone": timezone})
    for key in MOMENTS:
        if given.get(key) is not None:
            given[key] = aware(key, given[key]).isoformat()
    if isinstance(given.get("description"), Promise):
        given["description"] = str(given["description"])  # a lazy translation
    for key in ("payload", "metadata"):
        if key in given:
            given[key] = as_json(key, given[key])
    about = {name: given.pop(name) for name in ABOUT_THE_TASK if name in given}
    return Declaration(
        handler="",
        name=name,
        schedule=value.text if value else "",
        anchor=anchor and anchor.isoformat(),
        policies=given,
        **about,
    )


def unknown_options(caller: str, given: Sequence[str], known: Sequence[str]) -> UnknownOption:
    """Return the error for options that a function does not take, with those that were meant."""
    said = " ".join(f"{caller}() takes no {option!r}.{meant(option, known)}" for option in given)
    return UnknownOption(f"{said} It takes {', '.join(known)}.")


def meant(option: str, known: Sequence[str]) -> str:
    stands_for_it = ["retry"] if option in retry_fields(Retry()) else []
    near = stands_for_it or nearest(option, known)
    return f" Did you mean {near[0]!r}?" if near else ""


def schedule_fields(schedule: object, timezone: object) -> dict[str, Any]:
    """Return the fields that a schedule sets: its text, and the anchor or time zone of a value.

    A Cron or Once that was made without a time zone sets none, like a text. ``timezone`` is what
    the caller gives besides. Raise InvalidSchedule for anything but a schedule, and for a Cron or
    Once with a time zone of its own that differs.
    """
    match schedule:
        case None:
            return {"schedule": ""}
        case Interval(anchor=datetime() as anchor):
            return {"schedule": schedule.text, "anchor": anchor}
        case Cron() | Once() if not isinstance(schedule.timezone, DefaultZone):
            # What is no text is refused as such, with any schedule.
            if timezone and isinstance(timezone, str) and timezone != schedule.timezone:
                raise InvalidSchedule(
                    f"The schedule has the time zone {schedule.timezone}, and timezone= is "
                    f"{timezone[:MAX_SHOWN_LENGTH]}: give one of them."
                )
            return {"schedule": schedule.text, "timezone": schedule.timezone}
        case str() | Schedule():
            return {"schedule": str(schedule)}
    raise InvalidSchedule(
        f"{safe_repr(schedule, limit=100)} is not a schedule: use a text such as "
        "'every 15 minutes', or a Cron, Interval or Once."
    )


def as_json(option: str, value: Any) -> Any:
    """Return a value as JSON: dates and decimals become text.

    Raise InvalidPayload or InvalidTask, by option, for a value without a JSON form.
    """
    refused = partial(refused_json, option)
    try:
        # NaN passes here: the check of the values has a better sentence for it.
        text = json.dumps(as_plain(value), ensure_ascii=False, cls=ExactJSONEncoder)
        read = json.loads(text)
    except RecursionError:
        raise refused(TOO_DEEP) from None
    except (AttributeError, TypeError, ValueError) as error:
        too_large = "integer string conversion" in str(error)
        said = "has too large a number" if too_large else f"cannot be written as JSON: {error}"
        raise refused(f"{said}.") from None
    if len(text) > MAX_JSON_LENGTH:
        raise refused(f"has {len(text)} characters as JSON; at most {MAX_JSON_LENGTH} are stored.")
    return read


def as_object(option: str, value: Any) -> dict[str, Any]:
    """Return a mapping as JSON, like ``as_json``, and refuse anything else."""
    if not isinstance(value, Mapping):
        raise refused_json(option, f"must be a JSON object, not {type_name(value)}.")
    found: dict[str, Any] = as_json(option, dict(value))
    return found


def refused_json(option: str, said: str) -> InvalidPayload | InvalidTask:
    kind = InvalidPayload if option == "payload" else InvalidTask
    return kind({option: [said]})


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
        "retry_delay": whole_seconds(retry.delay),
        "retry_backoff": float(retry.backoff),
        "retry_max_delay": whole_seconds(retry.max_delay),
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
        raise InvalidTask(
            {option: [f"must be a datetime with a time zone, not {safe_repr(moment, limit=100)}."]}
        )
    return moment


def showable(option: str, given: Any) -> datetime:
    """Return a moment that every time zone can show. Raise InvalidTask for anything else."""
    moment = aware(option, given)
    if not FIRST_YEAR <= moment.year <= LAST_YEAR:
        said = f"must be a moment between the years {FIRST_YEAR} and {LAST_YEAR}."
        raise InvalidTask({option: [said]})
    return moment
