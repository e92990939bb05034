"""Who may do what, and the name under which it is recorded."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin import AdminSite
from django.contrib.auth import get_permission_codename
from django.db.models import Model
from django.http import HttpRequest

from scheduled_tasks.models import Task

#: The shortest of the columns that hold the name.
MAX_USER_LENGTH = 200


class RunPermission(admin.ModelAdmin):
    """An admin with actions that need the permission ``run_task``."""

    def has_run_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whether the user may run tasks, and cancel, requeue and resolve executions."""
        opts = Task._meta  # noqa: SLF001
        codename = get_permission_codename("run", opts)
        return bool(request.user.has_perm(f"{opts.app_label}.{codename}"))


def may_change_tasks(request: HttpRequest) -> bool:
    """Whether the user may change tasks, and so read their payloads in clear."""
    opts = Task._meta  # noqa: SLF001
    codename = get_permission_codename("change", opts)
    return bool(request.user.has_perm(f"{opts.app_label}.{codename}"))


def may_manage_alerts(request: HttpRequest) -> bool:
    """Whether the user may send test alerts."""
    return bool(request.user.has_perm("scheduled_tasks.manage_alert"))


def may_view_deliveries(request: HttpRequest) -> bool:
    """Whether the user may see who was told of an alert."""
    return bool(request.user.has_perm("scheduled_tasks.view_delivery"))


def may(action: str, site: AdminSite, request: HttpRequest, model: type[Model]) -> bool:
    """Whether the site has pages for the model and the user may ``view``, ``add`` … there."""
    if not site.is_registered(model):
        return False
    return bool(getattr(site.get_model_admin(model), f"has_{action}_permission")(request))


def may_view(site: AdminSite, request: HttpRequest, model: type[Model]) -> bool:
    """Whether the site has pages for the model and the user may see them."""
    return may("view", site, request, model)


def user_of(request: HttpRequest) -> str:
    """Return the name of the user as it is recorded: ``user:ada``."""
    return f"user:{request.user.get_username()}"[:MAX_USER_LENGTH]
