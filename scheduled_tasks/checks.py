"""System checks: what would keep scheduled tasks from running, and the way out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning  # noqa: A004 -- Django's own name
from django.core.exceptions import ValidationError
from django.db import connections, router
from django.utils.module_loading import import_string

from scheduled_tasks.conf import load
from scheduled_tasks.declarations import Declaration
from scheduled_tasks.exceptions import InvalidHandler, InvalidSettings, UnknownHandler
from scheduled_tasks.executors.base import Executor
from scheduled_tasks.registry import registry


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
    from scheduled_tasks.sync import new_task  # noqa: PLC0415 -- needs loaded apps

    task = new_task(declaration.name or "named-by-its-handler", declaration)
    try:
        task.full_clean(validate_unique=False, validate_constraints=False)
    except ValidationError as error:
        for field, sentences in error.message_dict.items():
            if field != "handler":  # said by E004
                yield Error(
                    f"The task declared for {declaration.handler} has a {field} that cannot be "
                    f"saved: {' '.join(sentences)}",
                    hint="Correct it where the task is declared.",
                    id="scheduled_tasks.E006",
                )


def check_executor(**_: Any) -> list[CheckMessage]:
    """Check that EXECUTOR leads to an executor."""
    try:
        path = load().EXECUTOR
    except InvalidSettings:
        return []  # said by E001
    try:
        found = import_string(path)
    except ImportError as error:
        reason = str(error)
    else:
        if isinstance(found, type) and issubclass(found, Executor):
            return []
        reason = f"{path} is not a subclass of scheduled_tasks.executors.base.Executor"
    return [
        Error(
            f"SCHEDULED_TASKS['EXECUTOR'] names no executor: {reason}.",
            hint="Leave it out, and the executions run in threads of the worker.",
            id="scheduled_tasks.E008",
        )
    ]


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
    check_sqlite,
)
