"""The actions of the list of executions, for selections of any size."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.text import capfirst
from django.utils.translation import gettext as _g
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from scheduled_tasks.admin.bulk import BulkAdmin, delete_action
from scheduled_tasks.admin.confirmation import (
    DELETE,
    CancelForm,
    Confirmation,
    ConfirmationPage,
    ResolveForm,
)
from scheduled_tasks.admin.executions.bulk_changes import (
    CancelExecutions,
    DeleteExecutions,
    RequeueExecutions,
    ResolveExecutions,
)
from scheduled_tasks.admin.permissions import RunPermission
from scheduled_tasks.admin.selection import SELECTED, as_text, names_of, selected_ids
from scheduled_tasks.conf import app_settings
from scheduled_tasks.models import Execution
from scheduled_tasks.runtime.wording import duration


class ExecutionActions(BulkAdmin, RunPermission):
    """The actions of the list of executions."""

    actions = ("delete_selected", "cancel", "requeue", "resolve")

    @admin.action(description=_("Cancel selected executions…"), permissions=["run"])
    def cancel(self, request: HttpRequest, queryset: QuerySet[Execution]) -> HttpResponse | None:
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
            confirmed=lambda reason: CancelExecutions(self, request, reason).apply(ids),
            help_text=cancel_help_text(),
        )

    @admin.action(description=_("Requeue selected failures"), permissions=["run"])
    def requeue(self, request: HttpRequest, queryset: QuerySet[Execution]) -> HttpResponse | None:
        """Requeue the failed ones, each with its own payload."""
        return RequeueExecutions(self, request).apply(selected_ids(self, request, queryset))

    @admin.action(description=_("Resolve selected failures…"), permissions=["run"])
    def resolve(self, request: HttpRequest, queryset: QuerySet[Execution]) -> HttpResponse | None:
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
            confirmed=lambda reason: ResolveExecutions(self, request, reason).apply(ids),
        )

    @delete_action
    def delete_selected(
        self, request: HttpRequest, queryset: QuerySet[Execution]
    ) -> HttpResponse | None:
        """Ask whether to delete, then delete those that are not running."""
        ids = selected_ids(self, request, queryset)
        title = ngettext("Delete %d execution", "Delete %d executions", len(ids))
        return self.confirm(
            request,
            ids,
            action=DELETE,
            title=title % len(ids),
            submit_label=_g("Yes, delete"),
            submit_name="post",
            form=forms.Form,
            confirmed=lambda _reason: DeleteExecutions(self, request).apply(ids),
            help_text=delete_help_text(ids),
        )

    def confirm(
        self, request: HttpRequest, ids: list[int], *, action: str, **options: Any
    ) -> HttpResponse | None:
        """Return the confirmation page, or act once the user has confirmed.

        Return None for the list, if all the executions have been deleted.
        """
        if self.all_are_gone(request, ids):
            return None
        confirmation = Confirmation(
            **options,
            back_url=request.get_full_path(),
            subjects=names_of(Execution.objects.only("task_name"), ids),
            breadcrumbs=[(request.get_full_path(), capfirst(self.opts.verbose_name_plural))],
            hidden={
                "action": action,
                # Django runs no action unless a row is ticked; SELECTED has them all.
                ACTION_CHECKBOX_NAME: str(ids[0]) if ids else "0",
                SELECTED: as_text(ids),
            },
        )
        return ConfirmationPage(self, request, confirmation).respond()


def cancel_help_text() -> str:
    """Return what cancelling means for queued and for running executions."""
    message = _g(
        "Queued executions are cancelled immediately. Running ones are asked to stop, and killed "
        "after %s if they do not."
    )
    return message % duration(app_settings.KILL_GRACE)


def delete_help_text(ids: Collection[int]) -> str:
    """Return what is deleted, and how many stay because they are running."""
    text = _g("Are you sure? Their logs and attempts are deleted as well.")
    running = Execution.objects.running().order_by().values_list("pk", flat=True)
    if stay := len(set(ids).intersection(running)):
        message = ngettext("%d is running and stays.", "%d are running and stay.", stay)
        return f"{text} {message % stay}"
    return text
