"""Moments as tests write them down."""

from __future__ import annotations

from datetime import UTC, datetime

from django.utils import timezone
from django.utils.dateparse import parse_datetime

#: A datetime, or a text such as "2026-03-28 12:00" or "2026-03-28T12:00+01:00". Without an offset
#: it is meant in the project's time zone.
Moment = datetime | str


def moment_of(given: Moment) -> datetime:
    """Return the moment in UTC. Raise ValueError for what is none, or one of two."""
    moment = given if isinstance(given, datetime) else read(given)
    if timezone.is_aware(moment):
        return moment.astimezone(UTC)
    zone = timezone.get_default_timezone()
    first, second = (moment.replace(tzinfo=zone, fold=fold) for fold in (0, 1))
    if first.utcoffset() == second.utcoffset():
        return first.astimezone(UTC)
    if first.astimezone(UTC) > second.astimezone(UTC):
        raise ValueError(f"Clocks in {zone} skip {moment}: no moment has that time.")
    raise ValueError(
        f"Clocks in {zone} show {moment} twice: say which by its offset, as in "
        f"{first.isoformat(sep=' ')!r}."
    )


def moment_or_now(given: Moment | None) -> datetime:
    """Return the moment in UTC, the present one if none is given. Raise ValueError."""
    return timezone.now() if given is None else moment_of(given)


def read(text: str) -> datetime:
    try:
        moment = parse_datetime(text)
    except (TypeError, ValueError):
        moment = None
    if moment is None:
        raise ValueError(f"{text!r} is no moment: write it like '2026-03-28 12:00'.")
    return moment
