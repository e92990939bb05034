"""Moments as tests write them down."""

from __future__ import annotations

from datetime import UTC, datetime

from django.utils import timezone
from django.utils.dateparse import parse_datetime

from scheduled_tasks.schedules.zones import FIRST_YEAR, LAST_YEAR

#: A datetime, or text such as "2026-03-28 12:00" or "2026-03-28T12:00+01:00". Without an offset it
#: is in the project's time zone.
Moment = datetime | str


def moment_of(given: Moment) -> datetime:
    """Return the moment in UTC. Raise ValueError if it is invalid, ambiguous or out of range."""
    moment = given if isinstance(given, datetime) else read(given)
    if not FIRST_YEAR <= moment.year <= LAST_YEAR:
        raise ValueError(f"{moment} does not lie between the years {FIRST_YEAR} and {LAST_YEAR}.")
    if timezone.is_aware(moment):
        return moment.astimezone(UTC)
    zone = timezone.get_default_timezone()
    first, second = (moment.replace(tzinfo=zone, fold=fold) for fold in (0, 1))
    if first.utcoffset() == second.utcoffset():
        return first.astimezone(UTC)
    if first.astimezone(UTC) > second.astimezone(UTC):
        raise ValueError(f"{moment} does not exist in {zone}: the clocks skip it.")
    raise ValueError(
        f"{moment} occurs twice in {zone}: give the offset, as in {first.isoformat(sep=' ')!r}."
    )


def moment_or_now(given: Moment | None) -> datetime:
    """Return the moment in UTC, by default now. Raise ValueError."""
    return timezone.now() if given is None else moment_of(given)


def read(text: str) -> datetime:
    try:
        moment = parse_datetime(text)
    except (TypeError, ValueError):
        moment = None
    if moment is None:
        raise ValueError(f"{text!r} is not a moment: write it like '2026-03-28 12:00'.")
    return moment
