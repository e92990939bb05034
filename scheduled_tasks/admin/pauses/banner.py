"""The banner above lists while all tasks are paused, with the button that resumes them."""

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
class ActivePause:
    """An active pause, as the template shows it."""

    until: str
    reason: str
    started: str
    started_by: str


def banner_context(site: AdminSite, request: HttpRequest) -> dict[str, Any]:
    """Return the active pauses, and the URLs that the user may use."""
    pauses = Pause.objects.in_force(timezone.now())
    context: dict[str, Any] = {"active_pauses": [active_pause(pause) for pause in pauses]}
    if may("view", site, request, Pause):
        context["pauses_url"] = url(site, "pause_changelist")
    if context["active_pauses"]:
        if may("change", site, request, Pause):
            context["resume_url"] = url(site, "pause_resume")
    elif may("add", site, request, Pause):
        context["pause_url"] = url(site, "pause_add")
    return context


def active_pause(pause: Pause) -> ActivePause:
    return ActivePause(
        until=display.moment(pause.until) if pause.until else "",
        reason=pause.reason,
        started=display.moment(pause.begun_at),
        started_by=pause.begun_by,
    )
