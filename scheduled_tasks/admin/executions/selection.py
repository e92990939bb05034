"""Which executions the user has selected, including after a confirmation page."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from django.contrib import messages
from django.contrib.admin import ModelAdmin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext as _

from scheduled_tasks.models import Execution

#: The name of the one field that holds all ids: Django limits forms to a thousand fields.
SELECTED = "selected"
#: Executions that one request changes.
MAX_SELECTED = 5_000
#: Numbers with more digits do not fit into the column.
MAX_DIGITS = 18


def as_text(ids: Iterable[int]) -> str:
    """Return ids as the value of the hidden field."""
    return ",".join(map(str, ids))


def selected_ids(
    admin: ModelAdmin[Any], request: HttpRequest, queryset: QuerySet[Execution]
) -> list[int]:
    """Return the ids that the user selected, without those that the user may not see.

    Rows that were ticked one by one count even if they no longer match the filters of the list,
    so that a user who is too late gets a message.
    """
    posted = request.POST
    if SELECTED in posted:
        return visible(admin, request, numbers(posted[SELECTED].split(",")))
    if posted.get("select_across") == "1":
        return newest(admin, request, queryset)
    return visible(admin, request, numbers(posted.getlist(ACTION_CHECKBOX_NAME)))


def newest(
    admin: ModelAdmin[Any], request: HttpRequest, queryset: QuerySet[Execution]
) -> list[int]:
    """Return the ids of the newest MAX_SELECTED rows; warn the user if there are more."""
    ids = list(queryset.order_by("-pk").values_list("pk", flat=True)[: MAX_SELECTED + 1])
    if len(ids) > MAX_SELECTED:
        message = _("More than %(limit)d are selected. Only the newest %(limit)d are included.")
        admin.message_user(request, message % {"limit": MAX_SELECTED}, messages.WARNING)
    return ids[:MAX_SELECTED]


def numbers(texts: Iterable[str]) -> list[int]:
    """Return the numbers among texts from a form."""
    # Not isdigit(), which is true of superscripts, and int() refuses those.
    valid = [int(text) for text in texts if text.isdecimal() and len(text) <= MAX_DIGITS]
    return valid[:MAX_SELECTED]


def visible(admin: ModelAdmin[Any], request: HttpRequest, ids: Collection[int]) -> list[int]:
    """Return ids without the rows that the admin hides from the user; deleted rows are kept."""
    # Deleted rows are kept, so that they are reported as deleted.
    existing = set(Execution.objects.filter(pk__in=ids).values_list("pk", flat=True))
    shown = set(admin.get_queryset(request).filter(pk__in=existing).values_list("pk", flat=True))
    return [pk for pk in ids if pk in shown or pk not in existing]
