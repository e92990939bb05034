"""Who may run tasks, and thus say what becomes of their executions."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.auth import get_permission_codename
from django.http import HttpRequest

from scheduled_tasks.models import Task


class RunPermission(admin.ModelAdmin):
    """An admin with things to do that are a permission of their own: run_task."""

    def has_run_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Say whether the user may run tasks, and cancel, requeue and resolve executions."""
        opts = Task._meta  # noqa: SLF001
        codename = get_permission_codename("run", opts)
        return bool(request.user.has_perm(f"{opts.app_label}.{codename}"))
