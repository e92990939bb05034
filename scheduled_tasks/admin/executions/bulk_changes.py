"""What can be done to many executions: cancel, requeue, resolve, delete."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from typing import Any, ClassVar

from django.contrib.admin import ModelAdmin
from django.contrib.admin.models import DELETION
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from scheduled_tasks.admin.bulk import BulkChange
from scheduled_tasks.models import Execution
from scheduled_tasks.models.sql.any_of import AnyOf
from scheduled_tasks.operations.bulk import delete_executions
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


class ExecutionsChange(BulkChange):
    """A change whose warnings are obstacles, or sentences of handlers that were refused."""

    #: Returns why a row was left as it is.
    obstacle: ClassVar[Any] = staticmethod(obstacle_to_settling)

    def rows(self, ids: Iterable[int]) -> Any:
        """Return the executions with these ids, with the columns that this class reads."""
        rows = Execution.objects.on_primary().filter(AnyOf("pk", list(ids)))
        return rows.only(
            "task", "task_name", "status", "test_mode", "resolved_at", "cancel_requested_at"
        )

    def count(self, done: Collection[int], rest: Collection[int]) -> None:
        """Count what was changed, and why the rest was not."""
        self.done += len(done)
        if rest:
            rows = list(self.rows(rest))
            self.warnings += Counter(self.obstacle(row) for row in rows)
            self.deleted += len(rest) - len(rows)

    def sentence(self, warning: Any, count: int) -> str:
        if isinstance(warning, Obstacle):
            return warning.counted % count
        return ngettext("%d was refused:", "%d were refused:", count) % count + f" {warning}"


class CancelExecutions(ExecutionsChange):
    obstacle = staticmethod(obstacle_to_cancelling)

    def __init__(self, admin: ModelAdmin[Any], request: HttpRequest, reason: str) -> None:
        super().__init__(admin, request)
        self.reason = reason

    def step(self, ids: list[int]) -> None:
        done = cancel_executions(ids, reason=self.reason, by=self.by)
        self.count(done, set(ids).difference(done))
        message = _("Cancelled: %s") % redacted_text(self.reason)
        self.log(self.rows(done), message if self.reason else _("Cancelled."))

    def summary(self) -> str:
        return ngettext("%d cancelled.", "%d cancelled.", self.done) % self.done


class RequeueExecutions(ExecutionsChange):
    def step(self, ids: list[int]) -> None:
        done = requeue_executions(ids, by=self.by)
        failed = [new.requeue_of for new in done.again if new.requeue_of is not None]
        handled = {row.pk for row in failed}
        self.count(handled, set(ids).difference(handled, done.refused))
        self.warnings += Counter(done.refused.values())
        self.log(failed, _("Requeued."))

    def summary(self) -> str:
        return ngettext("%d requeued.", "%d requeued.", self.done) % self.done


class ResolveExecutions(ExecutionsChange):
    def __init__(self, admin: ModelAdmin[Any], request: HttpRequest, reason: str) -> None:
        super().__init__(admin, request)
        self.reason = reason

    def step(self, ids: list[int]) -> None:
        done = resolve_executions(ids, self.reason, by=self.by)
        self.count(done, set(ids).difference(done))
        self.log(self.rows(done), _("Resolved: %s") % redacted_text(self.reason))

    def summary(self) -> str:
        return ngettext("%d resolved.", "%d resolved.", self.done) % self.done


class DeleteExecutions(ExecutionsChange):
    def step(self, ids: list[int]) -> None:
        rows = {row.pk: row for row in self.rows(ids)}
        done = delete_executions(ids)
        self.done += len(done)
        self.deleted += len(ids) - len(rows)
        left = Execution.objects.on_primary().running().filter(AnyOf("pk", ids)).count()
        self.warnings += Counter({"running": left} if left else {})
        self.log([rows[pk] for pk in done if pk in rows], "", DELETION)

    def sentence(self, warning: Any, count: int) -> str:
        return running_stay(count)

    def summary(self) -> str:
        message = ngettext("%d execution deleted.", "%d executions deleted.", self.done)
        return message % self.done


def running_stay(count: int) -> str:
    """Return that running executions are not deleted, as a sentence."""
    message = ngettext(
        "%d is running and was not deleted. Cancel it first.",
        "%d are running and were not deleted. Cancel them first.",
        count,
    )
    return message % count
