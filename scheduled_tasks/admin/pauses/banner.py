"""The banner that says that everything is paused, and the button that ends it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.contrib.admin import AdminSite
from django.http import HttpRequest
from django.utils import timezone

from scheduled_tasks.admin import display
from scheduled_tasks.admin.links import url
from scheduled_tasks.admin.permissions import may
from scheduled_tasks.models import Pause


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One pause that is in force, ready to show."""

    until: str
    reason: str
    begun: str
    begun_by: str


def banner_context(site: AdminSite, request: HttpRequest) -> dict[str, Any]:
    """Return what the banner shows: pauses, and addresses as far as the user may use them."""
    pauses = Pause.objects.in_force(timezone.now())
    context: dict[str, Any] = {"pauses_in_force": [notice(pause) for pause in pauses]}
    if may("view", site, request, Pause):
        context["pauses_url"] = url(site, "pause_changelist")
    if context["pauses_in_force"]:
        if may("change", site, request, Pause):
            context["resume_url"] = url(site, "pause_resume")
    elif may("add", site, request, Pause):
        context["pause_url"] = url(site, "pause_add")
    return context


def notice(pause: Pause) -> Notice:
    return Notice(
        until=display.moment(pause.until) if pause.until else "",
        reason=pause.reason,
        begun=display.moment(pause.begun_at),
        begun_by=pause.begun_by,
    )
