"""System checks for misconfiguration, each with a hint."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning  # noqa: A004 -- Django's own name
from django.core.exceptions import ValidationError
from django.core.files.storage import storages
from django.db import DatabaseError, InterfaceError, connections, router, transaction

from scheduled_tasks.conf import load
from scheduled_tasks.exceptions import InvalidHandler, InvalidSettings, UnknownHandler
from scheduled_tasks.executors import executor_class
from scheduled_tasks.handlers.declarations import Declaration
from scheduled_tasks.handlers.registry import registry
from scheduled_tasks.mistakes import Mistakes

if TYPE_CHECKING:
    from scheduled_tasks.models import Task

#: The policies that an executor may be unable to enforce, and the one that chooses it.
LIMITS = {"executor", "timeout", "memory_limit_mb"}


def check_settings(**_: Any) -> list[CheckMessage]:
    """Check the SCHEDULED_TASKS setting."""
    mistakes = Mistakes()
    with mistakes.collected():
        loaded = load()
        with mistakes.collected():
            refuse_address(loaded.LISTEN_DSN)
        with mistakes.collected():
            refuse_storage(loaded.ARCHIVE_STORAGE)
    return [
        Error(
            sentence,
            hint="Fix or remove the key in the SCHEDULED_TASKS setting.",
            id="scheduled_tasks.E001",
        )
        for sentence in mistakes.sentences
    ]


def refuse_address(address: str) -> None:
    """Raise InvalidSettings for an address that psycopg cannot read, if psycopg is installed."""
    try:
        from psycopg import ProgrammingError, conninfo  # noqa: PLC0415 -- an extra
    except ImportError:
        return
    try:
        conninfo.conninfo_to_dict(address)
    except ProgrammingError:  # its text quotes the address, which may hold a password
        raise InvalidSettings(
            "SCHEDULED_TASKS['LISTEN_DSN'] is not a valid PostgreSQL address."
        ) from None


def refuse_storage(alias: str) -> None:
    """Raise InvalidSettings for an alias that STORAGES does not have."""
    if alias and alias not in storages.backends:
        raise InvalidSettings(
            f"SCHEDULED_TASKS['ARCHIVE_STORAGE'] is {alias!r}, but STORAGES has only "
            f"{', '.join(map(repr, storages.backends))}."
        )


def check_time_zone_support(**_: Any) -> list[CheckMessage]:
    """Check that Django uses time zones: slots are moments, not local times."""
    if settings.USE_TZ:
        return []
    return [
        Error(
            "scheduled_tasks requires USE_TZ = True.",
            hint=(
                "Set USE_TZ = True in your settings. Each task has its own time zone, and without "
                "USE_TZ the hour that occurs twice at a clock change is ambiguous."
            ),
            id="scheduled_tasks.E002",
        )
    ]


def check_handlers(**_: Any) -> list[CheckMessage]:
    """Check that every handler has a unique key and can be called with a payload."""
    if registry.problems:
        return [
            Error(
                problem,
                hint="Fix the declaration there. Until then no handler is known.",
                id="scheduled_tasks.E010",
            )
            for problem in registry.problems
        ]
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
                hint="Handlers must accept keyword arguments with values that JSON can hold.",
                obj=handler.key,
                id="scheduled_tasks.E004",
            )


def check_declarations(**_: Any) -> list[CheckMessage]:
    """Check that each declared task has a handler, a valid definition and a unique name."""
    problems: list[CheckMessage] = []
    names: set[str] = set()
    try:
        declarations = registry.declarations
    except UnknownHandler as error:
        return [
            Error(
                str(error),
                hint="Name a registered handler in declare().",
                id="scheduled_tasks.E005",
            )
        ]
    except InvalidHandler:
        return []  # reported by E003 or E010
    for declaration in declarations:
        problems.extend(declaration_problems(declaration))
        if declaration.name in names:
            problems.append(
                Error(
                    f"Two declarations have the task name {declaration.name!r}.",
                    hint="Give one of them a different name.",
                    id="scheduled_tasks.E007",
                )
            )
        names.update(filter(None, [declaration.name]))
    problems += shared_names(declarations)
    return problems


def shared_names(declarations: list[Declaration]) -> Iterator[CheckMessage]:
    """Yield the names that declare() gives and a decorated function would get."""
    from scheduled_tasks.operations.sync import short_name  # noqa: PLC0415 -- needs loaded apps

    own = {short_name(item): item.handler for item in declarations if item.name is None}
    for name in sorted({item.name for item in declarations if item.name in own}):
        yield Error(
            f"declare() gives the task name {name!r}, which is that of the task that "
            f"@scheduled_task declares for {own[name]}.",
            hint="Pass another name= to declare().",
            id="scheduled_tasks.E007",
        )


def declaration_problems(declaration: Declaration) -> Iterator[CheckMessage]:
    """Yield the reasons for which a declared task cannot be saved."""
    from scheduled_tasks.operations.sync import new_task  # noqa: PLC0415 -- needs loaded apps

    task = new_task(declaration.name or "named-by-its-handler", declaration)
    try:
        task.full_clean(validate_unique=False, validate_constraints=False)
    except ValidationError as error:
        for field, sentences in error.message_dict.items():
            if field != "handler":  # reported by E004
                yield Error(
                    f"The task declared for {declaration.handler} cannot be saved because of its "
                    f"{field}: {' '.join(sentences)}",
                    hint="Fix it in the declaration.",
                    id="scheduled_tasks.E006",
                )


def check_executor(**_: Any) -> list[CheckMessage]:
    name = default_executor()
    if name is None or (name == "process" and not can_fork()):
        return []  # reported by E001 or E009
    try:
        executor_class(name)
    except InvalidSettings as error:
        return [
            Error(
                f"SCHEDULED_TASKS['EXECUTOR']: {error}",
                hint="Remove the key to use the default of this platform.",
                id="scheduled_tasks.E008",
            )
        ]
    return []


def check_platform(**_: Any) -> list[CheckMessage]:
    """Check that the platform supports the process executor, if it is used."""
    if "process" not in {
        default_executor(),
        *(item.policies.get("executor") for item in declared()),
    }:
        return []
    if not can_fork():
        return [
            Error(
                "The executor 'process' requires os.fork, which this platform does not have.",
                hint="Set SCHEDULED_TASKS['EXECUTOR'] and the executor of tasks to 'thread'.",
                id="scheduled_tasks.E009",
            )
        ]
    from scheduled_tasks.executors.process.operating_system import missing  # noqa: PLC0415 -- only where it is used

    if not (lacks := missing()):
        return []
    return [
        Warning(
            f"The executor 'process' is limited on this platform. {' '.join(lacks)}",
            hint=(
                "Run workers on Linux, with /proc mounted. If the limits do not matter, as in "
                "development, add "
                "'scheduled_tasks.W003' to SILENCED_SYSTEM_CHECKS."
            ),
            id="scheduled_tasks.W003",
        )
    ]


def check_limits(**_: Any) -> list[CheckMessage]:
    """Check that the executor of each declared task can enforce its timeout and memory limit."""
    return [
        unenforced_limit(sentence)
        for item in declared()
        for sentence in unenforced(f"The task declared for {item.handler}", item.policies)
    ]


def check_limits_in_database(*, databases: Any = None, **_: Any) -> list[CheckMessage]:
    """Check the same for the tasks that people have created or changed.

    This is a database check: Django runs it in ``migrate`` and in ``check --database default``.
    """
    return [
        unenforced_limit(sentence)
        for task in undeclared_limits(databases or ())
        for sentence in unenforced(
            f"The task {task}", {name: getattr(task, name) for name in LIMITS}
        )
    ]


def unenforced_limit(sentence: str) -> CheckMessage:
    return Warning(
        sentence,
        hint=(
            "Use executor='process', or the EXECUTOR setting: processes can be killed, and on "
            "Linux their memory can be limited."
        ),
        id="scheduled_tasks.W002",
    )


def unenforced(subject: str, policies: Mapping[str, Any]) -> Iterator[str]:
    """Yield a sentence for each limit that the executor of a task cannot enforce."""
    name = policies.get("executor") or default_executor() or ""
    try:
        executor = executor_class(name)
    except InvalidSettings:
        return  # reported by E001, E006 or E008
    if policies.get("timeout") is not None and not executor.can_kill:
        yield (
            f"{subject} has a timeout, but the executor {name!r} can only ask it to stop, not "
            "kill it."
        )
    if policies.get("memory_limit_mb") is not None and not executor.can_limit_memory:
        yield f"{subject} has a memory limit, which the executor {name!r} does not enforce."


def undeclared_limits(databases: Collection[str]) -> list[Task]:
    """Return tasks with limits that people have created or edited; ``declared`` lacks them."""
    from scheduled_tasks.models import Task  # noqa: PLC0415 -- needs loaded apps

    using = router.db_for_write(Task)
    if using not in databases:
        return []
    limited = Task.objects.using(using).exclude(timeout=None, memory_limit_mb=None)
    try:
        # A query that fails would break a transaction of the caller.
        with transaction.atomic(using=using):
            return [
                task
                for task in limited
                if task.origin != Task.Origin.CODE or LIMITS.intersection(task.changed_from_code)
            ]
    except (DatabaseError, InterfaceError):
        return []  # not migrated yet, or not reachable


def declared() -> list[Declaration]:
    """Return the declarations, or none if they are broken."""
    try:
        return registry.declarations
    except (UnknownHandler, InvalidHandler):
        return []  # reported by E003 or E005


def default_executor() -> str | None:
    """Return the EXECUTOR setting, None if the settings are invalid."""
    try:
        return load().EXECUTOR
    except InvalidSettings:
        return None  # reported by E001


def check_notifiers(**_: Any) -> list[CheckMessage]:
    """Check that each notifier of the NOTIFIERS setting can be made."""
    mistakes = Mistakes()
    if uses("NOTIFIERS"):
        # It imports what sends mail and HTTP, which most processes do not need.
        from scheduled_tasks.monitoring.notifiers.loading import load_notifiers  # noqa: PLC0415

        with mistakes.collected():
            load_notifiers()
    return [
        Error(
            sentence,
            hint="Fix or remove the notifier in the SCHEDULED_TASKS setting.",
            id="scheduled_tasks.E011",
        )
        for sentence in mistakes.sentences
    ]


def check_alerts(**_: Any) -> list[CheckMessage]:
    """Check which conditions raise alerts, and who is told of them."""
    mistakes = Mistakes()
    if uses("CONDITIONS", "ALERTS"):
        # They need loaded apps.
        from scheduled_tasks.monitoring.alerts.condition_settings import condition_settings  # noqa: PLC0415
        from scheduled_tasks.monitoring.alerts.rules import rules  # noqa: PLC0415

        for read in (condition_settings, rules):
            with mistakes.collected():
                read()
    return [
        Error(
            sentence,
            hint="Fix the key in the SCHEDULED_TASKS setting.",
            id="scheduled_tasks.E012",
        )
        for sentence in mistakes.sentences
    ]


def uses(*keys: str) -> bool:
    """Whether valid settings use one of these keys; E001 reports those that are not valid."""
    try:
        loaded = load()
    except InvalidSettings:
        return False
    return any(getattr(loaded, key) for key in keys)


def can_fork() -> bool:
    return hasattr(os, "fork")


def check_sqlite(*, databases: Any = None, **_: Any) -> list[CheckMessage]:
    """Check that several processes can write to a SQLite database."""
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
            "Without WAL and immediate transactions, SQLite fails with 'database is locked' when "
            "several processes write.",
            hint=(
                f"Set DATABASES[{connection.alias!r}]['OPTIONS'] to {{'transaction_mode': "
                "'IMMEDIATE', 'init_command': 'PRAGMA journal_mode=WAL; PRAGMA "
                "synchronous=NORMAL;', 'timeout': 20}."
            ),
            id="scheduled_tasks.W001",
        )
    ]


static_checks = (
    check_settings,
    check_time_zone_support,
    check_handlers,
    check_declarations,
    check_executor,
    check_platform,
    check_limits,
    check_notifiers,
    check_alerts,
    check_sqlite,
)
#: Checks that make queries. Django runs them only where it is told which databases to check.
database_checks = (check_limits_in_database,)
