"""Values of tasks, as their list and their page show them."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import islice

from django.contrib import admin
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import mark_safe
from django.utils.translation import gettext as _g
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from scheduled_tasks.admin import display
from scheduled_tasks.admin.base import StyledAdmin
from scheduled_tasks.admin.links import url
from scheduled_tasks.conf import app_settings
from scheduled_tasks.exceptions import InvalidSchedule, ScheduledTasksError
from scheduled_tasks.models import Execution, Task
from scheduled_tasks.models.task import MICROSECOND
from scheduled_tasks.schedules import Interval

MAX_NEXT_RUNS = 5
#: Consecutive failures from which on the list shows their number.
MIN_COUNTED_FAILURES = 2


class TaskColumns(StyledAdmin):
    """The columns of the list and the read-only fields of the page."""

    @admin.display(description=_("schedule"), ordering="schedule")
    def schedule_in_english(self, task: Task) -> str:
        """Return the schedule in English, with its text as a tooltip and its time zone.

        The time zone is hidden where it is that of the times on the page. The script compares it
        with that of the browser.
        """
        text = task.describe_schedule()
        shown = format_html('<span title="{}">{}</span>', task.schedule, text)
        # The text names a time zone that is not the project's.
        if not (name := zone_of_schedule(task)) or name in text:
            return shown
        hidden = mark_safe(" hidden") if name == timezone.get_current_timezone_name() else ""
        span = '{} <span class="st-schedule-zone" data-zone="{}"{}>{}</span>'
        return format_html(span, shown, name, hidden, name)

    @admin.display(description=_("next run"), ordering="state__next_run_at")
    def next_run(self, task: Task) -> str:
        """Return the time of the next run, or why there is none, and whether it is late."""
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
        """Return the end of the pause and its reason, "" if no run is skipped."""
        until = pause_end(task, timezone.now())
        if until is None or task.state.next_run_at is None:
            return ""
        return format_html(
            "{} {}{}",
            display.badge("paused", _g("paused until")),
            display.moment(until),
            display.small_text(task.pause_reason),
        )

    @admin.display(description=_("last status"), ordering="state__last_status")
    def last_status(self, task: Task) -> str:
        if task.state.last_run_at is None:
            return self.status_badge(task)
        return format_html("{} {}", self.status_badge(task), display.moment(task.state.last_run_at))

    def status_badge(self, task: Task) -> str:
        """Return the status of the last run, with the number of consecutive failures."""
        status, failures = task.state.last_status, task.state.consecutive_failures
        label = dict(Execution.Status.choices).get(status, status)
        if status == Execution.Status.FAILED and failures >= MIN_COUNTED_FAILURES:
            label = f"{label} × {failures}"  # noqa: RUF001 -- the sign for times
        return display.badge(status, label)

    @admin.display(description=_("enabled"), boolean=True, ordering="enabled")
    def is_enabled(self, task: Task) -> bool:
        return task.enabled

    @admin.display(description=_("status"))
    def status(self, task: Task) -> str:
        """Return whether the task will run on schedule, and if not, why."""
        if task.state.parked_at:
            return _g("Parked: %s") % task.state.parked_reason
        if not task.enabled:
            return _g("Disabled. It can still be run manually.")
        if problem := task.problem():
            return _g("Cannot run: %s") % problem
        status = self.pause_in_words(task) or _g("Enabled.")
        if edited := task.changed_from_code:
            message = _g('Changed from code: %s. To undo, use "Reset selected tasks to code".')
            return format_html("{} {}", status, message % ", ".join(edited))
        return status

    def pause_in_words(self, task: Task) -> str:
        """Return until when and why the task is paused, "" if it is not."""
        until = pause_end(task, timezone.now())
        if until is None:
            return ""
        if not task.pause_reason:
            return format_html(_g("Paused until {}."), display.moment(until))
        return format_html(_g("Paused until {}: {}"), display.moment(until), task.pause_reason)

    @admin.display(description=_("next runs"))
    def next_runs(self, task: Task) -> str:
        """Return the next scheduled times after the task's own pause."""
        if task.state.next_run_at is None:
            return display.EMPTY
        now = timezone.now()
        until = pause_end(task, now)
        # A slot at the very end of the pause runs, and ``slots_after`` excludes its argument.
        since = now if until is None else until - MICROSECOND
        try:
            slots = list(islice(task.slots_after(since), MAX_NEXT_RUNS))
        except ScheduledTasksError as error:
            return str(error)
        if not slots:
            return display.EMPTY
        lines = format_html_join("", "<li>{}</li>", ((display.moment(slot),) for slot in slots))
        return format_html('<ol class="st-slots">{}</ol>', lines)

    @admin.display(description=_("last run"))
    def last_run(self, task: Task) -> str:
        """Return the status and the time of the last run, and the number of runs."""
        state = task.state
        if state.last_run_at is None:
            return _g("Never run.")
        runs = ngettext("%d execution", "%d executions", state.execution_count)
        count = runs % state.execution_count
        return format_html(
            '<span class="st-line">{} <span>{}</span></span>', self.last_status(task), count
        )

    @admin.display(description=_("payload"))
    def redacted_payload(self, task: Task) -> str:
        return display.pretty_json(task.payload, whole_url=self.whole_url(task, "payload"))

    @admin.display(description=_("metadata"))
    def redacted_metadata(self, task: Task) -> str:
        return display.pretty_json(task.metadata, whole_url=self.whole_url(task, "metadata"))

    @admin.display(description=_("description"))
    def short_description(self, task: Task) -> str:
        whole = self.whole_url(task, "description")
        return display.long_text(task.description, limit=display.MAX_TEXT_LENGTH, whole_url=whole)

    def whole_url(self, task: Task, part: str) -> str:
        return url(self.admin_site, "task_download", task.pk, part)


def zone_of_schedule(task: Task) -> str:
    """Return the time zone that the schedule is read in, "" for intervals and for none."""
    try:
        schedule = task.parse_schedule()
    except InvalidSchedule:
        return ""
    return "" if schedule is None or isinstance(schedule, Interval) else task.timezone


def pause_end(task: Task, now: datetime) -> datetime | None:
    """Return the end of the task's own pause, None if it is not paused."""
    return task.paused_until if task.is_paused(now) else None
