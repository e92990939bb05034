"""What failed for good, grouped by cause: as much as fits a look, however much there is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib.admin import AdminSite
from django.db.models import Count, Max, Min
from django.db.models.functions import Left
from django.utils.html import format_html_join
from django.utils.translation import ngettext

from scheduled_tasks.admin import display
from scheduled_tasks.admin.filters import CauseFilter
from scheduled_tasks.admin.links import task_link, url
from scheduled_tasks.models import Execution

#: So many of the newest failures are looked at, so many groups shown, each with so many tasks.
LOOKED_AT, SHOWN, TASKS_NAMED = 5_000, 100, 3
LONGEST_ERROR = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Failures of one cause, ready to show."""

    count: int
    category: str
    error: str
    tasks: str
    first: str
    last: str
    number: str
    newest_url: str
    all_url: str
    requeue_url: str
    resolve_url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Groups:
    """The groups, that of the newest failure first.

    ``looked_at`` is not None where there are more failures than were looked at, ``left_out`` says
    how many groups are not shown.
    """

    rows: list[Group]
    looked_at: int | None
    left_out: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """What is counted of one cause, of all its tasks."""

    count: int
    first: datetime
    last: datetime
    newest: int
    tasks: list[Execution]

    def and_of(self, other: Counted) -> Counted:
        """Return it with what was counted of another task."""
        return Counted(
            count=self.count + other.count,
            first=min(self.first, other.first),
            last=max(self.last, other.last),
            newest=max(self.newest, other.newest),
            tasks=[*self.tasks, *other.tasks],
        )


def groups(site: AdminSite) -> Groups:
    """Return what waits for somebody, by cause."""
    dead = Execution.objects.dead()
    last = list(dead.order_by("-pk").values_list("pk", flat=True)[LOOKED_AT - 1 : LOOKED_AT + 1])
    counted = by_cause(dead.filter(pk__gte=last[0]) if last else dead)
    shown = sorted(counted.items(), key=lambda item: -item[1].newest)[:SHOWN]
    newest = beginnings([group.newest for _, group in shown])
    return Groups(
        rows=[row(cause, group, newest[group.newest], site) for cause, group in shown],
        looked_at=LOOKED_AT if len(last) > 1 else None,
        left_out=len(counted) - len(shown),
    )


def by_cause(dead: Any) -> dict[str, Counted]:
    """Count failures by cause, in the database by task as well."""
    found = dead.order_by().values_list("error_fingerprint", "task_id", "task_name")
    found = found.annotate(Count("pk"), Min("finished_at"), Max("finished_at"), Max("pk"))
    counted: dict[str, Counted] = {}
    for cause, task_id, name, count, first, last, newest in found:
        tasks = [Execution(task_id=task_id, task_name=name)]
        one = Counted(count=count, first=first, last=last, newest=newest, tasks=tasks)
        counted[cause] = counted[cause].and_of(one) if cause in counted else one
    return counted


def beginnings(ids: Iterable[int]) -> dict[int, Any]:
    """Return executions with the beginnings of their errors."""
    rows = Execution.objects.filter(pk__in=list(ids)).only("error_category")
    return {row.pk: row for row in rows.annotate(short_error=Left("error", LONGEST_ERROR + 1))}


def row(cause: str, group: Counted, newest: Any, site: AdminSite) -> Group:
    listed = url(site, "execution_changelist") if site.is_registered(Execution) else ""
    key = CauseFilter.key(cause)
    return Group(
        count=group.count,
        category=newest.error_category,
        error=display.cut(newest.short_error, LONGEST_ERROR),
        tasks=named(group.tasks, site),
        first=display.moment(group.first),
        last=display.moment(group.last),
        number=f"#{group.newest}",
        newest_url=listed and url(site, "execution_change", group.newest),
        all_url=listed and f"{listed}?{CauseFilter.parameter_name}={key}",
        requeue_url=url(site, "deadletter_requeue", key),
        resolve_url=url(site, "deadletter_resolve", key),
    )


def named(tasks: list[Execution], site: AdminSite) -> str:
    """Return links to the first tasks, and how many there are besides."""
    tasks = sorted(tasks, key=lambda task: task.task_name)
    links = [task_link(site, task) for task in tasks[:TASKS_NAMED]]
    if (more := len(tasks) - TASKS_NAMED) > 0:
        links.append(ngettext("%d more", "%d more", more) % more)
    return format_html_join(", ", "{}", ((link,) for link in links))
