"""Unresolved failures grouped by cause, bounded however many there are."""

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

#: The newest failures that are counted.
MAX_COUNTED = 5_000
MAX_GROUPS = 100
#: Tasks that each group names.
MAX_TASKS = 3
MAX_ERROR_LENGTH = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Failures with the same cause, as the template shows them."""

    count: int
    category: str
    error: str
    tasks: str
    first_seen: str
    last_seen: str
    number: str
    newest_url: str
    all_url: str
    requeue_url: str
    resolve_url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Groups:
    """The groups, the one with the newest failure first.

    ``limit`` is the number of failures that were counted, None if all of them were.
    ``hidden`` is the number of groups that are left out.
    """

    rows: list[Group]
    limit: int | None
    hidden: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What is counted of one cause."""

    count: int
    first: datetime
    last: datetime
    newest: int
    tasks: list[Execution]

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            count=self.count + other.count,
            first=min(self.first, other.first),
            last=max(self.last, other.last),
            newest=max(self.newest, other.newest),
            tasks=[*self.tasks, *other.tasks],
        )


def groups(site: AdminSite) -> Groups:
    """Return the unresolved failures by cause."""
    dead = Execution.objects.dead()
    ids = dead.order_by("-pk").values_list("pk", flat=True)
    # The oldest of the counted failures, and the next one, which shows that there are more.
    oldest = list(ids[MAX_COUNTED - 1 : MAX_COUNTED + 1])
    tallies = tally(dead.filter(pk__gte=oldest[0]) if oldest else dead)
    shown = sorted(tallies.items(), key=lambda item: -item[1].newest)[:MAX_GROUPS]
    newest = with_short_errors([group.newest for _, group in shown])
    return Groups(
        rows=[row(cause, group, newest[group.newest], site) for cause, group in shown],
        limit=MAX_COUNTED if len(oldest) > 1 else None,
        hidden=len(tallies) - len(shown),
    )


def tally(dead: Any) -> dict[str, Tally]:
    """Count failures by cause; the database counts by cause and task."""
    rows = dead.order_by().values_list("error_fingerprint", "task_id", "task_name")
    rows = rows.annotate(Count("pk"), Min("finished_at"), Max("finished_at"), Max("pk"))
    tallies: dict[str, Tally] = {}
    for cause, task_id, name, count, first, last, newest in rows:
        tasks = [Execution(task_id=task_id, task_name=name)]
        one = Tally(count=count, first=first, last=last, newest=newest, tasks=tasks)
        tallies[cause] = tallies[cause] + one if cause in tallies else one
    return tallies


def with_short_errors(ids: Iterable[int]) -> dict[int, Any]:
    """Return executions by id, with the beginning of their error as ``short_error``."""
    # The database cuts, so that long errors are never fetched.
    rows = Execution.objects.filter(pk__in=list(ids)).only("error_category")
    return {row.pk: row for row in rows.annotate(short_error=Left("error", MAX_ERROR_LENGTH + 1))}


def row(cause: str, group: Tally, newest: Any, site: AdminSite) -> Group:
    changelist = url(site, "execution_changelist") if site.is_registered(Execution) else ""
    key = CauseFilter.key(cause)
    return Group(
        count=group.count,
        category=newest.error_category,
        error=display.truncated(newest.short_error, MAX_ERROR_LENGTH),
        tasks=task_links(group.tasks, site),
        first_seen=display.moment(group.first),
        last_seen=display.moment(group.last),
        number=f"#{group.newest}",
        newest_url=changelist and url(site, "execution_change", group.newest),
        all_url=changelist and f"{changelist}?{CauseFilter.parameter_name}={key}",
        requeue_url=url(site, "deadletter_requeue", key),
        resolve_url=url(site, "deadletter_resolve", key),
    )


def task_links(tasks: list[Execution], site: AdminSite) -> str:
    """Return links to the first tasks, and the number of the others."""
    tasks = sorted(tasks, key=lambda task: task.task_name)
    links = [task_link(site, task) for task in tasks[:MAX_TASKS]]
    if (more := len(tasks) - MAX_TASKS) > 0:
        links.append(ngettext("%d more", "%d more", more) % more)
    return format_html_join(", ", "{}", ((link,) for link in links))
