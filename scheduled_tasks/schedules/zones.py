"""The time zones that a schedule may have, by name."""

from __future__ import annotations

import difflib
import re
from functools import cache, lru_cache
from zoneinfo import ZoneInfo, available_timezones

from scheduled_tasks.exceptions import InvalidSchedule
from scheduled_tasks.schedules.text import quoted

#: Of moments that every time zone can show and every database stores.
FIRST_YEAR, LAST_YEAR = 1900, 9000
#: Names whose meaning depends on the machine.
NOT_PORTABLE = {"localtime", "Factory"}
MAX_NAME_LENGTH = 64
OFFSET = re.compile(r"[+-]\d", re.ASCII)


class DefaultZone(str):
    """The zone of a schedule that is made without one: in a task, that of the task holds."""

    __slots__ = ()


DEFAULT_ZONE = DefaultZone("UTC")


def zone(name: object) -> ZoneInfo:
    """Return the zone with exactly this name. Raise InvalidSchedule with the nearest name."""
    if not isinstance(name, str):
        raise InvalidSchedule(f"A time zone is given by its name, not by {type(name).__name__}.")
    return known_zone(name)


@cache
def zone_names() -> frozenset[str]:
    """Return the names of all zones. Cached, because finding them walks the file system."""
    return frozenset(available_timezones() - NOT_PORTABLE)


def zone_in_any_case(name: str) -> str | None:
    """Return the name of a zone as it is written, None if there is no such zone."""
    return {known.lower(): known for known in zone_names()}.get(name.lower())


def zone_meant(word: str) -> str | None:
    """Return the zone that a word among others means, also a city alone or a name with a slip."""
    name = word.strip("\"'():")
    if (known := zone_in_any_case(name)) or not name[:1].isalpha():
        return known
    near = nearest_name(name)
    is_city = near is not None and near.rpartition("/")[2].lower() == name.lower()
    return near if is_city or "/" in name else None


@lru_cache(maxsize=1024)
def known_zone(name: str) -> ZoneInfo:
    # ZoneInfo reads a file for any name it is given, so the name is checked first.
    if name in zone_names():
        return ZoneInfo(name)
    near = nearest_name(name)
    advice = f"did you mean {near!r}?" if near else "write a name such as 'Europe/Berlin'."
    raise InvalidSchedule(f"There is no time zone {quoted(name)}: {advice}")


def nearest_name(name: str) -> str | None:
    # Comparing a long text with each name would take long, and Etc/GMT+2 is two hours behind GMT.
    if len(name) > MAX_NAME_LENGTH or OFFSET.search(name):
        return None
    known = sorted(zone_names())
    cities = {name.rpartition("/")[2].lower(): name for name in known}
    by_lower = cities | {name.lower(): name for name in known}
    wanted = name.strip().lower().replace(" ", "_")
    if wanted in by_lower:
        return by_lower[wanted]
    near = difflib.get_close_matches(wanted, by_lower, n=1, cutoff=0.7)
    return by_lower[near[0]] if near else None
