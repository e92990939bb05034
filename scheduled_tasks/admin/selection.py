"""Which rows the user has selected, including after a question: any number, in one field."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from django.contrib import messages
from django.contrib.admin import ModelAdmin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext as _

from scheduled_tasks.admin.query_string import is_number
from scheduled_tasks.models.sql.any_of import AnyOf

#: The name of the one field that holds all ids: Django limits forms to a thousand fields.
SELECTED = "selected"
#: Rows that one selection holds: their ids have to fit into DATA_UPLOAD_MAX_MEMORY_SIZE.
MAX_SELECTED = 100_000
#: Selected rows that a question names.
MAX_NAMED = 20


def as_text(ids: Iterable[int]) -> str:
    """Return ids as the value of the hidden field, neighbours as a range: ``1-3,7``."""
    parts: list[list[int]] = []
    for pk in sorted(ids):
        if parts and pk == parts[-1][-1] + 1:
            parts[-1][1:] = [pk]
        else:
            parts.append([pk])
    return ",".join("-".join(map(str, part)) for part in parts)


def from_text(text: str) -> list[int]:
    """Return the ids in the value of the hidden field, without what is none."""
    ids: list[int] = []
    for part in text.split(","):
        first, _dash, last = part.partition("-")
        if is_id(first) and is_id(last or first):
            room = MAX_SELECTED - len(ids)
            ids += range(int(first), int(last or first) + 1)[:room]
    return ids


def selected_ids(
    admin: ModelAdmin[Any], request: HttpRequest, queryset: QuerySet[Any]
) -> list[int]:
    """Return the ids that the user selected.

    Rows that were ticked one by one count even if they no longer match the filters of the list,
    so that a user who is too late gets a message.
    """
    posted = request.POST
    if SELECTED in posted:
        return from_text(posted[SELECTED])
    if posted.get("select_across") == "1":
        return newest(admin, request, queryset)
    return [int(pk) for pk in posted.getlist(ACTION_CHECKBOX_NAME) if is_id(pk)]


def is_id(text: str) -> bool:
    return is_number(text) and int(text) > 0


def newest(admin: ModelAdmin[Any], request: HttpRequest, queryset: QuerySet[Any]) -> list[int]:
    """Return the ids of the newest MAX_SELECTED rows; warn the user if there are more."""
    ids = list(queryset.order_by("-pk").values_list("pk", flat=True)[: MAX_SELECTED + 1])
    if len(ids) > MAX_SELECTED:
        message = _("More than %(limit)d are selected. Only the newest %(limit)d are included.")
        admin.message_user(request, message % {"limit": MAX_SELECTED}, messages.WARNING)
    return ids[:MAX_SELECTED]


def names_of(rows: QuerySet[Any], ids: Sequence[int]) -> list[str]:
    """Return the names of the first selected rows, and an ellipsis if there are more."""
    named = rows.filter(pk__in=ids[:MAX_NAMED])
    return [*map(str, named), *(["…"] if len(ids) > MAX_NAMED else [])]


def existing(model: type[Model], ids: Collection[int]) -> set[int]:
    rows = model._default_manager.filter(AnyOf("pk", ids))  # noqa: SLF001
    return set(rows.values_list("pk", flat=True))


def visible(admin: ModelAdmin[Any], request: HttpRequest, ids: Collection[int]) -> list[int]:
    """Return ids without the rows that the admin hides from the user; deleted rows are kept."""
    # Deleted rows are kept, so that they are reported as deleted.
    found = existing(admin.model, ids)
    shown = admin.get_queryset(request).filter(AnyOf("pk", list(found)))
    hidden = found.difference(shown.values_list("pk", flat=True))
    return [pk for pk in ids if pk not in hidden]
