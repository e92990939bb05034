"""The whole log of an execution as a text file."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, StreamingHttpResponse
from django.urls import URLPattern, path

from scheduled_tasks.models import Execution, ExecutionLog

#: Lines per query.
BATCH_SIZE = 1_000


class LogDownload(admin.ModelAdmin):
    """An admin with a URL for the log of each execution."""

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.log_view)
        own = path("<int:pk>/log/", view, name="scheduled_tasks_execution_log")
        return [own, *super().get_urls()]

    def log_view(self, request: HttpRequest, pk: int) -> StreamingHttpResponse:
        """Return the log. Raise Http404, or PermissionDenied without permission to view."""
        execution: Execution | None = self.get_object(request, str(pk))
        if execution is None:
            raise Http404
        if not self.has_view_permission(request, execution):
            raise PermissionDenied
        return log_response(execution)


def log_response(execution: Execution) -> StreamingHttpResponse:
    name = f"execution-{execution.pk}.log"
    # Streamed, because MAX_LOG_LINES of full length are a hundred megabytes.
    return StreamingHttpResponse(
        text_batches(execution),
        content_type="text/plain; charset=utf-8",
        headers={"Content-Disposition": f'inline; filename="{name}"'},
    )


def text_batches(execution: Execution) -> Iterator[str]:
    """Yield the lines in batches, one query each, so that no cursor stays open."""
    last = 0
    while rows := list(execution.log_lines.filter(pk__gt=last).order_by("pk")[:BATCH_SIZE]):
        yield "".join(map(text_line, rows))
        last = rows[-1].pk


def text_line(row: ExecutionLog) -> str:
    moment = row.logged_at.isoformat(timespec="milliseconds")
    level = logging.getLevelName(row.level)
    return f"{moment} #{row.attempt} {level} {row.logger}: {row.message}\n"
