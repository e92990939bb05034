"""What replicas do when they start: they register the same tasks, each for itself."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import transaction

from scheduled_tasks import register_task, unregister_task

HANDLER = "jobs.answer"


def register(names: Sequence[str], number: int) -> None:
    for name in names:
        register_task(name, HANDLER, f"{number} 3 * * *", category="tenants")


def register_in_transactions(names: Sequence[str], number: int) -> None:
    for name in names:
        with transaction.atomic():
            register_task(name, HANDLER, f"{number} 3 * * *", category="tenants")


def register_and_unregister(names: Sequence[str], number: int) -> None:
    """Delete, in the first process, what the others keep registering."""
    for name in names:
        register_task(name, HANDLER, f"{number} 3 * * *", category="tenants")
        if number == 0:
            unregister_task(name)
