"""Many executions cancelled, requeued or resolved at once, and an exact word on each of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable
from typing import Any

from django.contrib import messages
from django.contrib.admin import ModelAdmin
from django.contrib.admin.models import CHANGE, LogEntry
from django.db.models import Q
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext as _g
from django.utils.translation import ngettext

from scheduled_tasks.admin.permissions import user_of
from scheduled_tasks.lifecycle import requeueing, resolving, stopping
from scheduled_tasks.lifecycle.stopping import why_cancelled
from scheduled_tasks.models import Execution
from scheduled_tasks.models.sql.any_of import AnyOf

#: So many different reasons are told for which executions were refused.
REASONS_TOLD = 5


class Settling:
    """One request that settles executions, in the user's name and with log entries."""

    def __init__(self, admin: ModelAdmin[Any], request: HttpRequest, ids: Collection[int]) -> None:
        self.admin = admin
        self.request = request
        self.ids = set(ids)
        self.by = user_of(request)

    def cancel(self, reason: str) -> None:
        """Cancel what has not ended."""
        now = timezone.now()
        count = stopping.cancel(self.ids, now, reason=reason, by=self.by)
        ours = Q(finished_at=now, status=Execution.Status.CANCELLED) | Q(cancel_requested_at=now)
        done = self.rows(self.ids).filter(ours, reason=why_cancelled(reason, self.by))
        self.log(done, why_cancelled(reason, self.by))
        self.say(ngettext("%d cancelled.", "%d cancelled.", count), count)
        self.tell_left(self.ids.difference(row.pk for row in done), why_not_cancelled)

    def requeue(self) -> None:
        """Queue once more what failed for good."""
        done = requeueing.requeue_all(self.ids, timezone.now(), by=self.by)
        failed = [new.requeue_of for new in done.again if new.requeue_of is not None]
        self.log(failed, _g("Requeued."))
        self.say(ngettext("%d requeued.", "%d requeued.", len(failed)), len(failed))
        for why, count in Counter(done.refused.values()).most_common(REASONS_TOLD):
            self.warn(ngettext("%d was refused:", "%d were refused:", count) % count + f" {why}")
        taken = {row.pk for row in failed}.union(done.refused)
        self.tell_left(self.ids - taken, why_not_settled)

    def resolve(self, reason: str) -> None:
        """Settle what failed for good without another run."""
        done = resolving.resolve(self.ids, timezone.now(), reason=reason, by=self.by)
        self.log(self.rows(done), _g("Resolved: %s") % reason)
        self.say(ngettext("%d resolved.", "%d resolved.", len(done)), len(done))
        self.tell_left(self.ids.difference(done), why_not_settled)

    def rows(self, ids: Iterable[int]) -> Any:
        """Return the executions of these numbers, as far as they are looked at here."""
        rows = Execution.objects.on_record().filter(AnyOf("pk", list(ids)))
        return rows.only(
            "task", "task_name", "status", "test_mode", "resolved_at", "cancel_requested_at"
        )

    def log(self, rows: Iterable[Execution], said: str) -> None:
        """Write the admin's log entries, as many as there are in one statement."""
        LogEntry.objects.log_actions(self.request.user.pk, rows, CHANGE, said)  # type: ignore[arg-type]

    def say(self, said: str, count: int) -> None:
        """Say how many it were."""
        level = messages.SUCCESS if count else messages.INFO
        self.admin.message_user(self.request, said % count, level)

    def warn(self, said: str) -> None:
        """Say what was not done."""
        self.admin.message_user(self.request, said, messages.WARNING)

    def tell_left(self, ids: Collection[int], why: Callable[[Execution, int], str]) -> None:
        """Say of how many nothing was done, and why."""
        if not ids:
            return
        rows = list(self.rows(ids))
        examples = {why(row, 1): row for row in rows}
        counts = Counter(why(row, 1) for row in rows)
        for kind, count in counts.items():
            self.warn(why(examples[kind], count) % count)
        if gone := len(ids) - len(rows):
            said = ngettext("%d was deleted meanwhile.", "%d were deleted meanwhile.", gone)
            self.warn(said % gone)


def why_not_cancelled(row: Execution, count: int) -> str:
    if row.finished:
        return ngettext("%d had ended already.", "%d had ended already.", count)
    return ngettext(
        "%d had been asked to stop already.", "%d had been asked to stop already.", count
    )


def why_not_settled(row: Execution, count: int) -> str:
    if row.resolved_at is not None:
        return ngettext(
            "%d had been resolved or requeued by somebody else meanwhile.",
            "%d had been resolved or requeued by somebody else meanwhile.",
            count,
        )
    if row.status != row.Status.FAILED:
        return ngettext("%d has not failed.", "%d have not failed.", count)
    if row.test_mode:
        return ngettext(
            "%d failed in test mode, and waits for nobody.",
            "%d failed in test mode, and wait for nobody.",
            count,
        )
    return ngettext(
        "%d cannot be requeued, since its task is deleted: resolve it.",
        "%d cannot be requeued, since their tasks are deleted: resolve them.",
        count,
    )
