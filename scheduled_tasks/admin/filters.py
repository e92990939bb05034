"""The filters of the lists."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from scheduled_tasks.admin.query_string import is_number
from scheduled_tasks.models import Execution, Task
from scheduled_tasks.models.execution_queries import DEAD
from scheduled_tasks.runtime.statuses import FINISHED

NONE = "-"


class ParkedFilter(admin.SimpleListFilter):
    """Tasks that the engine has parked because they cannot run."""

    title = _("parked")
    parameter_name = "parked"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("1", _("Yes")), ("0", _("No"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Task]) -> QuerySet[Task]:
        if self.value() is None:
            return queryset
        return queryset.filter(state__parked_at__isnull=self.value() == "0")


class PausedFilter(admin.SimpleListFilter):
    """Tasks that are paused themselves; global pauses do not count."""

    title = _("paused")
    parameter_name = "paused"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("1", _("Yes")), ("0", _("No"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Task]) -> QuerySet[Task]:
        if self.value() is None:
            return queryset
        # The first condition makes it false, not NULL, without a pause: ~ keeps such tasks.
        paused = Q(paused_until__isnull=False, paused_until__gt=timezone.now())
        return queryset.filter(paused if self.value() == "1" else ~paused)


class LastStatusFilter(admin.SimpleListFilter):
    """Tasks by the status of their last run."""

    title = _("last status")
    parameter_name = "last_status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [*((status.value, status.label) for status in FINISHED), (NONE, _("never run"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Task]) -> QuerySet[Task]:
        if (status := self.value()) is None:
            return queryset
        return queryset.filter(state__last_status="" if status == NONE else status)


class CategoryFilter(admin.SimpleListFilter):
    title = _("category")
    parameter_name = "category"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Return the existing categories; none hide the filter."""
        used = Task.objects.order_by("category").values_list("category", flat=True).distinct()
        named = [(category, category) for category in used if category]
        return [*named, (NONE, _("none"))] if named else []

    def queryset(self, request: HttpRequest, queryset: QuerySet[Task]) -> QuerySet[Task]:
        if (category := self.value()) is None:
            return queryset
        return queryset.filter(category="" if category == NONE else category)


class OneTaskFilter(admin.SimpleListFilter):
    """Rows of the task that the URL names. It is hidden otherwise: there may be many tasks."""

    title = _("task")
    parameter_name = "task"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        if (task_id := self.value()) is None:
            return []
        if not is_number(task_id):
            raise IncorrectLookupParameters
        name = Task.objects.filter(pk=int(task_id)).values_list("name", flat=True).first()
        return [(task_id, name or f"#{task_id}")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(task=int(task_id)) if (task_id := self.value()) else queryset


class OpenFilter(admin.SimpleListFilter):
    """Alerts by whether their condition still holds."""

    title = _("state")
    parameter_name = "open"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("1", _("Open")), ("0", _("Cleared"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() is None:
            return queryset
        return queryset.filter(cleared_at__isnull=self.value() == "1")


class DeadFilter(admin.SimpleListFilter):
    """Executions that failed for good and are not resolved."""

    title = _("failures")
    parameter_name = "dead"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("1", _("Unresolved"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(DEAD) if self.value() else queryset


class CauseFilter(admin.SimpleListFilter):
    """Unresolved failures with the cause that the URL names. It is hidden otherwise.

    It finds unresolved failures only, because only they are indexed by cause.
    """

    title = _("cause")
    parameter_name = "cause"

    @classmethod
    def key(cls, fingerprint: str) -> str:
        """Return a fingerprint as it appears in a URL."""
        return fingerprint or NONE

    @classmethod
    def fingerprint(cls, key: str) -> str:
        """Return the fingerprint for a part of a URL."""
        # PostgreSQL rejects queries with a null character.
        return "" if key == NONE else key.replace("\0", NONE)

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [(key, _("Selected cause"))] if (key := self.value()) else []

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if not (key := self.value()):
            return queryset
        return queryset.filter(DEAD, error_fingerprint=self.fingerprint(key))


class QueueFilter(admin.SimpleListFilter):
    """Executions by queue. The choices come from tasks: there may be millions of executions."""

    title = _("queue")
    parameter_name = "queue"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Return the queues if there is more than one."""
        used = Task.objects.order_by("queue").values_list("queue", flat=True).distinct()
        queues = [(queue, queue) for queue in used]
        return queues if len(queues) > 1 else []

    def queryset(self, request: HttpRequest, queryset: QuerySet[Execution]) -> QuerySet[Execution]:
        return queryset.filter(queue=queue) if (queue := self.value()) else queryset
