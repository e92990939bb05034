"""What can be done to many tasks: enable, disable, pause, resume, reset to code, run, delete."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from datetime import datetime
from typing import Any

from django.contrib.admin import ModelAdmin
from django.contrib.admin.models import DELETION
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from scheduled_tasks.admin.bulk import BulkChange
from scheduled_tasks.admin.links import url
from scheduled_tasks.admin.selection import existing
from scheduled_tasks.exceptions import ErrorsByField, ScheduledTasksError
from scheduled_tasks.models import Task
from scheduled_tasks.models.sql.any_of import AnyOf
from scheduled_tasks.operations.bulk import (
    Edits,
    delete_tasks,
    pause_tasks,
    reset_tasks_to_code,
    resume_tasks,
    run_tasks_now,
    switch_tasks,
)


class NamesTasks(BulkChange):
    """A change whose warnings name a task each: the count after them sums up."""

    def report(self) -> None:
        self.report_rest()
        self.report_done()


class TasksChange(NamesTasks):
    """An edit of tasks."""

    #: What the admin logs about each task.
    logged: str

    @abstractmethod
    def operate(self, ids: list[int]) -> Edits:
        """Change tasks."""

    def step(self, ids: list[int]) -> None:
        edits = self.operate(ids)
        self.done += len(edits.done)
        self.deleted += len(set(ids) - existing(Task, ids))
        self.warnings += Counter(f"{task.name}: {error}" for task, error in edits.refused)
        self.log_edits(edits)

    def log_edits(self, edits: Edits) -> None:
        self.log([edit.task for edit in edits.done], self.logged)


class SwitchTasks(TasksChange):
    def __init__(self, admin: ModelAdmin[Any], request: HttpRequest, *, enabled: bool) -> None:
        super().__init__(admin, request)
        self.enabled = enabled
        self.logged = _("Enabled.") if enabled else _("Disabled.")

    def operate(self, ids: list[int]) -> Edits:
        edits = switch_tasks(ids, enabled=self.enabled, by=self.by)
        if self.enabled:
            parked = _("%(task)s is parked: %(reason)s")
            for task in (edit.task for edit in edits.done if edit.state.parked_at):
                self.warnings[parked % {"task": task, "reason": task.state.parked_reason}] += 1
        return edits

    def summary(self) -> str:
        if self.enabled:
            return ngettext("%d task enabled.", "%d tasks enabled.", self.done) % self.done
        return ngettext("%d task disabled.", "%d tasks disabled.", self.done) % self.done


class PauseTasks(TasksChange):
    def __init__(
        self, admin: ModelAdmin[Any], request: HttpRequest, until: datetime, reason: str
    ) -> None:
        super().__init__(admin, request)
        self.until = until
        self.reason = reason
        self.logged = _("Paused.")

    def operate(self, ids: list[int]) -> Edits:
        return pause_tasks(ids, self.until, reason=self.reason, by=self.by)

    def summary(self) -> str:
        return ngettext("%d task paused.", "%d tasks paused.", self.done) % self.done


class ResumeTasks(TasksChange):
    def operate(self, ids: list[int]) -> Edits:
        self.logged = _("Resumed.")
        return resume_tasks(ids, by=self.by)

    def summary(self) -> str:
        return ngettext("%d task resumed.", "%d tasks resumed.", self.done) % self.done


class ResetTasksToCode(TasksChange):
    def operate(self, ids: list[int]) -> Edits:
        return reset_tasks_to_code(ids, by=self.by)

    def log_edits(self, edits: Edits) -> None:
        """Log the names of the fields; one statement for the tasks that share them."""
        for names in {tuple(edit.fields) for edit in edits.done}:
            message = _("Reset to code: %s.") % ", ".join(names)
            self.log([edit.task for edit in edits.done if edit.fields == names], message)

    def summary(self) -> str:
        return ngettext("%d task reset.", "%d tasks reset.", self.done) % self.done


class RunTasksNow(NamesTasks):
    """An execution of each task, with its own payload."""

    def step(self, ids: list[int]) -> None:
        queued = run_tasks_now(ids, by=self.by)
        self.done += len(queued.tasks)
        self.deleted += len(ids) - len(queued.tasks) - len(queued.refused)
        self.warnings += Counter(self.refusal(task, error) for task, error in queued.refused)
        self.log(queued.tasks, _("Run now."))

    def refusal(self, task: Task, error: ScheduledTasksError) -> str:
        """Return why a task was not queued, with a link if other arguments would help."""
        message = format_html("{}: {}", task.name, error)
        if not isinstance(error, ErrorsByField):
            return message
        page = url(self.admin.admin_site, "task_run", task.pk)
        return format_html('{} <a href="{}">{}</a>', message, page, _("Enter arguments"))

    def sentence(self, warning: Any, count: int) -> str:
        # Not str(), which would escape the link.
        return warning  # type: ignore[no-any-return]

    def report_done(self) -> None:
        """Say nothing if every run was refused: the reasons say it."""
        if self.done:
            super().report_done()

    def summary(self) -> str:
        message = ngettext("%d execution queued.", "%d executions queued.", self.done)
        return message % self.done


class DeleteTasks(BulkChange):
    """Tasks that code declares stay: the next sync would make them again."""

    def step(self, ids: list[int]) -> None:
        rows = {task.pk: task for task in Task.objects.filter(AnyOf("pk", ids)).only("name")}
        done = delete_tasks(ids, by=self.by)
        self.done += len(done)
        self.log([rows[pk] for pk in done if pk in rows], "", DELETION)
        declared = len(existing(Task, ids))
        self.deleted += len(ids) - len(done) - declared
        if declared:
            self.warnings["declared"] += declared

    def sentence(self, warning: Any, count: int) -> str:
        return (
            ngettext(
                "%d is declared in code and was not deleted. Disable it instead.",
                "%d are declared in code and were not deleted. Disable them instead.",
                count,
            )
            % count
        )

    def summary(self) -> str:
        message = ngettext(
            "Successfully deleted %d task.", "Successfully deleted %d tasks.", self.done
        )
        return message % self.done
