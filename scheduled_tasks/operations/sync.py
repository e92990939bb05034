"""Write declared tasks into the database, without overwriting what people changed."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import FloatField, IntegerField
from django.utils import timezone

from scheduled_tasks.exceptions import InvalidTask
from scheduled_tasks.handlers.declarations import Declaration
from scheduled_tasks.handlers.payloads.json_values import same
from scheduled_tasks.handlers.registry import HandlerRegistry, registry
from scheduled_tasks.lifecycle.parking import park, unpark
from scheduled_tasks.models import Task, TaskState
from scheduled_tasks.models.policies import Policies
from scheduled_tasks.models.sql.transactions import LostRaceError, transactional
from scheduled_tasks.models.task import field_value, project_timezone
from scheduled_tasks.models.task_state import UNDECLARED
from scheduled_tasks.runtime.redaction import mask_secrets_in_json

logger = logging.getLogger(__name__)

#: The author of changes made by sync.
BY_SYNC = "sync"


@dataclass(frozen=True, slots=True)
class SyncChange:
    """A change of one task by sync: the action, and each changed field as (old, new)."""

    task: str
    action: str
    fields: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)
    reason: str = ""

    def __str__(self) -> str:
        """Return the change as one line, without secrets."""
        details = ", ".join(
            f"{name}: {old!r} -> {new!r}"
            for name, (old, new) in mask_secrets_in_json(dict(self.fields)).items()
        )
        return " ".join(filter(None, [self.action, self.task, details, self.reason]))


def sync(
    *, now: datetime | None = None, force: bool = False, dry_run: bool = False
) -> list[SyncChange]:
    """Update the rows of declared tasks from code; return the changes.

    It is a three-way merge. A field that differs from the last declaration was changed by a person
    and keeps its value, unless ``force`` is set. All other fields take the declared value.
    ``enabled`` is only set when the row is created. A task that is no longer declared is parked;
    when it is declared again, it is unparked. ``dry_run`` rolls everything back and returns what
    would change.
    """
    return sync_rows(now or timezone.now(), force=force, dry_run=dry_run)


@transactional
def sync_rows(now: datetime, *, force: bool, dry_run: bool, using: str = "") -> list[SyncChange]:
    changes = Synchronization(registry, now, using, force=force).run()
    if dry_run:
        transaction.set_rollback(True, using=using)
    return changes


class Synchronization:
    """One pass over all declarations."""

    def __init__(
        self, registry: HandlerRegistry, now: datetime, using: str, *, force: bool
    ) -> None:
        self.declarations = registry.declarations
        self.registry = registry
        self.now = now
        self.using = using
        self.force = force
        self.changes: list[SyncChange] = []
        self.rows: dict[str, Task] = {}

    def run(self) -> list[SyncChange]:
        """Lock every task, then write the differences."""
        # All of them, so that two syncs run one after the other.
        list(TaskState.objects.using(self.using).locked())
        # From the database that is written: a replica may lag behind, or lack the tables.
        tasks = Task.objects.using(self.using)
        for clockless in tasks.filter(state=None):
            # Made by a bulk_create, for example: it would never fire.
            clockless.save(now=self.now, by=BY_SYNC)
        self.rows = {task.name: task for task in tasks.select_related("state")}
        matches = [self.match(declaration) for declaration in self.declarations]
        pairs = list(zip(self.declarations, matches, strict=True))
        named_after_handlers = {name for each, (name, _) in pairs if each.name is None}
        for declaration, (name, task) in pairs:
            if task is None:
                self.create(name, declaration)
            elif task.origin != Task.Origin.CODE:
                reason = "is a task that a person created: rename it, or pass another name= in code"
                self.changes.append(SyncChange(name, "conflict", reason=reason))
            elif declaration.name in named_after_handlers:
                reason = "is the task of a decorated function: pass another name= to declare()"
                self.changes.append(SyncChange(name, "conflict", reason=reason))
            else:
                self.update(task, declaration)
        declared = {name for name, _ in matches}
        for task in self.rows.values():
            self.park_or_unpark(task, declared=task.name in declared)
        return self.changes

    def match(self, declaration: Declaration) -> tuple[str, Task | None]:
        """Return the name of a declared task, and its row if it exists.

        A task that is named after its handler keeps its first name, even if other handlers get the
        same short name later.
        """
        if declaration.name is not None:
            return declaration.name, self.rows.get(declaration.name)
        for task in self.rows.values():
            values = task.declared or {}
            if values.get("handler") == declaration.handler and values.get("name") is None:
                return task.name, task
        return self.free_name(declaration), None

    def free_name(self, declaration: Declaration) -> str:
        """Return the short name of the handler, or its whole key if the short name is taken."""
        key, short = as_name(declaration.handler), short_name(declaration)
        explicit = {item.name for item in self.declarations}
        sharing = [
            item for item in self.declarations if item.name is None and short_name(item) == short
        ]
        taken = short in self.rows or short in explicit or sharing[0] is not declaration
        return key if taken else short

    def create(self, name: str, declaration: Declaration) -> None:
        task = new_task(name, declaration)
        if self.refuses(task, {field.name for field in Task._meta.concrete_fields}):  # noqa: SLF001
            return
        try:
            with transaction.atomic(using=self.using):
                task.save(now=self.now, by=BY_SYNC)
        except IntegrityError as error:
            raise LostRaceError(f"Another process created the task {name!r} meanwhile.") from error
        self.changes.append(SyncChange(name, "create"))

    def update(self, task: Task, declaration: Declaration) -> None:
        values, before = declared_values(declaration), task.declared or {}
        changed = {}
        for field_name in Task.DECLARED_FIELDS:
            old = getattr(task, field_name)
            new = field_value(field_name, values[field_name])
            edited = field_name in before and not same(old, task.as_declared(field_name))
            if not same(old, new) and (self.force or not edited):
                setattr(task, field_name, new)
                changed[field_name] = (old, new)
        # Not among the fields: an interval without one in code gets its anchor when it is saved.
        if declaration.anchor and declaration.anchor != before.get("anchor"):
            task.anchor = datetime.fromisoformat(declaration.anchor)
            changed["anchor"] = (before.get("anchor"), declaration.anchor)
        if self.refuses(task, changed):
            task.refresh_from_db(using=self.using, fields=list(changed))
            return
        if changed:
            self.changes.append(SyncChange(task.name, "update", changed))
        if changed or not same(values, before):
            task.declared = values
            task.save(now=self.now, by=BY_SYNC, anchor_given=declaration.anchor is not None)

    def refuses(self, task: Task, names: Collection[str]) -> bool:
        """Whether these fields cannot be stored as declared: that is reported, and changes nothing.

        System checks find it too, but ``migrate`` does not run them.
        """
        try:
            task.validate_fields(names)
        except InvalidTask as error:
            self.changes.append(SyncChange(task.name, "refuse", reason=str(error)))
            return True
        return False

    def park_or_unpark(self, task: Task, *, declared: bool) -> None:
        parked = task.state.parked_at is not None
        missing = task.origin == Task.Origin.CODE and not declared
        if missing and not parked:
            park(task.state, UNDECLARED, self.now, using=self.using, by=BY_SYNC)
            self.changes.append(SyncChange(task.name, "park", reason=UNDECLARED))
        elif parked and not missing and not task.problem():
            unpark(task.state, self.now, using=self.using, by=BY_SYNC)
            self.changes.append(SyncChange(task.name, "unpark"))


def short_name(declaration: Declaration) -> str:
    return as_name(declaration.handler.rpartition(".")[2])


def as_name(key: str) -> str:
    """Return a handler's key with the characters that a task name allows."""
    return re.sub(r"[^a-z0-9_.-]", "-", key.lower()).lstrip("_.-")[:100] or "task"


