"""Many executions cancelled, requeued or resolved at once, from a list, with a full report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin import ModelAdmin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.models import CHANGE, LogEntry
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.text import capfirst
from django.utils.translation import gettext as _g
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from scheduled_tasks.admin.confirmation import (
    CancelForm,
    Confirmation,
    ConfirmationPage,
    ResolveForm,
)
from scheduled_tasks.admin.executions.selection import SELECTED, as_text, selected_ids
from scheduled_tasks.admin.permissions import RunPermission, user_of
from scheduled_tasks.conf import app_settings
from scheduled_tasks.models import Execution
from scheduled_tasks.models.sql.any_of import AnyOf
from scheduled_tasks.operations.executions import (
    cancel_executions,
    requeue_executions,
    resolve_executions,
)
from scheduled_tasks.operations.refusals import (
    Obstacle,
    obstacle_to_cancelling,
    obstacle_to_settling,
)
from scheduled_tasks.runtime.sanitizing import redacted_text

#: Selected executions that the confirmation page names.
MAX_NAMED = 20
#: Different reasons that are reported for refused executions.
MAX_REASONS = 5


class ExecutionActions(RunPermission):
    """The actions of the list of executions."""

    actions = ("cancel", "requeue", "resolve")

    @admin.action(description=_("Cancel selected executions…"), permissions=["run"])
    def cancel(self, request: HttpRequest, queryset: QuerySet[Execution]) -> HttpResponse:
        """Ask for a reason, then cancel the unfinished ones."""
        ids = selected_ids(self, request, queryset)
        title = ngettext("Cancel %d execution", "Cancel %d executions", len(ids))
        return self.confirm(
            request,
            ids,
            action="cancel",
            title=title % len(ids),
            submit_label=_g("Cancel executions"),
            form=CancelForm,
            confirmed=BulkChange(self, request, ids).cancel,
            help_text=cancel_help_text(),
        )

    @admin.action(description=_("Requeue selected failures"), permissions=["run"])
    def requeue(self, request: HttpRequest, queryset: QuerySet[Execution]) -> None:
        """Requeue the failed ones, each with its own payload."""
        BulkChange(self, request, selected_ids(self, request, queryset)).requeue()

    @admin.action(description=_("Resolve selected failures…"), permissions=["run"])
    def resolve(self, request: HttpRequest, queryset: QuerySet[Execution]) -> HttpResponse:
        """Ask for a reason, then resolve the failed ones."""
        ids = selected_ids(self, request, queryset)
        title = ngettext("Resolve %d failure", "Resolve %d failures", len(ids))
        return self.confirm(
            request,
            ids,
            action="resolve",
            title=title % len(ids),
            submit_label=_g("Resolve"),
            form=ResolveForm,
            confirmed=BulkChange(self, request, ids).resolve,
        )

    def confirm(
        self, request: HttpRequest, ids: list[int], *, action: str, **options: Any
    ) -> HttpResponse:
        """Return the confirmation page, or act once the user has confirmed."""
        named = Execution.objects.filter(pk__in=ids[:MAX_NAMED]).only("task_name")
        confirmation = Confirmation(
            **options,
            back_url=request.get_full_path(),
            subjects=[*map(str, named), *(["…"] if len(ids) > MAX_NAMED else [])],
            breadcrumbs=[(request.get_full_path(), capfirst(self.opts.verbose_name_plural))],
            hidden={
                "action": action,
                # Django runs no action unless a row is ticked; SELECTED has them all.
                ACTION_CHECKBOX_NAME: str(ids[0]) if ids else "0",
                SELECTED: as_text(ids),
            },
        )
        return ConfirmationPage(self, request, confirmation).respond()


class BulkChange:
    """One request that changes executions, in the user's name and with log entries."""

    def __init__(self, admin: ModelAdmin[Any], request: HttpRequest, ids: Collection[int]) -> None:
        self.admin = admin
        self.request = request
        self.ids = set(ids)
        self.by = user_of(request)

    def cancel(self, reason: str) -> None:
        done = cancel_executions(self.ids, reason=reason, by=self.by)
        cancelled = _g("Cancelled: %s") % redacted_text(reason) if reason else _g("Cancelled.")
        self.log(self.rows(done), cancelled)
        self.report(ngettext("%d cancelled.", "%d cancelled.", len(done)), len(done))
        self.report_rest(self.ids.difference(done), obstacle_to_cancelling)

    def requeue(self) -> None:
        done = requeue_executions(self.ids, by=self.by)
        failed = [new.requeue_of for new in done.again if new.requeue_of is not None]
        self.log(failed, _g("Requeued."))
        self.report(ngettext("%d requeued.", "%d requeued.", len(failed)), len(failed))
        for why, count in Counter(done.refused.values()).most_common(MAX_REASONS):
            self.warn(ngettext("%d was refused:", "%d were refused:", count) % count + f" {why}")
        handled = {row.pk for row in failed}.union(done.refused)
        self.report_rest(self.ids - handled, obstacle_to_settling)

    def resolve(self, reason: str) -> None:
        done = resolve_executions(self.ids, reason, by=self.by)
        self.log(self.rows(done), _g("Resolved: %s") % redacted_text(reason))
        self.report(ngettext("%d resolved.", "%d resolved.", len(done)), len(done))
        self.report_rest(self.ids.difference(done), obstacle_to_settling)

    def rows(self, ids: Iterable[int]) -> Any:
        """Return the executions with these ids, with the columns that this class reads."""
        rows = Execution.objects.on_primary().filter(AnyOf("pk", list(ids)))
        return rows.only(
            "task", "task_name", "status", "test_mode", "resolved_at", "cancel_requested_at"
        )

    def log(self, rows: Iterable[Execution], message: str) -> None:
        """Write the admin's log entries in one statement."""
        LogEntry.objects.log_actions(self.request.user.pk, rows, CHANGE, message)  # type: ignore[arg-type]

    def report(self, message: str, count: int) -> None:
        level = messages.SUCCESS if count else messages.INFO
        self.admin.message_user(self.request, message % count, level)

    def warn(self, message: str) -> None:
        self.admin.message_user(self.request, message, messages.WARNING)

    def report_rest(self, ids: Collection[int], obstacle: Callable[[Execution], Obstacle]) -> None:
        """Report the counts of unchanged executions by reason."""
        if not ids:
            return
        rows = list(self.rows(ids))
        for reason, count in Counter(obstacle(row) for row in rows).items():
            self.warn(reason.counted % count)
        if deleted := len(ids) - len(rows):
            message = ngettext("%d has been deleted.", "%d have been deleted.", deleted)
            self.warn(message % deleted)


def cancel_help_text() -> str:
    """Return what cancelling means for queued and for running executions."""
    message = _g(
        "Queued executions are cancelled immediately. Running ones are asked to stop, and killed "
        "after %g s if they do not."
    )
    return message % app_settings.KILL_GRACE
