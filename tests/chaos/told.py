"""Judges whether people were told what they have to know, once, and nothing else.

Moments of rows and alerts are those of different workers' clocks, which may be behind.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import timedelta

from tests.chaos.history import HARMLESS, Alarm, History, Row
from tests.chaos.messages import Message
from tests.chaos.plan import LEASE, MISFIRE_THRESHOLD
from tests.chaos.unharmed import BEHIND

RAISED, CLEARED = "raised", "cleared"
FAILED, DEAD_LETTER, MISSED, WORKER_LOST = "failed", "dead_letter", "missed", "worker_lost"
#: Alerts that a failure for good raises.
OF_FAILURES = (FAILED, DEAD_LETTER)
#: Of what is found by looking; at rest nothing of it is left.
BY_LOOKING = ("scheduler_behind",)
SLACK = timedelta(seconds=BEHIND)


def every_failure_has_an_alert(history: History) -> Iterator[str]:
    """Hold that whatever failed for good has an alert, unless one was open already."""
    alarms = defaultdict(list)
    for alarm in history.alarms:
        alarms[alarm.condition, alarm.task].append(alarm)
    for row in history.rows:
        for condition in OF_FAILURES if row.failed else ():
            if not any(may_tell_of(alarm, row) for alarm in alarms[condition, row.task]):
                yield f"{row.task}: #{row.id} has failed, and raised no alert {condition}"


def may_tell_of(alarm: Alarm, row: Row) -> bool:
    """Say whether an alert was open when a row ended, or was raised soon after."""
    if row.finished_at is None or alarm.execution == row.id:
        return True
    begun, ended = alarm.raised_at - SLACK, alarm.cleared_at
    return begun <= row.finished_at and (ended is None or row.finished_at <= ended + SLACK)


def every_alert_has_a_cause(history: History) -> Iterator[str]:
    """Hold that nothing is reported that is not in the history."""
    failed = {(row.task, row.id) for row in history.rows if row.failed}
    for alarm in history.alarms:
        what = f"{alarm.condition} of {alarm.task or alarm.subject or 'all'}"
        match alarm.condition:
            case "failed" | "dead_letter":
                if (alarm.task, alarm.execution) not in failed:
                    yield f"alert {what}: #{alarm.execution} has not failed"
            case "missed":
                if not was_late(alarm, history):
                    yield f"alert {what}: slot {alarm.slot} was not late"
            case "worker_lost":
                if history.states.get(alarm.subject) != "lost":
                    yield f"alert {what}: it was not lost"
            case condition if condition not in BY_LOOKING:
                yield f"alert {what}: nothing explains it"


def was_late(alarm: Alarm, history: History) -> bool:
    """Say whether a slot was decided, or found, later than it may be."""
    return any(
        row.task == alarm.task and is_for(row, alarm) and was_found_late(row, alarm)
        for row in history.rows
    )


def is_for(row: Row, alarm: Alarm) -> bool:
    if row.slot is None or alarm.slot is None:
        return False
    return row.slot <= alarm.slot <= (row.slot_until or row.slot)


def was_found_late(row: Row, alarm: Alarm) -> bool:
    """Say whether a row is called missed, or was made when its slot was late.

    A row that covers slots is made for the first of them, and goes on with later ones.
    """
    if row.status == MISSED or alarm.slot is None:
        return True
    decided = row.finished_at if row.slot_until else row.created_at
    return decided is None or (decided - alarm.slot).total_seconds() > MISFIRE_THRESHOLD


def alerts_are_raised_once_at_a_time(history: History) -> Iterator[str]:
    """Hold that no second alert of the same is raised while one is open."""
    before: dict[tuple[str, str, str], Alarm] = {}
    for alarm in sorted(history.alarms, key=lambda alarm: alarm.raised_at):
        what = alarm.condition, alarm.task, alarm.subject
        earlier = before.get(what)
        if earlier and (earlier.cleared_at is None or earlier.cleared_at > alarm.raised_at + SLACK):
            yield f"alert {' '.join(filter(None, what))}: it was raised while one was open"
        before[what] = alarm


def no_alert_outlasts_its_cause(history: History) -> Iterator[str]:
    """Hold that alerts are open exactly of tasks that fail, and none of what is over at rest."""
    still = {(alarm.condition, alarm.task) for alarm in history.alarms if not alarm.cleared_at}
    for task, failures in history.failing.items():
        if failures and (FAILED, task) not in still:
            yield f"{task}: it has failed {failures} times in a row, and no alert is open"
        if not failures and (FAILED, task) in still:
            yield f"{task}: its last run has not failed, and its alert is open"
    for alarm in history.alarms:
        if not alarm.cleared_at and alarm.condition in (WORKER_LOST, *BY_LOOKING):
            yield f"alert {alarm.condition} {alarm.subject}: it is over, and still open"


def every_message_arrives(history: History) -> Iterator[str]:
    """Hold that people are told of each alert, and that it is over, and the outbox knows that."""
    arrived = {(message.alert, message.event) for message in history.messages}
    left = {(due.alert, due.event) for due in history.outbox}
    for alarm in history.alarms:
        for event in (RAISED, CLEARED) if alarm.cleared_at else (RAISED,):
            if (alarm.id, event) not in left:
                yield f"alert {alarm.condition} {alarm.task}: nobody was to be told: {event}"
            if (alarm.id, event) not in arrived:
                yield f"alert {alarm.condition} {alarm.task}: nobody was told: {event}"
    for due in history.outbox:
        if not due.delivered:
            yield f"alert {due.alert}: {due.event} is not on record as sent"


def nobody_is_told_what_is_not_so(history: History) -> Iterator[str]:
    """Hold that each message is of an alert, and each is left in the outbox once."""
    left = Counter((due.alert, due.event) for due in history.outbox)
    for message in history.messages:
        if (message.alert, message.event) not in left:
            yield f"alert {message.alert}: {message.event} was told, and is in no outbox"
    for (alert, event), times in left.items():
        if times > 1:
            yield f"alert {alert}: {event} was left in the outbox {times} times"


def nobody_is_told_twice_without_harm(history: History) -> Iterator[str]:
    """Hold that a message is sent again only if who sent it could not say so in time."""
    sent = defaultdict(list)
    for message in history.messages:
        sent[message.alert, message.event].append(message)
    for (alert, event), messages in sent.items():
        for message in messages[:-1]:
            if not may_be_repeated(message, history):
                yield f"alert {alert}: {event} was told again, after {message.worker} had told it"


def may_be_repeated(message: Message, history: History) -> bool:
    """Say whether a worker was harmed about when it sent a message, or the database was away."""
    life = history.lives.get(message.worker)
    harmed = [
        (harm.begun, harm.begun + harm.seconds)
        for harm in (life.harms if life else ())
        if harm.costs_the_worker
    ]
    away = [
        (outage.begun.timestamp(), outage.ended.timestamp())
        for outage in history.outages
        if outage.seconds >= HARMLESS
    ]
    near = LEASE + BEHIND
    return any(begun - near <= message.at <= ended + near for begun, ended in [*harmed, *away])


def raised_comes_before_cleared(history: History) -> Iterator[str]:
    """Hold that nobody is told that something is over of which he was not told."""
    events = defaultdict(list)
    for message in history.messages:
        events[message.alert].append(message.event)
    for alert, told in events.items():
        if CLEARED in told and RAISED not in told[: told.index(CLEARED)]:
            yield f"alert {alert}: it was told to be over before it was told"
