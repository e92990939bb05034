"""Values of executions, as their list and their page show them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.db.models.functions import Left
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext as _g
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from scheduled_tasks.admin import display
from scheduled_tasks.admin.base import HistoryAdmin
from scheduled_tasks.admin.links import task_link, url
from scheduled_tasks.models import Execution
from scheduled_tasks.operations.estimates import part_done, remaining

#: Columns that may be long.
LONG_COLUMNS = (
    "payload",
    "checkpoint",
    "progress",
    "result",
    "reason",
    "error",
    "traceback",
    "resolution",
)


class ExecutionColumns(HistoryAdmin):
    """The columns of the list and the read-only fields of the page."""

    @admin.display(description=_("number"), ordering="pk")
    def number(self, execution: Execution) -> str:
        return f"#{execution.pk}"

    @admin.display(description=_("status"))
    def status_badge(self, execution: Execution) -> str:
        return status_badge(execution)

    @admin.display(description=_("status"))
    def status_and_reason(self, execution: Any) -> str:
        """Return the status and the reason. It needs a row of ``without_long_columns``."""
        parts = [self.status_badge(execution), *map(display.small_text, reasons(execution))]
        return format_html_join("", "{}", ((part,) for part in parts))

    @admin.display(description=_("next attempt"))
    def next_attempt_text(self, execution: Execution) -> str:
        return next_attempt(execution)

    @admin.display(description=_("apart"))
    def apart_text(self, execution: Execution) -> str:
        return why_apart(execution)

    @admin.display(description=_("asked to stop"))
    def stop_moment(self, execution: Execution) -> str:
        return display.moment(execution.cancel_requested_at)

    @admin.display(description=_("requeue of"))
    def requeue_link(self, execution: Execution) -> str:
        page = url(self.admin_site, "execution_change", execution.requeue_of_id)
        return format_html('<a href="{}">#{}</a>', page, execution.requeue_of_id)

    @admin.display(description=_("resolved"))
    def resolution_text(self, execution: Execution) -> str:
        moment = display.moment(execution.resolved_at)
        resolution = display.truncated(execution.resolution, display.MAX_TEXT_LENGTH)
        by = _g("by %s") % execution.resolved_by if execution.resolved_by else ""
        return format_html("{} {} {}", resolution, moment, by)

    @admin.display(description=_("task"))
    def task_link(self, execution: Execution) -> str:
        return task_link(self.admin_site, execution)

    @admin.display(description=_("scheduled for"))
    def scheduled_moment(self, execution: Execution) -> str:
        return scheduled_times(execution)

    @admin.display(description=_("created"))
    def created_moment(self, execution: Execution) -> str:
        return display.moment(execution.created_at)

    @admin.display(description=_("claimed"))
    def claimed_moment(self, execution: Execution) -> str:
        return display.moment(execution.claimed_at)

    @admin.display(description=_("started"))
    def started_moment(self, execution: Execution) -> str:
        return display.moment(started_at(execution))

    @admin.display(description=_("finished"))
    def finished_moment(self, execution: Execution) -> str:
        return display.moment(execution.finished_at)

    @admin.display(description=_("delay"))
    def delay(self, execution: Execution) -> str:
        return display.duration(delay_ms(execution))

    @admin.display(description=_("duration"))
    def duration(self, execution: Execution) -> str:
        return display.duration(execution.duration_ms)

    @admin.display(description=_("peak memory"))
    def peak_memory(self, execution: Execution) -> str:
        return display.megabytes(execution.peak_memory_mb)

    @admin.display(description=_("progress"))
    def progress_text(self, execution: Execution) -> str:
        text = display.progress_bar(execution.progress, part_done(execution.progress))
        if (left := remaining(execution, timezone.now())) is None:
            return text
        estimate = _g("about %s left") % display.in_largest_unit(left.total_seconds())
        return estimate if text == display.EMPTY else format_html("{} ({})", text, estimate)

    @admin.display(description=_("items"))
    def counts(self, execution: Execution) -> str:
        numbers = {"processed": execution.processed_count, "errors": execution.error_count}
        return _g("%(processed)d processed, %(errors)d with errors") % numbers

    @admin.display(description=_("reason"))
    def reason_text(self, execution: Execution) -> str:
        return display.truncated(execution.reason, display.MAX_TEXT_LENGTH)

    @admin.display(description=_("checkpoint"))
    def checkpoint_text(self, execution: Execution) -> str:
        """Return where the next attempt may continue, without secrets."""
        whole = self.whole_url(execution, "checkpoint")
        return display.pretty_json(execution.checkpoint, whole_url=whole)

    @admin.display(description=_("payload"))
    def payload_text(self, execution: Execution) -> str:
        """Return the keyword arguments, without secrets."""
        whole = self.whole_url(execution, "payload")
        return display.pretty_json(execution.payload, whole_url=whole)

    @admin.display(description=_("result"))
    def result_text(self, execution: Execution) -> str:
        return display.pretty_json(execution.result, whole_url=self.whole_url(execution, "result"))

    @admin.display(description=_("error"))
    def error_text(self, execution: Execution) -> str:
        whole = self.whole_url(execution, "error")
        return display.long_text(execution.error, limit=display.MAX_TEXT_LENGTH, whole_url=whole)

    @admin.display(description=_("traceback"))
    def traceback_text(self, execution: Execution) -> str:
        """Return the end of the traceback: the exception stands there."""
        whole = self.whole_url(execution, "traceback")
        limit = display.MAX_TEXT_LENGTH
        return display.long_text(execution.traceback, limit=limit, whole_url=whole, end=True)

    def whole_url(self, execution: Execution, part: str) -> str:
        return url(self.admin_site, "execution_download", execution.pk, part)


def status_badge(execution: Execution) -> str:
    """Return the status as a badge, with a second one in test mode."""
    status = display.badge(execution.status, execution.get_status_display())
    if not execution.test_mode:
        return status
    return format_html("{} {}", status, display.badge("test", _g("test")))


def without_long_columns(executions: QuerySet[Execution]) -> QuerySet[Any]:
    """Defer long columns; annotate ``short_reason`` and ``short_error``."""
    beginnings = {
        f"short_{name}": Left(name, display.MAX_SUMMARY_LENGTH + 1) for name in ("reason", "error")
    }
    return executions.defer(*LONG_COLUMNS).annotate(**beginnings)


def scheduled_times(execution: Execution) -> str:
    """Return the scheduled time, or the range and the count of times that the row covers."""
    if execution.slots == 1 or execution.slot is None:
        return display.moment(execution.scheduled_for)
    return format_html(
        '<span class="st-range">{} {} {} <span class="st-count">{}</span></span>',
        display.moment(execution.slot),
        display.TO,
        display.moment(execution.slot_until),
        ngettext("%d run", "%d runs", execution.slots) % execution.slots,
    )


def next_attempt(execution: Execution) -> str:
    """Return which attempt of a queued execution is next, and when.

    Return "" if it is the first one and may start at its scheduled time.
    """
    if execution.status != Execution.Status.QUEUED:
        return ""
    if execution.attempt == 0 and execution.run_after <= execution.scheduled_for:
        return ""
    after = display.moment(execution.run_after)
    return format_html(_g("attempt {} after {}"), execution.attempt + 1, after)


def reasons(execution: Any) -> list[str]:
    """Return the lines below the status, from the next attempt to the reason or error."""
    stopping = execution.status == Execution.Status.RUNNING and execution.cancel_requested_at
    lines = [
        next_attempt(execution),
        why_apart(execution),
        _g("asked to stop") if stopping else "",
        display.truncated(execution.short_reason or execution.short_error),
    ]
    return list(filter(None, lines))


def why_apart(execution: Execution) -> str:
    """Return why an unfinished execution runs apart from others, "" if it does not."""
    if execution.alone_on:
        return _g("runs alone: an earlier run ended together with its worker")
    if execution.is_suspect and execution.status == Execution.Status.QUEUED:
        return _g("runs apart at first: a run of this task ended together with its worker")
    return ""


def started_at(execution: Execution) -> datetime | None:
    """Return when the last attempt started, None while another one is queued."""
    if execution.status == Execution.Status.QUEUED:
        return None
    return execution.started_at or execution.claimed_at


def delay_ms(execution: Execution) -> int | None:
    """Return how long an execution waited for a worker, None if it has not started."""
    if (started := started_at(execution)) is None:
        return None
    return max(0, round((started - execution.run_after).total_seconds() * 1_000))
