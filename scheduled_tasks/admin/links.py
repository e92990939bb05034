"""URLs within one admin site, which may show only some of the models."""

from __future__ import annotations

from typing import Any

from django.contrib.admin import AdminSite
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext as _

from scheduled_tasks.models import Alert, Execution, Task, TaskChange


def url(site: AdminSite, view: str, *args: Any) -> str:
    """Return the URL of a view of this app, such as ``task_change``, in the given site."""
    return reverse(f"admin:scheduled_tasks_{view}", args=args, current_app=site.name)


def task_link(site: AdminSite, row: Alert | Execution | TaskChange) -> str:
    """Link to the task of a row if it still exists and the site has a page for it."""
    if row.task_id is None:
        return _("%s (deleted)") % row.task_name
    if not site.is_registered(Task):
        return row.task_name
    return format_html('<a href="{}">{}</a>', url(site, "task_change", row.task_id), row.task_name)
