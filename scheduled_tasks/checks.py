"""System checks: what would keep scheduled tasks from running, and the way out."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning  # noqa: A004 -- Django's own name
from django.core.exceptions import ValidationError
from django.db import DatabaseError, InterfaceError, connections, router, transaction

from scheduled_tasks.conf import load
from scheduled_tasks.exceptions import InvalidHandler, InvalidSettings, UnknownHandler
from scheduled_tasks.executors import executor_class
from scheduled_tasks.handlers.declarations import Declaration
from scheduled_tasks.handlers.registry import registry

if TYPE_CHECKING:
    from scheduled_tasks.models import Task


def check_settings(**_: Any) -> list[CheckMessage]:
    """Check that SCHEDULED_TASKS holds what this app knows."""
    try:
        load()
    except InvalidSettings as error:
        return [
            Error(
                str(error),
                hint="Correct or remove the key in the SCHEDULED_TASKS setting.",
                id="scheduled_tasks.E001",
            )
        ]
    return []


def check_time_zone_support(**_: Any) -> list[CheckMessage]:
    """Check that Django stores moments, not local times: slots are moments."""
    if settings.USE_TZ:
        return []
    return [
        Error(
            "Scheduled tasks need USE_TZ = True.",
            hint=(
                "Set USE_TZ = True in the settings. Each task has a time zone of its own, and "
                "without it the hour that a clock change repeats cannot be told apart."
            ),
            id="scheduled_tasks.E002",
        )
    ]


def check_handlers(**_: Any) -> list[CheckMessage]:
    """Check that every handler can be called with a payload, and has a key to itself."""
    try:
        return list(handler_problems())
    except InvalidHandler as error:
        return [Error(str(error), hint="Rename one of the functions.", id="scheduled_tasks.E003")]


def handler_problems() -> Iterator[CheckMessage]:
    for handler in registry.handlers.values():
        try:
            handler.spec  # noqa: B018 -- reads the signature
        except InvalidHandler as error:
            yield Error(
                str(error),
                hint="A handler takes keyword arguments that a JSON object can hold.",
                obj=handler.key,
                id="scheduled_tasks.E004",
            )


def check_declarations(**_: Any) -> list[CheckMessage]:
    """Check that each declared task names a handler, takes its payload and has its own name."""
    problems: list[CheckMessage] = []
    names: set[str] = set()
    try:
        declarations = registry.declarations
    except UnknownHandler as error:
        return [Error(str(error), hint="Correct declare(...).", id="scheduled_tasks.E005")]
    except InvalidHandler:
        return []  # said by E003
    for declaration in declarations:
        problems.extend(declaration_problems(declaration))
        if declaration.name in names:
            problems.append(
                Error(
                    f"Two declarations name their task {declaration.name!r}.",
                    hint="Give one of them another name=.",
                    id="scheduled_tasks.E007",
                )
            )
        names.update(filter(None, [declaration.name]))
    return problems


def declaration_problems(declaration: Declaration) -> Iterator[CheckMessage]:
    """Say what would keep a declared task from being saved."""
    from scheduled_tasks.operations.sync import new_task  # noqa: PLC0415 -- needs loaded apps

    task = new_task(declaration.name or "named-by-its-handler", declaration)
    try:
        task.full_clean(validate_unique=False, validate_constraints=False)
    except ValidationError as error:
        for field, sentences in error.message_dict.items():
            if field != "handler":  # said by E004
                yield Error(
                    f"The task declared for {declaration.handler} cannot be saved because of its "
                    f"{field}: {' '.join(sentences)}",
                    hint="Correct it where the task is declared.",
                    id="scheduled_tasks.E006",
                )


def check_executor(**_: Any) -> list[CheckMessage]:
    """Check that EXECUTOR leads to an executor."""
    name = default_executor()
    if name is None or (name == "process" and not can_fork()):
        return []  # said by E001, or by E009
    try:
        executor_class(name)
    except InvalidSettings as error:
        return [
            Error(
                f"SCHEDULED_TASKS['EXECUTOR']: {error}",
                hint="Leave it out, and executions run where it is best on this platform.",
                id="scheduled_tasks.E008",
            )
        ]
    return []


def check_platform(**_: Any) -> list[CheckMessage]:
    """Check that this platform has what the process executor needs, where it is used."""
    if "process" not in {default_executor(), *(item.executor for item in declared())}:
        return []
    if not can_fork():
        return [
            Error(
                "The executor 'process' needs os.fork, which this platform does not have.",
                hint="Set SCHEDULED_TASKS['EXECUTOR'], and executor= of tasks, to 'thread'.",
                id="scheduled_tasks.E009",
            )
        ]
    from scheduled_tasks.executors.process.operating_system import missing  # noqa: PLC0415 -- only where it is used

    if not (lacks := missing()):
        return []
    return [
        Warning(
            f"The executor 'process' does less on this platform. {' '.join(lacks)}",
            hint=(
                "Run workers on Linux. Where that is enough, as on a developer's machine, put "
                "scheduled_tasks.W003 into SILENCED_SYSTEM_CHECKS."
            ),
            id="scheduled_tasks.W003",
        )
    ]


def check_limits(*, databases: Any = None, **_: Any) -> list[CheckMessage]:
    """Check that timeouts and memory limits are enforced where their tasks run.

    The tasks in the database are looked at where Django lets checks ask it, as in ``migrate`` and
    ``check --database default``.
    """
    problems = [
        sentence
        for item in declared()
        for sentence in unenforced(f"The task declared for {item.handler}", item)
    ]
    for task in undeclared_limits(databases or ()):
        problems.extend(unenforced(f"The task {task}", task))
    return [
        Warning(
            sentence,
            hint=(
                "Processes can be killed, and on Linux their memory limited: executor='process', "
                "or the EXECUTOR setting."
            ),
            id="scheduled_tasks.W002",
        )
        for sentence in problems
    ]


def unenforced(subject: str, task: Declaration | Task) -> Iterator[str]:
    """Say in sentences which limits of a task the executor that runs it cannot enforce."""
    name = task.executor or default_executor() or ""
    try:
        executor = executor_class(name)
    except InvalidSettings:
        return  # said by E001, E006 or E008
    if task.timeout is not None and not executor.can_kill:
        yield (
            f"{subject} has a timeout, but runs on the executor {name!r}: it is asked to stop, "
            "but cannot be killed."
        )
    if task.memory_limit_mb is not None and not executor.can_limit_memory:
        yield f"{subject} has a memory limit, which has no effect on the executor {name!r}."


def undeclared_limits(databases: Collection[str]) -> list[Task]:
    """Return the tasks of these databases with limits that no declaration speaks of."""
    from scheduled_tasks.models import Task  # noqa: PLC0415 -- needs loaded apps

    using = router.db_for_write(Task)
    if using not in databases:
        return []
    limited = Task.objects.using(using).exclude(timeout=None, memory_limit_mb=None)
    about = {"executor", "timeout", "memory_limit_mb"}
    try:
        with transaction.atomic(using=using):
            return [
                task
                for task in limited
                if task.origin != Task.Origin.CODE or about.intersection(task.changed_from_code)
            ]
    except (DatabaseError, InterfaceError):
        return []  # not migrated yet, or away


def declared() -> list[Declaration]:
    """Return what code declares, nothing where that cannot be told."""
    try:
        return registry.declarations
    except (UnknownHandler, InvalidHandler):
        return []  # said by E003 or E005


def default_executor() -> str | None:
    """Return the EXECUTOR setting, None where the settings cannot be read."""
    try:
        return load().EXECUTOR
    except InvalidSettings:
        return None  # said by E001


def can_fork() -> bool:
    return hasattr(os, "fork")


def check_sqlite(*, databases: Any = None, **_: Any) -> list[CheckMessage]:
    """Check that a SQLite database lets several processes write in turn."""
    from scheduled_tasks.models import Task  # noqa: PLC0415 -- needs loaded apps

    connection = connections[router.db_for_write(Task)]
    if connection.vendor != "sqlite":
        return []
    options = connection.settings_dict.get("OPTIONS", {})
    wal = "journal_mode" in str(options.get("init_command", "")).lower()
    if wal and str(options.get("transaction_mode", "")).upper() == "IMMEDIATE":
        return []
    return [
        Warning(
            "SQLite without WAL and immediate transactions makes writers fail with "
            "'database is locked'.",
            hint=(
                f"Set DATABASES[{connection.alias!r}]['OPTIONS'] to {{'transaction_mode': "
                "'IMMEDIATE', 'init_command': 'PRAGMA journal_mode=WAL; PRAGMA "
                "synchronous=NORMAL;', 'timeout': 20}."
            ),
            id="scheduled_tasks.W001",
        )
    ]


all_checks = (
    check_settings,
    check_time_zone_support,
    check_handlers,
    check_declarations,
    check_executor,
    check_platform,
    check_limits,
    check_sqlite,
)
