"""How a change of a task reads."""

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

#: So many characters of the fields are read for a list, and shown of each value.
LONGEST, LONGEST_VALUE = 4_000, 60
#: So many differences of one change.
MOST = 6
#: The fields that say most of a task.
FIRST = ("schedule", "handler")
ARROW = "→"


def for_lists(changes: QuerySet[TaskChange]) -> QuerySet[Any]:
    """Read no more of the fields and of the reason than a list shows."""
    return changes.defer("fields", "reason").annotate(
        beginning=Left(Cast("fields", TextField()), LONGEST + 1),
        short_reason=Left("reason", display.LONGEST_REMARK + 1),
    )


def summary(change: Any) -> str | SafeString:
    """Return what a change that was read for a list changed, field by field."""
    if change.short_reason:
        return display.cut(change.short_reason)
    if len(change.beginning) > LONGEST:
        return _("Too much to show here.")
    made = change.action == TaskChange.Action.CREATED
    lines = list(differences(json.loads(change.beginning), made=made))
    if left_out := lines[MOST:]:
        lines[MOST:] = [ngettext("and %d more", "and %d more", len(left_out)) % len(left_out)]
    return format_html_join("", "<div>{}</div>", ((line,) for line in lines)) or display.EMPTY


def differences(fields: Mapping[str, Any], *, made: bool) -> Iterator[str]:
    """Yield each difference in one line; a task that was just made has no old values."""
    for name, (old, new) in sorted(fields.items(), key=lambda item: item[0] not in FIRST):
        before = "" if made else f"{in_brief(old)} {ARROW} "
        yield f"{name}: {before}{in_brief(new)}"


def in_brief(value: Any) -> str:
    """Return a value as JSON, cut to what fits in a line."""
    if value is None:
        return _("none")
    text = json.dumps(mask_secrets_in_json(value), ensure_ascii=False)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}…"


def table(change: TaskChange) -> str | SafeString:
    """Show all that a change changed, old and new values side by side."""
    rows = [(name, whole(old), whole(new)) for name, (old, new) in change.fields.items()]
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


def whole(value: Any) -> str | SafeString:
    if value is None or value == "":
        return display.EMPTY
    shown = mask_secrets_in_json(value)
    text = shown if isinstance(shown, str) else json.dumps(shown, ensure_ascii=False, indent=2)
    return display.preformatted(text)
