"""How moments, durations, statuses and values look in the admin."""

from __future__ import annotations

import json
import logging
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

EMPTY, TO = "-", "\N{EN DASH}"
#: So many characters of an explanation fit into a row of a list.
LONGEST_REMARK = 160

SECOND, MINUTE, HOUR, DAY = 1, 60, 3_600, 86_400


def moment(value: datetime | None, *, now: datetime | None = None) -> str | SafeString:
    """Show a moment, absolute and relative.

    It is written in Django's current time zone; the page's script puts it into the zone of the
    viewer's browser and keeps the relative part moving.
    """
    if value is None:
        return EMPTY
    return format_html(
        '<span class="st-moment"><time datetime="{}">{}</time>'
        ' <span class="st-relative">{}</span></span>',
        value.isoformat(),
        in_current_zone(value).strftime("%Y-%m-%d %H:%M:%S %Z"),
        relative(value, now or timezone.now()),
    )


def in_current_zone(value: datetime) -> datetime:
    """Return the moment in Django's current time zone, as it is if that zone has no such year."""
    try:
        return timezone.localtime(value)
    except OverflowError:
        return value


def relative(value: datetime, now: datetime) -> str:
    """Return how far a moment lies ahead or back, in its largest unit."""
    seconds = (value - now).total_seconds()
    if abs(seconds) < SECOND:
        return _("now")
    amount = length(abs(seconds))
    return _("in %s") % amount if seconds > 0 else _("%s ago") % amount


def length_of(time: timedelta) -> str:
    """Return a length of time in its largest whole unit."""
    return length(time.total_seconds())


def length(seconds: float) -> str:
    """Return a length of time in its largest whole unit."""
    if seconds >= DAY:
        return ngettext("%d day", "%d days", days := int(seconds // DAY)) % days
    if seconds >= HOUR:
        return ngettext("%d hour", "%d hours", hours := int(seconds // HOUR)) % hours
    if seconds >= MINUTE:
        return ngettext("%d minute", "%d minutes", minutes := int(seconds // MINUTE)) % minutes
    return ngettext("%d second", "%d seconds", whole := int(seconds)) % whole


def duration(milliseconds: int | None) -> str:
    """Return a duration as people read it."""
    if milliseconds is None:
        return EMPTY
    seconds = milliseconds / 1_000
    if seconds < SECOND:
        return f"{milliseconds} ms"
    if round(seconds, 1) < MINUTE:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), MINUTE)
    if minutes < HOUR // MINUTE:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def badge(status: str, label: Any = None) -> str | SafeString:
    """Show a status as a coloured word."""
    if not status:
        return EMPTY
    return format_html('<span class="st-badge st-{}">{}</span>', status, label or status)


def cut(text: str, limit: int = LONGEST_REMARK) -> str:
    """Return the beginning of a text, marked if there is more."""
    return text if len(text) <= limit else f"{text[:limit]}…"


def remark(text: str | SafeString) -> str | SafeString:
    """Show a short text quietly, below something."""
    return format_html('<span class="st-remark">{}</span>', text) if text else ""


def level(value: int) -> str | SafeString:
    """Show a level of the logging module as a word, coloured from warnings on."""
    kind = "error" if value >= logging.ERROR else "warning" if value >= logging.WARNING else "info"
    return badge(kind, logging.getLevelName(value))


def megabytes(amount: int | None) -> str:
    """Return an amount of memory."""
    return EMPTY if amount is None else f"{amount} MB"


def progress(value: Any) -> str:
    """Return how far a run has come: ``40 of 100, text``."""
    match value:
        case {"done": done, "total": None, "text": text}:
            amount = number(done)
        case {"done": done, "total": total, "text": text}:
            amount = _("%(done)s of %(total)s") % {"done": number(done), "total": number(total)}
        case _:
            return EMPTY
    return f"{amount}, {text}" if text else amount


def progress_bar(value: Any, part: float | None) -> str | SafeString:
    """Return how far a run has come, with a bar where ``part`` says how much of it is done."""
    said = progress(value)
    if part is None:
        return said
    return format_html(
        '<progress class="st-progress" value="{}"></progress>{}', f"{part:.3f}", said
    )


def number(value: Any) -> str:
    """Return a number without decimals that say nothing."""
    return f"{value:.12g}" if isinstance(value, float) else str(value)


def pretty_json(value: Any) -> str | SafeString:
    """Show a JSON value on indented lines."""
    if value is None or value == {}:
        return EMPTY
    return preformatted(json.dumps(value, indent=2, ensure_ascii=False))


def preformatted(text: str) -> str | SafeString:
    """Show text as it is, line by line."""
    return format_html('<pre class="st-text">{}</pre>', text) if text else EMPTY