def new_task(name: str, declaration: Declaration) -> Task:
    """Build an unsaved task from a declaration."""
    values = declared_values(declaration)
    task = Task(
        name=name,
        origin=Task.Origin.CODE,
        enabled=declaration.enabled,
        declared=values,
        **{name: field_value(name, values[name]) for name in Task.DECLARED_FIELDS},
    )
    if declaration.anchor:
        task.anchor = datetime.fromisoformat(declaration.anchor)
    return task


def as_column(name: str, value: Any) -> Any:
    """Return a number as its column returns it; else the next sync sees a person's change."""
    column = Task._meta.get_field(name)  # noqa: SLF001
    if isinstance(column, IntegerField | FloatField):
        with suppress(ValidationError):  # reported by a system check
            return column.to_python(value)
    return value


def declared_values(declaration: Declaration) -> dict[str, Any]:
    """Return a declaration as ``Task.declared`` stores it: JSON, with a time zone."""
    default = Task()
    policies = {name: getattr(default, name) for name in Policies.DECLARED_FIELDS}
    policies |= declaration.policies
    values = {name: getattr(declaration, name) for name in ("name", "anchor")}
    values |= {
        name: as_column(name, policies[name] if name in policies else getattr(declaration, name))
        for name in Task.DECLARED_FIELDS
    }
    # Filled in here, because settings may not be loaded when code declares a task.
    values["timezone"] = declaration.timezone or project_timezone()
    # As the column will return it, or the next sync would find a difference.
    return json.loads(json.dumps(values))  # type: ignore[no-any-return]
