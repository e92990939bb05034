"""Rows that the engine writes: people look at them and do not edit them."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest

from scheduled_tasks.admin.styled import StyledAdmin


class ReadOnlyAdmin(StyledAdmin):
    """An admin in which nothing can be added or changed."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Refuse."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse."""
        return False
