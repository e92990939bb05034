"""What the page of an execution shows a part of, as text files: the log, and long values."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, StreamingHttpResponse
from django.urls import URLPattern, path

from scheduled_tasks.admin.text_files import text_file, whole_json
from scheduled_tasks.models import Execution, ExecutionLog

JSON_PARTS = ("payload", "checkpoint", "result")
TEXT_PARTS = ("error", "traceback")
#: Lines per query.
BATCH_SIZE = 1_000
#: What would begin a new line, move a terminal's cursor, or show text in another order.
CONTROLS = re.compile(
    r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]"
)


class ExecutionDownloads(admin.ModelAdmin):
    """An admin with URLs for the log and the long values of each execution."""

    def get_urls(self) -> list[URLPattern]:
        view, name = self.admin_site.admin_view, "scheduled_tasks_execution"
        return [
            path("<int:pk>/log/", view(self.log_view), name=f"{name}_log"),
            path("<int:pk>/<str:part>.txt", view(self.download_view), name=f"{name}_download"),
            *super().get_urls(),
        ]

    def log_view(self, request: HttpRequest, pk: int) -> StreamingHttpResponse:
        """Return the log. Raise Http404, or PermissionDenied without permission to view."""
        execution = self.viewed(request, pk)
        # Streamed, because MAX_LOG_LINES of full length are a hundred megabytes.
        return text_file(text_batches(execution), f"execution-{execution.pk}.log")

    def download_view(self, request: HttpRequest, pk: int, part: str) -> StreamingHttpResponse:
        """Return a long value without secrets, under the conditions of the log."""
        execution = self.viewed(request, pk)
        if part in JSON_PARTS:
            text = whole_json(getattr(execution, part))
        elif part in TEXT_PARTS:
            text = getattr(execution, part)
        else:
            raise Http404
        return text_file([text], f"execution-{execution.pk}-{part}.txt")

    def viewed(self, request: HttpRequest, pk: int) -> Execution:
        """Return an execution that the user may view. Raise Http404 or PermissionDenied."""
        execution: Execution | None = self.get_object(request, str(pk))
        if execution is None:
            raise Http404
        if not self.has_view_permission(request, execution):
            raise PermissionDenied
        return execution


def text_batches(execution: Execution) -> Iterator[str]:
    """Yield the lines in batches, one query each, so that no cursor stays open."""
    last = 0
    while rows := list(execution.log_lines.filter(pk__gt=last).order_by("pk")[:BATCH_SIZE]):
        yield "".join(map(text_line, rows))
        last = rows[-1].pk


def text_line(row: ExecutionLog) -> str:
    moment = row.logged_at.isoformat(timespec="milliseconds")
    level = logging.getLevelName(row.level)
    return f"{moment} #{row.attempt} {level} {one_line(row.logger)}: {one_line(row.message)}\n"


def one_line(text: str) -> str:
    """Return a text with control characters as escapes, so that no message forges a line."""
    return CONTROLS.sub(lambda found: repr(found[0])[1:-1], text)
