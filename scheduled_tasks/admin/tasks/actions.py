"""The actions of the list of tasks, for selections of any size."""

from __future__ import annotations

from collections.abc import Sequence
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
from scheduled_tasks.admin.confirmation import DELETE, Confirmation, ConfirmationPage
from scheduled_tasks.admin.permissions import user_of
from scheduled_tasks.admin.selection import (
    MAX_NAMED,
    SELECTED,
    as_text,
    names_of,
    selected_ids,
)
from scheduled_tasks.admin.tasks.bulk_changes import (
    DeleteTasks,
    PauseTasks,
    ResetTasksToCode,
    ResumeTasks,
    RunTasksNow,
    SwitchTasks,
)
from scheduled_tasks.admin.tasks.pause_page import PauseTasksPage
from scheduled_tasks.models import Execution, Task
from scheduled_tasks.models.sql.any_of import AnyOf
from scheduled_tasks.models.task_state import UNDECLARED
from scheduled_tasks.operations.tasks import run_task_now


class TaskActions(BulkAdmin):
    """The actions. A task that cannot be changed is reported and does not stop the others."""

    actions = (
        "delete_selected",
        "enable",
        "disable",
        "run_now",
        "pause",
        "end_pause",
        "reset_to_code",
    )

    @admin.action(description=_("Enable selected tasks"), permissions=["change"])
    def enable(self, request: HttpRequest, queryset: QuerySet[Task]) -> HttpResponse | None:
        ids = selected_ids(self, request, queryset)
        return SwitchTasks(self, request, enabled=True).apply(ids)

    @admin.action(description=_("Disable selected tasks"), permissions=["change"])
    def disable(self, request: HttpRequest, queryset: QuerySet[Task]) -> HttpResponse | None:
        ids = selected_ids(self, request, queryset)
        return SwitchTasks(self, request, enabled=False).apply(ids)

    @admin.action(description=_("Run selected tasks now"), permissions=["run"])
    def run_now(self, request: HttpRequest, queryset: QuerySet[Task]) -> HttpResponse | None:
        """Queue one execution of each task, with its own payload."""
        return RunTasksNow(self, request).apply(selected_ids(self, request, queryset))

    @admin.action(description=_("Pause selected tasks…"), permissions=["change"])
    def pause(self, request: HttpRequest, queryset: QuerySet[Task]) -> HttpResponse | None:
        """Ask until when and why, then pause the tasks."""
        ids = selected_ids(self, request, queryset)
        if self.all_are_gone(request, ids):
            return None
        return PauseTasksPage(
            self,
            request,
            ids,
            lambda until, reason: PauseTasks(self, request, until, reason).apply(ids),
        ).respond()

    @admin.action(description=_("Resume selected tasks"), permissions=["change"])
    def end_pause(self, request: HttpRequest, queryset: QuerySet[Task]) -> HttpResponse | None:
        return ResumeTasks(self, request).apply(selected_ids(self, request, queryset))

    @admin.action(description=_("Reset selected tasks to code"), permissions=["change"])
    def reset_to_code(self, request: HttpRequest, queryset: QuerySet[Task]) -> HttpResponse | None:
        """Undo what people changed in tasks that are declared in code."""
        return ResetTasksToCode(self, request).apply(selected_ids(self, request, queryset))

    @delete_action
    def delete_selected(
        self, request: HttpRequest, queryset: QuerySet[Task]
    ) -> HttpResponse | None:
        """Ask whether to delete, then delete; refuse while tasks declared in code are selected."""
        ids = selected_ids(self, request, queryset)
        if self.all_are_gone(request, ids):
            return None
        declared = declared_in_code(ids)
        title = ngettext("Delete %d task", "Delete %d tasks", len(ids))
        page = request.get_full_path()
        confirmation = Confirmation(
            title=title % len(ids),
            submit_label=_g("Yes, delete"),
            submit_name="post",
            form=None if declared else forms.Form,
            confirmed=lambda _reason: DeleteTasks(self, request).apply(ids),
            back_url=page,
            subjects=declared or names_of(Task.objects.only("name"), ids),
            help_text=_g(
                "Are you sure? Queued executions are cancelled. The history of executions stays."
            ),
            breadcrumbs=[(page, capfirst(self.opts.verbose_name_plural))],
            hidden={
                "action": DELETE,
                ACTION_CHECKBOX_NAME: str(ids[0]) if ids else "0",
                SELECTED: as_text(ids),
            },
        )
        return ConfirmationPage(self, request, confirmation).respond()

    def queue_run(
        self,
        request: HttpRequest,
        task: Task,
        payload: dict[str, Any] | None = None,
        *,
        test_mode: bool = False,
    ) -> Execution:
        """Queue an execution in the user's name, with a log entry."""
        execution = run_task_now(task, payload, by=user_of(request), test_mode=test_mode)
        message = _g("Run now: execution #%d.")
        if test_mode:
            message = _g("Run now in test mode: execution #%d.")
        self.log_change(request, task, message % execution.pk)
        return execution


def declared_in_code(ids: Sequence[int]) -> list[str]:
    """Return why selected tasks cannot be deleted: a sentence for each of the first ones."""
    tasks = Task.objects.filter(AnyOf("pk", ids), origin=Task.Origin.CODE)
    names = list(
        tasks.exclude(state__parked_reason=UNDECLARED).values_list("name", flat=True)[
            : MAX_NAMED + 1
        ]
    )
    protected = _g("%s: declared in code. Disable it instead.")
    return [protected % name for name in names[:MAX_NAMED]] + ["…"] * (len(names) > MAX_NAMED)
