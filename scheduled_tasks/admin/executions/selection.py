"""Which executions somebody has chosen, also when a page has asked something in between."""

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

#: The field that holds the numbers, since a form may have a thousand fields only.
CHOSEN = "chosen"
#: One request settles no more executions than this.
MOST = 5_000
#: Longer numbers fit into no column.
LONGEST_NUMBER = 18


def as_text(ids: Iterable[int]) -> str:
    """Return what the hidden field holds."""
    return ",".join(map(str, ids))


def chosen_ids(
    admin: ModelAdmin[Any], request: HttpRequest, queryset: QuerySet[Execution]
) -> list[int]:
    """Return the numbers that somebody chose, as far as the user may see them.

    What was selected one by one counts whether or not it still fits the filters of the list, so
    that whoever comes too late is told.
    """
    posted = request.POST
    if CHOSEN in posted:
        return seen(admin, request, numbers(posted[CHOSEN].split(",")))
    if posted.get("select_across") == "1":
        return newest(admin, request, queryset)
    return seen(admin, request, numbers(posted.getlist(ACTION_CHECKBOX_NAME)))


def newest(
    admin: ModelAdmin[Any], request: HttpRequest, queryset: QuerySet[Execution]
) -> list[int]:
    """Return the numbers of the newest of a set, and say so if there are too many of them."""
    ids = list(queryset.order_by("-pk").values_list("pk", flat=True)[: MOST + 1])
    if len(ids) > MOST:
        said = _("There are more than %d: this is about the newest of them.") % MOST
        admin.message_user(request, said, messages.WARNING)
    return ids[:MOST]


def numbers(texts: Iterable[str]) -> list[int]:
    """Return the numbers among what was posted."""
    return [int(text) for text in texts if text.isdecimal() and len(text) <= LONGEST_NUMBER][:MOST]


def seen(admin: ModelAdmin[Any], request: HttpRequest, ids: Collection[int]) -> list[int]:
    """Leave out what the admin keeps from the user; what is deleted stays in, to be told."""
    known = set(Execution.objects.filter(pk__in=ids).values_list("pk", flat=True))
    shown = set(admin.get_queryset(request).filter(pk__in=known).values_list("pk", flat=True))
    return [pk for pk in ids if pk in shown or pk not in known]
