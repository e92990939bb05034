"""How moments, durations, statuses and values look in the admin."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

EMPTY = "–"

UNITS = (
    (86_400, lambda n: ngettext("%d day", "%d days", n) % n),
    (3_600, lambda n: ngettext("%d hour", "%d hours", n) % n),
    (60, lambda n: ngettext("%d minute", "%d minutes", n) % n),
    (1, lambda n: ngettext("%d second", "%d seconds", n) % n),
)


def moment(value: datetime | None, *, now: datetime | None = None) -> str | SafeString:
    """Show a moment, absolute and relative.

    It is written in Django's current time zone; the page's script puts it into the zone of the
    viewer's browser and keeps the relative part moving.
    """
    if value is None:
        return EMPTY
    local = timezone.localtime(value)
    return format_html(
        '<time class="st-moment" datetime="{}">{}</time>'
        ' <span class="st-relative" data-of="{}">{}</span>',
        value.isoformat(),
        local.strftime("%Y-%m-%d %H:%M:%S %Z"),
        value.isoformat(),
        relative(value, now or timezone.now()),
    )


def relative(value: datetime, now: datetime) -> str:
    """Return how far a moment lies ahead or back, in its largest unit."""
    seconds = (value - now).total_seconds()
    for size, words in UNITS:
        if abs(seconds) >= size:
            amount = words(int(abs(seconds) // size))
            return _("in %s") % amount if seconds > 0 else _("%s ago") % amount
    return _("now")


def duration(milliseconds: int | None) -> str:
    """Return a duration as people read it."""
    if milliseconds is None:
        return EMPTY
    if milliseconds < 1_000:
        return f"{milliseconds} ms"
    seconds = milliseconds / 1_000
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s"


def badge(status: str, label: Any = None) -> str | SafeString:
    """Show a status as a coloured word."""
    if not status:
        return EMPTY
    return format_html('<span class="st-badge st-{}">{}</span>', status, label or status)


def pretty_json(value: Any) -> str | SafeString:
    """Show a JSON value on indented lines."""
    if value is None or value == {}:
        return EMPTY
    return preformatted(json.dumps(value, indent=2, ensure_ascii=False))


def preformatted(text: str) -> str | SafeString:
    """Show text as it is, line by line."""
    return format_html('<pre class="st-text">{}</pre>', text) if text else EMPTY
