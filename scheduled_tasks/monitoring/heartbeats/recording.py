"""Write heartbeats into the outbox, within the transactions that begin and end runs.

One start for each execution, with its first attempt, and one end, after its last one. What is not
run has neither, and neither has a run in test mode. Tasks without a URL cost no statement.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta

from django.db.models.functions import Left

from scheduled_tasks.models.delivery import Delivery
from scheduled_tasks.models.execution import Execution
from scheduled_tasks.models.execution_log import ExecutionLog
from scheduled_tasks.models.sql.any_of import AnyOf
from scheduled_tasks.models.task import Task
from scheduled_tasks.monitoring.heartbeats.dialects import Event, Report
from scheduled_tasks.monitoring.heartbeats.services import addressed, host_of, is_told
from scheduled_tasks.monitoring.outbox.messages import MAX_LANE_LENGTH, leave
from scheduled_tasks.runtime.sanitizing import sanitized_text
from scheduled_tasks.runtime.statuses import WELL_ENDED

#: The characters that are kept of a reason and of an error.
MAX_TEXT_LENGTH = 2_000
#: Of a log: the last lines, and the characters of each.
MAX_LOG_LINES, MAX_LINE_LENGTH = 100, 1_000
#: The characters that are kept of all these lines, give or take one line.
MAX_LOG_LENGTH = 10_000
#: What has waited longer is not sent any more once a later run has ended: after an outage of the
#: network, services hear how things are, not all that has been.
WORTHLESS_AFTER = timedelta(minutes=5)
#: Lanes of one service, so that a worker tells it of several tasks at the same time.
LANES_PER_SERVICE = 4
REPLACED = "It could not be sent in time, and a later one replaces it."


def record_starts(started: Iterable[tuple[int, Task | None]], now: datetime, *, using: str) -> None:
    """Write that executions begin their first attempt: the ids of executions, with their tasks."""
    deliveries = [
        heartbeat(task.pk, task.heartbeat_url, Event.START, report, now)
        for pk, task in started
        if task is not None and is_told(task.heartbeat_url, Event.START)
        for report in [Report(execution_id=pk, task_name=task.name)]
    ]
    leave(deliveries, using=using)


def record_ends(
    ended: Iterable[Execution], urls: Mapping[int, str], now: datetime, *, using: str
) -> None:
    """Write how executions ended, as they are after it.

    ``urls`` are the heartbeat URLs by the ids of tasks, without those of tasks that have none.
    """
    if not urls:
        return
    deliveries = [
        heartbeat(row.task_id or 0, url, event, report_of(row, url, using=using), now)
        for row in ended
        if row.attempt and not row.test_mode
        if is_told(url := urls.get(row.task_id or 0, ""), event := event_of(row))
    ]
    give_up_older({delivery.sequence for delivery in deliveries}, now, using=using)
    leave(deliveries, using=using)


def heartbeat_urls(task_ids: Collection[int | None], *, using: str) -> dict[int, str]:
    """Return the heartbeat URLs of those of these tasks that have one, by their ids."""
    known = [pk for pk in task_ids if pk is not None]
    if not known:
        return {}
    tasks = Task.objects.using(using).filter(AnyOf("pk", known), heartbeat_url__gt="")
    return dict(tasks.values_list("pk", "heartbeat_url"))


def heartbeat(task_id: int, url: str, event: str, report: Report, now: datetime) -> Delivery:
    return Delivery(
        transport=Delivery.Transport.HEARTBEAT,
        event=event,
        target=url,
        lane=lane_of(url, task_id),
        sequence=f"heartbeat:{task_id}",
        body=report.as_json(),
        created_at=now,
        due_at=now,
    )


def lane_of(url: str, task_id: int) -> str:
    """Return the lane of the outbox. Lanes belong to one host, whose addresses hang together.

    Of the address, only the host is in it: lanes are shown in logs, and the rest is a secret.
    """
    host = host_of(addressed(url)[1])
    return f"heartbeat {task_id % LANES_PER_SERVICE} {host}"[:MAX_LANE_LENGTH]


def event_of(row: Execution) -> str:
    """Return what an execution that was tried has come to; a handler may skip its own run."""
    return Event.SUCCESS if row.status in WELL_ENDED else Event.FAIL


def report_of(row: Execution, url: str, *, using: str) -> Report:
    dialect, _ = addressed(url)
    texts = (sanitized_text(text, limit=MAX_TEXT_LENGTH) for text in (row.reason, row.error))
    return Report(
        execution_id=row.pk,
        task_name=row.task_name,
        status=str(row.status),
        attempts=row.attempt,
        duration_ms=row.duration_ms,
        text="\n".join(filter(None, texts)),
        log=end_of_log(row.pk, using=using) if dialect.takes_log else "",
    )


def end_of_log(execution_id: int, *, using: str) -> str:
    """Return the last lines of a log, secrets masked as they are stored."""
    newest = ExecutionLog.objects.using(using).filter(execution=execution_id).order_by("-pk")
    rows = newest.values_list("logged_at", "level", Left("message", MAX_LINE_LENGTH))
    lines: list[str] = []
    for logged_at, level, message in rows[:MAX_LOG_LINES]:
        lines.append(f"{logged_at:%H:%M:%S} {logging.getLevelName(level)} {message}")
        if sum(map(len, lines)) > MAX_LOG_LENGTH:
            break
    return "\n".join(reversed(lines))


def give_up_older(sequences: Collection[str], now: datetime, *, using: str) -> None:
    """Give up what has waited for long in these sequences, unless it is just being sent."""
    if not sequences:
        return
    older = (
        Delivery.objects.using(using)
        .unclaimed(now)
        .filter(sequence__in=sequences, created_at__lte=now - WORTHLESS_AFTER)
    )
    # Locked in order first, and what others hold is left out: the outbox writes these rows, too.
    if ids := list(older.locked(skip=True).values_list("pk", flat=True)):
        older.filter(pk__in=ids).update(finished_at=now, error=REPLACED)
