"""Addresses within one admin site, which may show only some of the models."""

from __future__ import annotations

from typing import Any

from django.contrib.admin import AdminSite
from django.db.models import Model
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext as _

from scheduled_tasks.models import Execution, Task, TaskChange


def url(site: AdminSite, view: str, *args: Any) -> str:
    """Return the address of a view of this app, such as ``task_change``, in the given site."""
    return reverse(f"admin:scheduled_tasks_{view}", args=args, current_app=site.name)


def may(action: str, site: AdminSite, request: HttpRequest, model: type[Model]) -> bool:
    """Say whether the site has pages for the model and the user may ``view``, ``add`` … there."""
    if not site.is_registered(model):
        return False
    return bool(getattr(site.get_model_admin(model), f"has_{action}_permission")(request))


def may_view(site: AdminSite, request: HttpRequest, model: type[Model]) -> bool:
    """Say whether the site has pages for the model and the user may see them."""
    return may("view", site, request, model)


def task_link(site: AdminSite, row: Execution | TaskChange) -> str:
    """Link to the task of a row while it exists, and the site has a page for it."""
    if row.task_id is None:
        return _("%s (deleted)") % row.task_name
    if not site.is_registered(Task):
        return row.task_name
    return format_html('<a href="{}">{}</a>', url(site, "task_change", row.task_id), row.task_name)
