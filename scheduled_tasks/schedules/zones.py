"""The time zones that a schedule may have, by name."""

from __future__ import annotations

import difflib
import re
from datetime import tzinfo
from functools import cache, lru_cache
from zoneinfo import ZoneInfo, available_timezones

from scheduled_tasks.exceptions import InvalidSchedule
from scheduled_tasks.schedules.text import quoted

#: Of moments that every time zone can show and every database stores.
FIRST_YEAR, LAST_YEAR = 1900, 9000
#: Names whose meaning depends on the machine.
NOT_PORTABLE = {"localtime", "Factory"}
MAX_NAME_LENGTH = 64
MIN_LIKENESS = 0.85
#: Among short words are abbreviations, which are near to those of other zones: CEST and EST.
MIN_LENGTH_TO_COMPARE = 5
INSIDE_QUOTES = re.compile(r"[\"']([^\"']+)[\"']")
OFFSET = re.compile(r"[+-]\d", re.ASCII)


class DefaultZone(str):
    """The zone of a schedule that is made without one: in a task, that of the task holds."""

    __slots__ = ()


DEFAULT_ZONE = DefaultZone("UTC")


def zone(name: object) -> ZoneInfo:
    """Return the zone with exactly this name. Raise InvalidSchedule with the nearest name."""
    if not isinstance(name, str):
        known = isinstance(name, tzinfo) and str(name) in zone_names()
        advice = f": write {str(name)!r}" if known else ""
        kind = type(name).__name__
        raise InvalidSchedule(f"A time zone is given by its name, not by {kind}{advice}.")
    return known_zone(name)


@cache
def zone_names() -> frozenset[str]:
    """Return the names of all zones. Cached, because finding them walks the file system."""
    return frozenset(available_timezones() - NOT_PORTABLE)


def zone_meant(word: str) -> str | None:
    """Return the zone that a word among others means, also a city alone or a name with a slip."""
    name = bare(word)
    if name in {"Z", "z"}:
        return "UTC"
    if known := by_name_or_city().get(name.lower()):
        return known
    return nearest_name(name) if "/" in name and name[0].isalpha() else None


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
    known = by_name_or_city()
    wanted = bare(name).lower().replace(" ", "_")
    if wanted in known:
        return known[wanted]
    if len(wanted) < MIN_LENGTH_TO_COMPARE or any(full.startswith(f"{wanted}/") for full in known):
        return None
    near = difflib.get_close_matches(wanted, known, n=1, cutoff=MIN_LIKENESS)
    return known[near[0]] if near else None


def bare(name: str) -> str:
    """Return a name without what stands around it: quotes, brackets, ``ZoneInfo("…")``, ``tz=``."""
    inside = INSIDE_QUOTES.search(name)
    return (inside[1] if inside else name).rpartition("=")[2].strip(" \"'():[]<>")


@cache
def by_name_or_city() -> dict[str, str]:
    """Return the names of zones by what they are in small letters, and by the city alone."""
    names = sorted(zone_names())
    cities = {name.rpartition("/")[2].lower(): name for name in names if not OFFSET.search(name)}
    return cities | {name.lower(): name for name in names}
