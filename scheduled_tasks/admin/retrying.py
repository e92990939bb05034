"""Pages that are tried again when other transactions get in their way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import admin
from django.contrib.messages import get_messages
from django.db import router
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse

from scheduled_tasks.models.sql.transactions import in_transaction


class RetryingAdmin(admin.ModelAdmin):
    """An admin whose saves and deletions survive a conflict with the engine.

    Django runs each of these views in one transaction, within which nothing can be tried again;
    so the view as a whole is. Where the project has a transaction for each request, it is the
    request that would have to be tried again, and the conflict is the project's to handle.
    """

    def changeform_view(self, request: HttpRequest, *args: Any, **options: Any) -> Any:
        """Show the form; save it, however often that takes."""
        view = super().changeform_view
        return self.patiently(request, lambda: view(request, *args, **options))

    def delete_view(self, request: HttpRequest, *args: Any, **options: Any) -> Any:
        """Ask whether to delete; delete, however often that takes."""
        view = super().delete_view
        return self.patiently(request, lambda: view(request, *args, **options))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Delete the selected rows in one transaction."""
        delete = super().delete_queryset
        using = router.db_for_write(self.model)
        in_transaction(lambda: delete(request, queryset), using=using)

    def patiently(self, request: HttpRequest, view: Callable[[], HttpResponse]) -> HttpResponse:
        """Return what the view answers; one that writes is tried again after conflicts."""
        if request.method != "POST":
            return view()
        said = queued_messages(request)
        before = len(said)

        def once() -> HttpResponse:
            del said[before:]
            return view()

        return in_transaction(once, using=router.db_for_write(self.model))


def queued_messages(request: HttpRequest) -> list[Any]:
    """Return the list of what has been said to the user in this request."""
    # Django has no public way to take back a message of a try that came to nothing.
    queued: list[Any] = getattr(get_messages(request), "_queued_messages", [])
    return queued
