"""The old and new values of a change, in brief and in full."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from django.db.models import QuerySet, TextField
from django.db.models.functions import Cast, Left
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from scheduled_tasks.admin import display
from scheduled_tasks.models import TaskChange
from scheduled_tasks.runtime.redaction import mask_secrets_in_json

#: Characters of all fields that are read for a list.
MAX_LENGTH = 4_000
#: Characters of each value that a list shows.
MAX_VALUE_LENGTH = 60
#: Fields of one change that a list shows.
MAX_FIELDS = 6
#: The fields that matter most are listed first.
FIRST = ("schedule", "handler")
ARROW = "→"


def for_lists(changes: QuerySet[TaskChange]) -> QuerySet[Any]:
    """Fetch only the beginning of the fields and of the reason."""
    return changes.defer("fields", "reason").annotate(
        short_fields=Left(Cast("fields", TextField()), MAX_LENGTH + 1),
        short_reason=Left("reason", display.MAX_SUMMARY_LENGTH + 1),
    )


def summary(change: Any) -> str | SafeString:
    """Return one line per field, or the reason, of a row of ``for_lists``."""
    if change.short_reason:
        return display.truncated(change.short_reason)
    # JSON that was cut cannot be parsed.
    if len(change.short_fields) > MAX_LENGTH:
        return _("Too long to show here.")
    created = change.action == TaskChange.Action.CREATED
    lines = list(field_lines(json.loads(change.short_fields), created=created))
    if more := lines[MAX_FIELDS:]:
        lines[MAX_FIELDS:] = [ngettext("and %d more", "and %d more", len(more)) % len(more)]
    return format_html_join("", "<div>{}</div>", ((line,) for line in lines)) or display.EMPTY


def field_lines(fields: Mapping[str, Any], *, created: bool) -> Iterator[str]:
    """Yield one line per field; a created task has no old values."""
    for name, (old, new) in sorted(fields.items(), key=lambda item: item[0] not in FIRST):
        before = "" if created else f"{short_value(old)} {ARROW} "
        yield f"{name}: {before}{short_value(new)}"


def short_value(value: Any) -> str:
    """Return a value as JSON without secrets, truncated."""
    if value is None:
        return _("none")
    text = json.dumps(mask_secrets_in_json(value), ensure_ascii=False)
    return display.truncated(text, MAX_VALUE_LENGTH)


def table(change: TaskChange, whole_url: str) -> str | SafeString:
    """Return all old and new values side by side, as HTML; long ones link to ``whole_url``."""
    rows = [
        (name, *(full_value(value, whole_url) for value in values))
        for name, values in change.fields.items()
    ]
    if not rows:
        return display.EMPTY
    return format_html(
        '<div class="st-wide"><table class="st-values"><thead><tr>'
        '<th scope="col">{}</th><th scope="col">{}</th><th scope="col">{}</th>'
        "</tr></thead><tbody>{}</tbody></table></div>",
        _("Field"),
        _("Before"),
        _("After"),
        format_html_join("", '<tr><th scope="row">{}</th><td>{}</td><td>{}</td></tr>', rows),
    )


def full_value(value: Any, whole_url: str) -> str | SafeString:
    if value is None or value == "":
        return display.EMPTY
    if not isinstance(value, str):
        return display.pretty_json(value, whole_url=whole_url)
    shown = mask_secrets_in_json(value)
    return display.long_text(shown, limit=display.MAX_TEXT_LENGTH, whole_url=whole_url)
