"""The admin, one package per model. It works under any AdminSite, with any subset of the models.

It reads models and writes through ``operations``; it never imports ``worker`` or ``executors``.
Start with ``tasks/admin.py``. Base classes are in ``base``, ``retrying`` and ``permissions``, pages
with a form of their own in ``form_page``, ``payload_page`` and ``confirmation``.
"""

from __future__ import annotations

from scheduled_tasks.admin.alerts.admin import AlertAdmin
from scheduled_tasks.admin.changes.admin import TaskChangeAdmin
from scheduled_tasks.admin.dead_letters.admin import DeadLetterAdmin
from scheduled_tasks.admin.executions.admin import ExecutionAdmin
from scheduled_tasks.admin.maintenance_windows.admin import MaintenanceWindowAdmin
from scheduled_tasks.admin.pauses.admin import PauseAdmin
from scheduled_tasks.admin.tasks.admin import TaskAdmin
from scheduled_tasks.admin.workers.admin import WorkerAdmin

__all__ = [
    "AlertAdmin",
    "DeadLetterAdmin",
    "ExecutionAdmin",
    "MaintenanceWindowAdmin",
    "PauseAdmin",
    "TaskAdmin",
    "TaskChangeAdmin",
    "WorkerAdmin",
]
