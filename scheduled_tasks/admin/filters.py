"""The filters beside the lists."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from scheduled_tasks.models import Execution, Task
from scheduled_tasks.models.execution import DEAD

NONE = "-"


class ParkedFilter(admin.SimpleListFilter):
    """Tasks that the engine set aside."""

    title = _("parked")
    parameter_name = "parked"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Offer yes and no."""
        return [("1", _("Yes")), ("0", _("No"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Task]) -> QuerySet[Task]:
        """Narrow the list."""
        if self.value() is None:
            return queryset
        return queryset.filter(state__parked_at__isnull=self.value() == "0")


class PausedFilter(admin.SimpleListFilter):
    """Tasks whose slots a pause of their own skips."""

    title = _("paused")
    parameter_name = "paused"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Offer yes and no."""
        return [("1", _("Yes")), ("0", _("No"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Task]) -> QuerySet[Task]:
        """Narrow the list."""
        if self.value() is None:
            return queryset
        paused = Q(paused_until__isnull=False, paused_until__gt=timezone.now())
        return queryset.filter(paused if self.value() == "1" else ~paused)


class LastStatusFilter(admin.SimpleListFilter):
    """Tasks by how their last run ended."""

    title = _("last status")
    parameter_name = "last_status"
    unended = (Execution.Status.QUEUED, Execution.Status.RUNNING)

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Offer the ways in which a run can end."""
        ends = [choice for choice in Execution.Status.choices if choice[0] not in self.unended]
        return [*ends, (NONE, _("has not run"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Task]) -> QuerySet[Task]:
        """Narrow the list."""
        if (status := self.value()) is None:
            return queryset
        return queryset.filter(state__last_status="" if status == NONE else status)


class CategoryFilter(admin.SimpleListFilter):
    """Tasks by category."""

    title = _("category")
    parameter_name = "category"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Offer the categories that there are, if there are any."""
        found = Task.objects.order_by("category").values_list("category", flat=True).distinct()
        named = [(category, category) for category in found if category]
        return [*named, (NONE, _("none"))] if named else []

    def queryset(self, request: HttpRequest, queryset: QuerySet[Task]) -> QuerySet[Task]:
        """Narrow the list."""
        if (category := self.value()) is None:
            return queryset
        return queryset.filter(category="" if category == NONE else category)


class OneTaskFilter(admin.SimpleListFilter):
    """Executions, or changes, of the one task from whose page somebody came; offers no other."""

    title = _("task")
    parameter_name = "task"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Offer the task that the address names."""
        if (task_id := self.value()) is None:
            return []
        if not task_id.isdecimal():
            raise IncorrectLookupParameters
        name = Task.objects.filter(pk=int(task_id)).values_list("name", flat=True).first()
        return [(task_id, name or f"#{task_id}")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Narrow the list."""
        return queryset.filter(task=int(task_id)) if (task_id := self.value()) else queryset


class DeadFilter(admin.SimpleListFilter):
    """Executions that failed for good and wait for somebody."""

    title = _("dead letter")
    parameter_name = "dead"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Offer what waits."""
        return [("1", _("waits for somebody"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Narrow the list."""
        return queryset.filter(DEAD) if self.value() else queryset


class CauseFilter(admin.SimpleListFilter):
    """Dead letters of the one cause from whose group somebody came; offers no other.

    Only what waits for somebody is found: there is an index for that.
    """

    title = _("cause")
    parameter_name = "cause"

    @classmethod
    def key(cls, fingerprint: str) -> str:
        """Return what stands for a fingerprint in an address."""
        return fingerprint or NONE

    @classmethod
    def fingerprint(cls, key: str) -> str:
        """Return the fingerprint for which something stands in an address."""
        # Some databases refuse to be asked for what they cannot hold.
        return "" if key == NONE else key.replace("\0", NONE)

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Offer the cause that the address names."""
        return [(key, _("as chosen"))] if (key := self.value()) else []

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Narrow the list."""
        if not (key := self.value()):
            return queryset
        return queryset.filter(DEAD, error_fingerprint=self.fingerprint(key))


class QueueFilter(admin.SimpleListFilter):
    """Executions by queue. The queues are those of the tasks: there may be millions of runs."""

    title = _("queue")
    parameter_name = "queue"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Offer the queues where there is more than one."""
        found = Task.objects.order_by("queue").values_list("queue", flat=True).distinct()
        queues = [(queue, queue) for queue in found]
        return queues if len(queues) > 1 else []

    def queryset(self, request: HttpRequest, queryset: QuerySet[Execution]) -> QuerySet[Execution]:
        """Narrow the list."""
        return queryset.filter(queue=queue) if (queue := self.value()) else queryset
