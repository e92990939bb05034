"""The whole log of an execution, as a file of text."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, StreamingHttpResponse
from django.urls import URLPattern, path

from scheduled_tasks.models import Execution, ExecutionLog

#: Lines read from the database at a time.
AT_ONCE = 1_000


class ExecutionLogFile(admin.ModelAdmin):
    """The address of the file."""

    def get_urls(self) -> list[URLPattern]:
        """Add it."""
        view = self.admin_site.admin_view(self.log_view)
        own = path("<int:pk>/log/", view, name="scheduled_tasks_execution_log")
        return [own, *super().get_urls()]

    def log_view(self, request: HttpRequest, pk: int) -> StreamingHttpResponse:
        """Return the log of an execution that the user may see."""
        execution: Execution | None = self.get_object(request, str(pk))
        if execution is None:
            raise Http404
        if not self.has_view_permission(request, execution):
            raise PermissionDenied
        return log_file(execution)


def log_file(execution: Execution) -> StreamingHttpResponse:
    """Return the log of an execution as it is read, however long it is."""
    name = f"execution-{execution.pk}.log"
    return StreamingHttpResponse(
        texts_of(execution),
        content_type="text/plain; charset=utf-8",
        headers={"Content-Disposition": f'inline; filename="{name}"'},
    )


def texts_of(execution: Execution) -> Iterator[str]:
    """Return the lines, read by their ids: no cursor is held open meanwhile."""
    last = 0
    while rows := list(execution.log_lines.filter(pk__gt=last).order_by("pk")[:AT_ONCE]):
        yield "".join(map(text_of, rows))
        last = rows[-1].pk


def text_of(row: ExecutionLog) -> str:
    moment = row.logged_at.isoformat(timespec="milliseconds")
    level = logging.getLevelName(row.level)
    return f"{moment} #{row.attempt} {level} {row.logger}: {row.message}\n"
