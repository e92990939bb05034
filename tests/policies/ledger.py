"""Holds the rows of the engine against the model of the rules."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from socket import gethostname
from typing import Any

from django.db.models import Q

from scheduled_tasks.models import Alert, Attempt, TaskState
from scheduled_tasks.models import Execution as Row
from tests.policies.records import Cover, Execution, Task
from tests.policies.rules import Rules

Item = Execution | Cover

COLUMNS = (
    "pk",
    "task_id",
    "task_name",
    "status",
    "trigger",
    "slot",
    "slot_until",
    "slots",
    "run_after",
    "attempt",
    "failures",
    "losses",
    "probation_seconds",
    "alone_on",
    "queue",
    "priority",
    "worker",
    "exclusive",
    "reason",
    "cancel_requested_at",
)
#: What the engine calls the ways in which an attempt ends that is followed by another.
OUTCOMES = {"failed": "failed", "later": "postponed", "lost": "lost", "given back": "given_back"}
#: The database and the arithmetic of floats may differ by so much.
ROUNDING = timedelta(microseconds=2)
LINES_OF_HISTORY = 30
#: So many draws may all be on one side, once in a billion times.
FEW = 30


class Disagreement(AssertionError):
    """The engine has not done what the rules say."""


class AttemptStore:
    """Knows which row is which occurrence of the model, and compares them."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.newest = 0
        #: The ids of the tasks' rows, and the names of the workers'.
        self.tasks: dict[Task, int] = {}
        self.workers: dict[str, str] = {}
        self.reasons: dict[str, str] = {}
        #: Which parts of what they may wait longer the engine has let jitter and retries wait.
        self.drawn: dict[str, list[float]] = {}

    def adopt(self) -> None:
        """Find the rows of what is new, and take over what the rules leave to the engine."""
        touched = dict.fromkeys(self.rules.touched)
        waiting = [e for e in touched if isinstance(e, Execution) and e.run_after is None]
        rows = self.read(Q(pk__gt=self.newest) | Q(pk__in=pks(waiting)))
        self.match([row for pk, row in rows.items() if pk > self.newest])
        for execution in waiting:
            if execution.pk in rows:
                self.take_over(execution, rows[execution.pk])

    def match(self, rows: Iterable[dict[str, Any]]) -> None:
        """Give what is new in the model its rows, which must be all that are new."""
        new = {
            (item.task.name, item.slot): item
            for item in self.rules.touched
            if item.pk is None and item.slot is not None
        }
        for row in rows:
            item = new.pop((row["task_name"], row["slot"]), None)
            if item is None:
                said = f"the engine has a row that the rules do not know: {row}"
                raise self.disagreement(self.task_of(row["task_name"]), said)
            item.pk = row["pk"]
            self.newest = max(self.newest, row["pk"])
        for item in new.values():
            raise self.disagreement(item.task, f"{item} has no row; the rules say {state(item)}")

    def take_over(self, execution: Execution, row: dict[str, Any]) -> None:
        early, late, chosen = execution.earliest, execution.latest, row["run_after"]
        if not early <= chosen <= late + (late > early) * ROUNDING:
            said = f"{execution}, {row['status']}, runs after {chosen}, not from {early} to {late}"
            raise self.disagreement(execution.task, said)
        if late > early:
            what = "retry" if execution.attempt else "jitter"
            self.drawn.setdefault(what, []).append((chosen - early) / (late - early))
        execution.run_after = chosen

    def compare(self, event: str, now: datetime) -> None:
        """Compare all that may have changed by an event, and write it into the histories."""
        self.adopt()
        changed = dict.fromkeys(self.rules.touched)
        for item in changed:
            item.task.history.append(f"{now:%m-%d %H:%M:%S} {event}: {item} {state(item)}")
        self.compare_items([*changed, *(e for e in self.rules.alive if e not in changed)])
        self.compare_next_runs()
        self.rules.touched.clear()

    def compare_items(self, items: Iterable[Item]) -> None:
        items = list(items)
        rows = self.read(Q(pk__in=pks(items)))
        for item in items:
            expected = self.expected(item)
            row = rows.get(item.pk or 0)
            if row is None:
                raise self.disagreement(item.task, f"the row of {item} is gone")
            row["stop_asked"] = row.pop("cancel_requested_at") is not None
            wrong = [
                f"{name} is {row[name]!r}, not {value!r}"
                for name, value in expected.items()
                if row[name] != value
            ]
            if wrong:
                raise self.disagreement(item.task, f"{item}: {'; '.join(wrong)}")
            self.compare_reason(item, row["reason"])

    def expected(self, item: Item) -> dict[str, Any]:
        """Return what the row of an item must hold."""
        task = item.task
        row = {
            "task_id": None if task.deleted else self.tasks[task],
            "task_name": task.name,
            "status": item.status,
            "slot": item.slot,
        }
        if isinstance(item, Cover):
            return row | {"slot_until": item.slot_until, "slots": item.slots, "attempt": 0}
        row |= {
            "trigger": item.trigger,
            "slot_until": None,
            "slots": 1,
            "run_after": item.run_after,
            "attempt": item.attempt,
            "failures": item.failures,
            "losses": item.losses,
            "probation_seconds": item.probation,
            "alone_on": gethostname() if item.alone else "",
            "queue": item.queue,
            "priority": item.priority,
            "stop_asked": item.stop_asked,
        }
        if item.status == "running":
            return row | {"worker": self.workers[item.worker]}
        return row | {"exclusive": None}

    def compare_reason(self, item: Item, text: str) -> None:
        """Hold that one reason always has one wording, whatever it is."""
        if item.reason and not isinstance(item, Execution):
            known = self.reasons.setdefault(item.reason, text)
            if not text or known != text:
                said = f"{item} is lost because of {item.reason!r}: {text!r}, elsewhere {known!r}"
                raise self.disagreement(item.task, said)

    def compare_next_runs(self) -> None:
        rows = TaskState.objects.values_list("task_id", "next_run_at", "parked_at")
        found = {pk: (next_run_at, parked_at is not None) for pk, next_run_at, parked_at in rows}
        for task in self.rules.tasks.values():
            next_run_at, parked = found.pop(self.tasks[task], (None, False))
            if parked != task.parked:
                raise self.disagreement(task, "it is parked" if parked else "it is not parked")
            if next_run_at != task.next_run_at and not task.quietly_off:
                said = f"its next run is at {next_run_at}, not {task.next_run_at}"
                raise self.disagreement(task, said)
        if found:
            raise Disagreement(f"there are states of tasks that are gone: {found}")

    def compare_all(self) -> None:
        """Compare every row and every attempt that there ever was."""
        everything = [*self.rules.executions, *self.rules.covers]
        self.compare_items(everything)
        if extra := set(Row.objects.values_list("pk", flat=True)) - set(pks(everything)):
            raise Disagreement(f"the engine has rows that the rules do not know: {extra}")
        self.compare_next_runs()
        self.compare_attempts()
        self.compare_alerts()
        for what, parts in self.drawn.items():
            if len(parts) > FEW and not min(parts) < 0.5 < max(parts):
                raise Disagreement(f"{what} is not spread: {min(parts)} to {max(parts)}")

    def compare_attempts(self) -> None:
        """Compare the attempts that were followed by another."""
        found: dict[int, list[tuple[int, str]]] = {}
        for pk, *attempt in Attempt.objects.order_by("execution", "number").values_list(
            "execution", "number", "outcome"
        ):
            found.setdefault(pk, []).append((attempt[0], attempt[1]))
        for execution in self.rules.executions:
            expected = [(number, OUTCOMES[kind]) for number, kind in execution.attempts]
            if found.get(execution.pk or 0, []) != expected:
                said = f"{execution}: attempts {found.get(execution.pk or 0)}, not {expected}"
                raise self.disagreement(execution.task, said)

    def compare_alerts(self) -> None:
        """Hold that what is reported as missed was late, and every task that was late is told."""
        told = Alert.objects.filter(condition=Alert.Condition.MISSED)
        found = [
            (name, datetime.fromisoformat(details["slot"]), raised_at)
            for name, details, raised_at in told.values_list("task_name", "details", "raised_at")
        ]
        decided = {(name, at) for (name, _), at in self.rules.late.items()}
        for name, slot, raised_at in found:
            if (name, slot) not in self.rules.late:
                raise self.disagreement(self.task_of(name), f"{slot} was not late, and is missed")
            if (name, raised_at) not in decided:
                said = f"a slot is missed at {raised_at}, when no worker that knows it has come"
                raise self.disagreement(self.task_of(name), said)
        for name in {name for name, _ in self.rules.late}.difference(name for name, *_ in found):
            raise self.disagreement(self.task_of(name), "it was late, and nothing tells of it")

    def read(self, which: Q) -> dict[int, dict[str, Any]]:
        rows = Row.objects.filter(which).order_by("pk").values(*COLUMNS)
        return {row["pk"]: row for row in rows}

    def task_of(self, name: str) -> Task | None:
        return next((task for task in reversed(self.tasks) if task.name == name), None)

    def disagreement(self, task: Task | None, said: str) -> Disagreement:
        """Return an error that tells what is wrong, about which task, and what came before."""
        if task is None:
            return Disagreement(said)
        touched = dict.fromkeys(self.rules.touched)
        pending = [f"(now) {item} {state(item)}" for item in touched if item.task is task]
        history = [*task.history[-LINES_OF_HISTORY:], *pending[-LINES_OF_HISTORY:]]
        return Disagreement("\n  ".join([said, str(task), "What happened to it:", *history]))


def state(item: Item) -> str:
    """Return in a few words what the rules say of an item."""
    if isinstance(item, Cover):
        return f"covered: {item.status}, {item.reason}, {item.slots} slots"
    words = [item.status]
    if item.status == "queued":
        words.append(f"until {item.run_after or item.earliest:%m-%d %H:%M:%S}")
    if item.worker:
        words.append(f"by {item.worker}")
    words += [f"{name} {value}" for name, value in counts(item).items() if value]
    return ", ".join(words)


def counts(execution: Execution) -> dict[str, int | bool]:
    return {
        "attempt": execution.attempt,
        "failures": execution.failures,
        "losses": execution.losses,
        "probation": execution.probation or 0,
        "asked to stop": execution.stop_asked,
    }


def pks(items: Iterable[Item]) -> list[int]:
    return [item.pk for item in items if item.pk is not None]
