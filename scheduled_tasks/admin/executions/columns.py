"""What the list and the page of an execution say of it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.contrib import admin
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
from scheduled_tasks.runtime.redaction import mask_secrets_in_json


class ExecutionColumns(HistoryAdmin):
    """The columns of the list of executions and the rows of an execution's page."""

    @admin.display(description=_("number"), ordering="pk")
    def number(self, execution: Execution) -> str:
        """Return the number of the execution."""
        return f"#{execution.pk}"

    @admin.display(description=_("status"))
    def status_badge(self, execution: Execution) -> str:
        """Return the status in colour."""
        return status_badge(execution)

    @admin.display(description=_("status"))
    def status_and_why(self, execution: Any) -> str:
        """Return the status, with what there is to say of it; only of rows read for a list."""
        parts = [self.status_badge(execution), *map(display.remark, remarks(execution))]
        return format_html_join("", "{}", ((part,) for part in parts))

    @admin.display(description=_("waits for"))
    def waits_text(self, execution: Execution) -> str:
        """Return for which attempt it waits, and how long."""
        return awaited_attempt(execution)

    @admin.display(description=_("asked to stop"))
    def stop_moment(self, execution: Execution) -> str:
        """Return since when it is being cancelled."""
        return display.moment(execution.cancel_requested_at)

    @admin.display(description=_("requeue of"))
    def requeue_link(self, execution: Execution) -> str:
        """Link to the failed execution in the place of which this one runs."""
        page = url(self.admin_site, "execution_change", execution.requeue_of_id)
        return format_html('<a href="{}">#{}</a>', page, execution.requeue_of_id)

    @admin.display(description=_("resolved"))
    def resolution_text(self, execution: Execution) -> str:
        """Return how a failure was settled, when and by whom."""
        moment = display.moment(execution.resolved_at)
        by = _g("by %s") % execution.resolved_by if execution.resolved_by else ""
        return format_html("{} {} {}", execution.resolution, moment, by)

    @admin.display(description=_("task"))
    def task_link(self, execution: Execution) -> str:
        """Link to the task while it exists."""
        return task_link(self.admin_site, execution)

    @admin.display(description=_("scheduled for"))
    def scheduled_moment(self, execution: Execution) -> str:
        """Return the logical time, or the slots that the row covers."""
        return slots_of(execution)

    @admin.display(description=_("created"))
    def created_moment(self, execution: Execution) -> str:
        """Return when it was queued."""
        return display.moment(execution.created_at)

    @admin.display(description=_("claimed"))
    def claimed_moment(self, execution: Execution) -> str:
        """Return when a worker took it."""
        return display.moment(execution.claimed_at)

    @admin.display(description=_("started"))
    def started_moment(self, execution: Execution) -> str:
        """Return when the handler was called, or its worker took it."""
        return display.moment(started(execution))

    @admin.display(description=_("finished"))
    def finished_moment(self, execution: Execution) -> str:
        """Return when it ended."""
        return display.moment(execution.finished_at)

    @admin.display(description=_("delay"))
    def delay(self, execution: Execution) -> str:
        """Return how long it waited after the time at which it might have started."""
        return display.duration(delay(execution))

    @admin.display(description=_("duration"))
    def duration(self, execution: Execution) -> str:
        """Return how long the attempt took."""
        return display.duration(execution.duration_ms)

    @admin.display(description=_("peak memory"))
    def peak_memory(self, execution: Execution) -> str:
        """Return how much memory the attempt used at most."""
        return display.megabytes(execution.peak_memory_mb)

    @admin.display(description=_("progress"))
    def progress_text(self, execution: Execution) -> str:
        """Return how far the run has come, and how long it will still take, about."""
        said = display.progress_bar(execution.progress, part_done(execution.progress))
        if (left := remaining(execution, timezone.now())) is None:
            return said
        about = _g("about %s left") % display.length_of(left)
        return about if said == display.EMPTY else format_html("{} ({})", said, about)

    @admin.display(description=_("counted"))
    def counts(self, execution: Execution) -> str:
        """Return how many items were processed, and how many of them had errors."""
        counted = {"processed": execution.processed_count, "errors": execution.error_count}
        return _g("%(processed)d processed, %(errors)d with errors") % counted

    @admin.display(description=_("checkpoint"))
    def checkpoint_text(self, execution: Execution) -> str:
        """Return where the next attempt may go on."""
        return display.pretty_json(mask_secrets_in_json(execution.checkpoint))

    @admin.display(description=_("payload"))
    def payload_text(self, execution: Execution) -> str:
        """Return the keyword arguments, without secrets."""
        return display.pretty_json(mask_secrets_in_json(execution.payload))

    @admin.display(description=_("result"))
    def result_text(self, execution: Execution) -> str:
        """Return what the handler returned."""
        return display.pretty_json(execution.result)

    @admin.display(description=_("error"))
    def error_text(self, execution: Execution) -> str:
        """Return the exception's message."""
        return display.preformatted(execution.error)

    @admin.display(description=_("traceback"))
    def traceback_text(self, execution: Execution) -> str:
        """Return where the exception came from."""
        return display.preformatted(execution.traceback)


def status_badge(execution: Execution) -> str:
    """Return the status in colour, and a mark where somebody only tried the handler."""
    status = display.badge(execution.status, execution.get_status_display())
    if not execution.test_mode:
        return status
    return format_html("{} {}", status, display.badge("test", _g("test")))


def slots_of(execution: Execution) -> str:
    """Return the logical time of an execution, or from when until when it covers how many slots."""
    if execution.slots == 1 or execution.slot is None:
        return display.moment(execution.scheduled_for)
    return format_html(
        '<span class="st-range">{} {} {} <span class="st-count">{}</span></span>',
        display.moment(execution.slot),
        display.TO,
        display.moment(execution.slot_until),
        ngettext("%d slot", "%d slots", execution.slots) % execution.slots,
    )


def awaited_attempt(execution: Execution) -> str:
    """Return which attempt a queued execution waits for, and since or until when.

    "" for one that waits for a worker only, from its slot on.
    """
    if execution.status != Execution.Status.QUEUED:
        return ""
    if execution.attempt == 0 and execution.run_after <= execution.scheduled_for:
        return ""
    after = display.moment(execution.run_after)
    return format_html(_g("attempt {} after {}"), execution.attempt + 1, after)


def remarks(execution: Any) -> list[str]:
    """Return what a row of a list says below the status: why, and what it waits for."""
    stopping = execution.status == Execution.Status.RUNNING and execution.cancel_requested_at
    said = [
        awaited_attempt(execution),
        _g("asked to stop") if stopping else "",
        display.cut(execution.short_reason or execution.short_error),
    ]
    return list(filter(None, said))


def started(execution: Execution) -> datetime | None:
    """Return when the last attempt began, None while another one is waited for."""
    if execution.status == Execution.Status.QUEUED:
        return None
    return execution.started_at or execution.claimed_at


def delay(execution: Execution) -> int | None:
    """Return how many milliseconds a run waited for a worker, None if it has not started."""
    if (begun := started(execution)) is None:
        return None
    return max(0, round((begun - execution.run_after).total_seconds() * 1_000))
