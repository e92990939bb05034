"""One change to many selected rows: in steps, for a limited time, with a report at the end.

A step is one transaction. What stops a request half-way, an error or the time, leaves the steps
before it done; the user is told how far it came, and may go on with the rest.
"""

from __future__ import annotations

import logging
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin import ModelAdmin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.models import CHANGE, LogEntry
from django.core.exceptions import ValidationError
from django.db.models import Field, Model, QuerySet, UUIDField
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from scheduled_tasks.admin.form_page import FormPage
from scheduled_tasks.admin.permissions import user_of
from scheduled_tasks.admin.query_string import is_number
from scheduled_tasks.admin.selection import SELECTED, as_text, existing, visible
from scheduled_tasks.operations.bulk import BATCH_SIZE

#: Seconds after which a request begins no further step. Web servers give up after 30 or more.
MAX_SECONDS = 20.0
#: Different warnings that a report has.
MAX_WARNINGS = 10
#: What a page that goes on does not post again.
OWN_FIELDS = ("csrfmiddlewaretoken", "index", "select_across", ACTION_CHECKBOX_NAME, SELECTED)

#: Decorates ``delete_selected``, which by its name replaces the action of the site.
delete_action = admin.action(
    permissions=["delete"], description=gettext_lazy("Delete selected %(verbose_name_plural)s")
)

logger = logging.getLogger(__name__)


class BulkAdmin(admin.ModelAdmin):
    """An admin whose list has actions for selections of any size."""

    def response_action(
        self, request: HttpRequest, queryset: QuerySet[Any], *args: Any, **options: Any
    ) -> Any:
        """Refuse what is no id of a row, on which Django fails."""
        posted = request.POST.getlist(ACTION_CHECKBOX_NAME)
        if all(is_id_of(self.opts.pk, text) for text in posted):
            return super().response_action(request, queryset, *args, **options)
        message = _("The selection was not understood. Nothing has been changed.")
        self.message_user(request, message, messages.WARNING)
        return None

    def all_are_gone(self, request: HttpRequest, ids: Sequence[int]) -> bool:
        """Report the selected rows if all have been deleted: then there is nothing to ask."""
        if not ids or existing(self.model, ids):
            return False
        self.message_user(request, deleted_already(len(ids)), messages.WARNING)
        return True


def is_id_of(pk: Field[Any, Any] | None, text: str) -> bool:
    """Whether a text can be the id of a row with this primary key."""
    if not isinstance(pk, UUIDField):
        return is_number(text)
    try:
        pk.to_python(text)
    except ValidationError:
        return False
    return True


class BulkChange(ABC):
    """One request that changes selected rows, in the user's name and with log entries.

    ``done`` counts the rows that it has changed, and ``warnings`` the sentences about others, each
    with the number of rows that it is about.
    """

    def __init__(self, admin: ModelAdmin[Any], request: HttpRequest) -> None:
        self.admin = admin
        self.request = request
        self.by = user_of(request)
        self.done = 0
        self.deleted = 0
        self.warnings: Counter[Any] = Counter()

    def apply(self, ids: Sequence[int]) -> HttpResponse | None:
        """Change the rows and report. Return the page that offers the rest if any are left."""
        left = self.take_steps(ids)
        self.report()
        if not left:
            return None
        return GoOnPage(self.admin, self.request).show(left, total=len(ids))

    def take_steps(self, ids: Sequence[int]) -> Sequence[int]:
        """Take steps until the time is over; return the ids that are left."""
        deadline = time.monotonic() + MAX_SECONDS
        # In the order of the engine, which locks by ascending id.
        left = sorted(set(ids))
        while left:
            try:
                self.step(visible(self.admin, self.request, left[:BATCH_SIZE]))
            except Exception as error:
                logger.exception("a bulk change stopped, rows left=%s", len(left))
                stopped = _("Stopped by an error (%s). The server's log has the details.")
                self.warn(stopped % type(error).__name__, messages.ERROR)
                return left
            left = left[BATCH_SIZE:]
            if time.monotonic() >= deadline:
                break
        return left

    @abstractmethod
    def step(self, ids: list[int]) -> None:
        """Change some rows, in one transaction, and count what was done."""

    def report(self) -> None:
        """Report the count, and the most frequent warnings."""
        self.report_done()
        self.report_rest()

    def report_done(self) -> None:
        self.warn(self.summary(), messages.SUCCESS if self.done else messages.INFO)

    def report_rest(self) -> None:
        for warning, count in self.warnings.most_common(MAX_WARNINGS):
            self.warn(self.sentence(warning, count))
        if self.deleted:
            self.warn(deleted_already(self.deleted))

    @abstractmethod
    def summary(self) -> str:
        """Return how many rows were changed, as a sentence."""

    def sentence(self, warning: Any, count: int) -> str:
        return str(warning)

    def log(self, rows: Iterable[Model], message: str, flag: int = CHANGE) -> None:
        """Write the admin's log entries in one statement."""
        LogEntry.objects.log_actions(self.request.user.pk, rows, flag, message)  # type: ignore[arg-type]

    def warn(self, message: str, level: int = messages.WARNING) -> None:
        self.admin.message_user(self.request, message, level)


def deleted_already(count: int) -> str:
    return ngettext("%d has been deleted.", "%d have been deleted.", count) % count


class GoOnPage(FormPage):
    """The page that says how far a change came, and offers the rest."""

    template = "admin/scheduled_tasks/confirmation.html"

    def show(self, left: Sequence[int], *, total: int) -> HttpResponse:
        names = {"left": len(left), "total": total}
        posted = {
            name: value for name, value in self.request.POST.items() if name not in OWN_FIELDS
        }
        return self.render(
            forms.Form(),
            title=_("%(left)d of %(total)d are left") % names,
            submit_label=_("Go on"),
            back_url=self.request.get_full_path(),
            help_text=_("What is left has not been changed."),
            hidden={
                **posted,
                # Django runs no action unless a row is ticked; SELECTED has them all.
                ACTION_CHECKBOX_NAME: str(left[0]),
                SELECTED: as_text(left),
            },
        )
