"""What the list and the page of a task say of it."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import islice

from django.contrib import admin
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext as _g
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from scheduled_tasks.admin import display
from scheduled_tasks.admin.base import StyledAdmin
from scheduled_tasks.conf import app_settings
from scheduled_tasks.exceptions import ScheduledTasksError
from scheduled_tasks.models import Execution, Task
from scheduled_tasks.models.task import MICROSECOND
from scheduled_tasks.runtime.redaction import mask_secrets_in_json

COMING_SLOTS = 5
WORTH_COUNTING = 2


class TaskColumns(StyledAdmin):
    """The columns of the list of tasks and the read-only rows of a task's page."""

    @admin.display(description=_("schedule"), ordering="schedule")
    def schedule_in_english(self, task: Task) -> str:
        """Return the schedule in English, with its text at hand."""
        return format_html('<span title="{}">{}</span>', task.schedule, task.describe_schedule())

    @admin.display(description=_("next run"), ordering="state__next_run_at")
    def next_run(self, task: Task) -> str:
        """Return when the task is due next, and whether that should have happened already."""
        due = task.state.next_run_at
        if task.state.parked_at:
            return display.badge("parked", _g("parked"))
        if paused := self.pause_of(task):
            return paused
        late = due and due < timezone.now() - timedelta(seconds=app_settings.MISFIRE_THRESHOLD)
        if late:
            return format_html("{} {}", display.badge("late", _g("late")), display.moment(due))
        return display.moment(due)

    def pause_of(self, task: Task) -> str:
        """Return until when the task is paused and why, "" if it would fire."""
        until = pause_end(task, timezone.now())
        if until is None or task.state.next_run_at is None:
            return ""
        return format_html(
            "{} {}{}",
            display.badge("paused", _g("paused until")),
            display.moment(until),
            display.remark(task.pause_reason),
        )

    @admin.display(description=_("last status"), ordering="state__last_status")
    def last_status(self, task: Task) -> str:
        """Return how and when the last run ended."""
        if task.state.last_run_at is None:
            return self.status_badge(task)
        return format_html("{} {}", self.status_badge(task), display.moment(task.state.last_run_at))

    def status_badge(self, task: Task) -> str:
        """Return how the last run ended, and how often it failed in a row."""
        status, failures = task.state.last_status, task.state.consecutive_failures
        label = dict(Execution.Status.choices).get(status, status)
        if status == Execution.Status.FAILED and failures >= WORTH_COUNTING:
            label = f"{label} × {failures}"  # noqa: RUF001 -- the sign for times
        return display.badge(status, label)

    @admin.display(description=_("enabled"), boolean=True, ordering="enabled")
    def is_enabled(self, task: Task) -> bool:
        """Return whether people let it fire."""
        return task.enabled

    @admin.display(description=_("standing"))
    def standing(self, task: Task) -> str:
        """Say in a sentence whether the task will fire, and why not."""
        if task.state.parked_at:
            return _g("Parked: %s") % task.state.parked_reason
        if not task.enabled:
            return _g("Disabled: it fires no slot, and can be run by hand.")
        if problem := task.problem():
            return _g("It cannot run: %s") % problem
        standing = self.pause_in_words(task) or _g("Enabled.")
        if edited := task.changed_from_code:
            said = _g("Changed from code: %s. The list has an action to reset it.")
            return format_html("{} {}", standing, said % ", ".join(edited))
        return standing

    def pause_in_words(self, task: Task) -> str:
        """Say until when the task is paused and why, "" if it is not."""
        until = pause_end(task, timezone.now())
        if until is None:
            return ""
        if not task.pause_reason:
            return format_html(_g("Paused until {}."), display.moment(until))
        return format_html(_g("Paused until {}: {}"), display.moment(until), task.pause_reason)

    @admin.display(description=_("coming runs"))
    def coming_slots(self, task: Task) -> str:
        """Return the next slots that no pause of the task skips."""
        if task.state.next_run_at is None:
            return display.EMPTY
        now = timezone.now()
        until = pause_end(task, now)
        since = now if until is None else until - MICROSECOND
        try:
            slots = list(islice(task.slots_after(since), COMING_SLOTS))
        except ScheduledTasksError as error:
            return str(error)
        if not slots:
            return display.EMPTY
        lines = format_html_join("", "<li>{}</li>", ((display.moment(slot),) for slot in slots))
        return format_html('<ol class="st-slots">{}</ol>', lines)

    @admin.display(description=_("last run"))
    def last_run(self, task: Task) -> str:
        """Return how and when the task last ran, and how often it has run."""
        state = task.state
        if state.last_run_at is None:
            return _g("It has not run yet.")
        runs = ngettext("%d execution", "%d executions", state.execution_count)
        said = runs % state.execution_count
        return format_html(
            '<span class="st-line">{} <span>{}</span></span>', self.last_status(task), said
        )

    @admin.display(description=_("payload"))
    def payload_shown(self, task: Task) -> str:
        """Return the keyword arguments, without secrets."""
        return display.pretty_json(mask_secrets_in_json(task.payload))

    @admin.display(description=_("metadata"))
    def metadata_shown(self, task: Task) -> str:
        """Return what the project keeps with the task, without secrets."""
        return display.pretty_json(mask_secrets_in_json(task.metadata))


def pause_end(task: Task, now: datetime) -> datetime | None:
    """Return until when the task is paused, None if it is not."""
    return task.paused_until if task.is_paused(now) else None
