"""What every admin of this app looks like."""

from __future__ import annotations

from django.contrib import admin


class StyledAdmin(admin.ModelAdmin):
    """An admin with moments in the viewer's zone, and colours."""

    class Media:
        """Files of their own, so that a Content-Security-Policy can refuse everything inline."""

        css = {"all": ("scheduled_tasks/admin.css",)}
        js = ("scheduled_tasks/moments.js",)
