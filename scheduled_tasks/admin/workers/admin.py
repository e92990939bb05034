"""Workers: the scheduler processes and whether they are alive."""

from __future__ import annotations

from datetime import timedelta

from django.contrib import admin
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext as _g
from django.utils.translation import gettext_lazy as _

from scheduled_tasks.admin import display
from scheduled_tasks.admin.base import ReadOnlyAdmin
from scheduled_tasks.conf import app_settings
from scheduled_tasks.models import Worker


@admin.register(Worker)
class WorkerAdmin(ReadOnlyAdmin):
    """The processes that run executions."""

    list_display = (
        "label",
        "state_badge",
        "heartbeat_moment",
        "started_moment",
        "concurrency",
        "queue_names",
        "version",
    )
    list_filter = ("state",)
    fields = (
        "label",
        "state_badge",
        "host",
        "pid",
        "heartbeat_moment",
        "started_moment",
        "concurrency",
        "queue_names",
        "version",
        "handler_names",
    )

    def has_delete_permission(self, request: HttpRequest, obj: Worker | None = None) -> bool:
        """Refuse: a worker stops if its row is deleted, and old rows expire."""
        return False

    @admin.display(description=_("state"), ordering="state")
    def state_badge(self, worker: Worker) -> str:
        """Return the state, or "silent" for a running worker without recent heartbeats."""
        deadline = timezone.now() - timedelta(seconds=app_settings.LEASE)
        if worker.state not in Worker.GONE and worker.heartbeat_at < deadline:
            return display.badge("silent", _g("silent"))
        return display.badge(worker.state, worker.get_state_display())

    @admin.display(description=_("last heartbeat"), ordering="heartbeat_at")
    def heartbeat_moment(self, worker: Worker) -> str:
        return display.moment(worker.heartbeat_at)

    @admin.display(description=_("started"), ordering="started_at")
    def started_moment(self, worker: Worker) -> str:
        return display.moment(worker.started_at)

    @admin.display(description=_("queues"))
    def queue_names(self, worker: Worker) -> str:
        return ", ".join(worker.queues) or _g("all")

    @admin.display(description=_("handlers"))
    def handler_names(self, worker: Worker) -> str:
        return ", ".join(worker.handlers) or display.EMPTY
