"""Admins whose views are retried after a conflict with another transaction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import admin
from django.db import router
from django.http import HttpRequest, HttpResponse

from scheduled_tasks.models.sql.transactions import in_transaction
from scheduled_tasks.runtime.django_internals import queued_messages


class RetryingAdmin(admin.ModelAdmin):
    """An admin whose saves and deletions survive a conflict with the engine.

    Django runs each of these views in one transaction. Nothing inside a transaction can be
    retried, so the whole view is. With ATOMIC_REQUESTS the request is the transaction, and
    handling the conflict is up to the project.
    """

    def changeform_view(self, request: HttpRequest, *args: Any, **options: Any) -> Any:
        """Show or save the form; retry after a conflict."""
        view = super().changeform_view
        return self.retried(request, lambda: view(request, *args, **options))

    def delete_view(self, request: HttpRequest, *args: Any, **options: Any) -> Any:
        """Confirm or delete; retry after a conflict."""
        view = super().delete_view
        return self.retried(request, lambda: view(request, *args, **options))

    def retried(self, request: HttpRequest, view: Callable[[], HttpResponse]) -> HttpResponse:
        """Return the response of a view, which is retried after conflicts if it writes."""
        if request.method != "POST":
            return view()
        queued = queued_messages(request)
        before = len(queued)

        def attempt() -> HttpResponse:
            del queued[before:]
            return view()

        return in_transaction(attempt, using=router.db_for_write(self.model))
