"""Times, durations, statuses and values as the admin shows them."""

from __future__ import annotations

import json
import logging
from datetime import datetime
from typing import Any

from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from scheduled_tasks.runtime.sanitizing import CUT, shown_json

EMPTY, TO = "-", "\N{EN DASH}"
#: Characters of an explanation that fit into a row of a list.
MAX_SUMMARY_LENGTH = 160
#: Characters of a JSON value, and of a text, that a page shows: as HTML, up to six times as many.
MAX_JSON_LENGTH, MAX_TEXT_LENGTH = 8_000, 3_000

SECOND, MINUTE, HOUR, DAY = 1, 60, 3_600, 86_400


def moment(value: datetime | None, *, now: datetime | None = None) -> str | SafeString:
    """Return a time as HTML, absolute and relative.

    It is in Django's current time zone. The script of the page converts it to the time zone of
    the browser and keeps the relative part up to date.
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
    """Return the time in Django's current time zone, or unchanged if it has no such year there."""
    try:
        return timezone.localtime(value)
    except OverflowError:
        return value


def relative(value: datetime, now: datetime) -> str:
    """Return the distance of a time from now in its largest unit: ``in 3 hours``."""
    seconds = (value - now).total_seconds()
    if abs(seconds) < SECOND:
        return _("now")
    amount = in_largest_unit(abs(seconds))
    return _("in %s") % amount if seconds > 0 else _("%s ago") % amount


def in_largest_unit(seconds: float) -> str:
    """Return a length of time in its largest unit, rounded down: ``3 hours``."""
    if seconds >= DAY:
        return ngettext("%d day", "%d days", days := int(seconds // DAY)) % days
    if seconds >= HOUR:
        return ngettext("%d hour", "%d hours", hours := int(seconds // HOUR)) % hours
    if seconds >= MINUTE:
        return ngettext("%d minute", "%d minutes", minutes := int(seconds // MINUTE)) % minutes
    return ngettext("%d second", "%d seconds", whole := int(seconds)) % whole


def duration(milliseconds: int | None) -> str:
    """Return a duration in units that fit its size: ``45 ms``, ``2.4 s``, ``3 min 05 s``."""
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
    """Return a status as a coloured word, as HTML."""
    if not status:
        return EMPTY
    return format_html('<span class="st-badge st-{}">{}</span>', status, label or status)


def truncated(text: str, limit: int = MAX_SUMMARY_LENGTH) -> str:
    """Return the first ``limit`` characters, followed by an ellipsis if there are more."""
    return text if len(text) <= limit else f"{text[:limit]}…"


def small_text(text: str | SafeString) -> str | SafeString:
    """Return a short text in small print, as HTML."""
    return format_html('<span class="st-remark">{}</span>', text) if text else ""


def log_level(value: int) -> str | SafeString:
    """Return the name of a log level; warnings and errors are coloured."""
    kind = "error" if value >= logging.ERROR else "warning" if value >= logging.WARNING else "info"
    return badge(kind, logging.getLevelName(value))


def megabytes(amount: int | None) -> str:
    return EMPTY if amount is None else f"{amount} MB"


def progress(value: Any) -> str:
    """Return the progress of a run: ``40 of 100, text``."""
    match value:
        case {"done": done, "total": None, "text": text}:
            amount = number(done)
        case {"done": done, "total": total, "text": text}:
            amount = _("%(done)s of %(total)s") % {"done": number(done), "total": number(total)}
        case _:
            return EMPTY
    return f"{amount}, {truncated(str(text), MAX_TEXT_LENGTH)}" if text else amount


def progress_bar(value: Any, fraction: float | None) -> str | SafeString:
    """Return the progress of a run, with a bar unless ``fraction`` is None."""
    text = progress(value)
    if fraction is None:
        return text
    return format_html(
        '<progress class="st-progress" value="{}"></progress>{}', f"{fraction:.3f}", text
    )


def number(value: Any) -> str:
    """Return a number without insignificant decimals."""
    return f"{value:.12g}" if isinstance(value, float) else str(value)


def pretty_json(value: Any, *, whole_url: str = "") -> str | SafeString:
    """Return a JSON value in indented lines without secrets, as HTML; cut if it is long."""
    if value is None or value == {}:
        return EMPTY
    text = shown_json(value, limit=MAX_JSON_LENGTH)
    if not text.endswith(CUT):
        return preformatted(text)
    return format_html("{}{}", preformatted(text), size(len(json.dumps(value)), whole_url))


def long_text(text: str, *, limit: int, whole_url: str = "", end: bool = False) -> str | SafeString:
    """Return text as HTML; the beginning, or the end, if it is long."""
    if len(text) <= limit:
        return preformatted(text)
    shown = f"… {text[-limit:]}" if end else f"{text[:limit]} …"
    return format_html("{}{}", preformatted(shown), size(len(text), whole_url))


def size(characters: int, whole_url: str) -> str | SafeString:
    """Return the full length of a shortened value, with a link to the whole."""
    said = _("Only a part is shown: it has %d characters.") % characters
    link = format_html(' <a href="{}">{}</a>', whole_url, _("Download all")) if whole_url else ""
    return format_html('<p class="st-size">{}{}</p>', said, link)


def preformatted(text: str) -> str | SafeString:
    """Return text with its line breaks, as HTML."""
    return format_html('<pre class="st-text">{}</pre>', text) if text else EMPTY
