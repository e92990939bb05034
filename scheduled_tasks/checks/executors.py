"""Checks of the executors: whether they exist, and what the platform lets them do."""

from __future__ import annotations

import os
from typing import Any

from django.core.checks import CheckMessage, Error, Warning  # noqa: A004 -- Django's own name

from scheduled_tasks.checks.declared_tasks import declared
from scheduled_tasks.conf import load
from scheduled_tasks.exceptions import InvalidSettings
from scheduled_tasks.executors import executor_class


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


def default_executor() -> str | None:
    """Return the EXECUTOR setting, None if the settings are invalid."""
    try:
        return load().EXECUTOR
    except InvalidSettings:
        return None  # reported by E001


def can_fork() -> bool:
    return hasattr(os, "fork")
