"""Times in forms: typed in the time zone in which the page shows them.

The script of the page shows times in the time zone of the browser, and posts its name. Without the
script, times are in Django's current time zone.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from typing import Any

from django.contrib.admin.widgets import AdminSplitDateTime
from django.http import HttpRequest
from django.utils import timezone

from scheduled_tasks.exceptions import InvalidSchedule
from scheduled_tasks.schedules import zone

#: The name of the field with the time zone of the browser.
ZONE_FIELD = "st-time-zone"


def typed_zone(request: HttpRequest) -> AbstractContextManager[Any]:
    """Return a context in which the times of a posted form are read as the user has typed them."""
    name = request.POST.get(ZONE_FIELD, "")
    try:
        return timezone.override(zone(name)) if name else nullcontext()
    except InvalidSchedule:
        # A browser may know other names, and then the script converts nothing either.
        return nullcontext()


class MomentWidget(AdminSplitDateTime):
    """Inputs for a date and a time, next to the name of their time zone."""

    template_name = "admin/scheduled_tasks/moment_widget.html"

    def get_context(self, name: str, value: Any, attrs: dict[str, Any] | None) -> dict[str, Any]:
        """Return the context with the stored moment, which the script shows in its time zone."""
        context: dict[str, Any] = super().get_context(name, value, attrs)
        context["zone"] = timezone.get_current_timezone_name()
        context["zone_field"] = ZONE_FIELD
        # What a user has typed before an error is text, and stays as it is.
        context["instant"] = value.isoformat() if isinstance(value, datetime) else ""
        return context
