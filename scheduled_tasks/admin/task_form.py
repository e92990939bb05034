"""The form in which a person defines a task."""

from __future__ import annotations

from typing import Any
from zoneinfo import available_timezones

from django import forms

from scheduled_tasks.models import Task
from scheduled_tasks.registry import registry


class TaskForm(forms.ModelForm):
    """A task's definition, with the registered handlers to choose from."""

    class Meta:
        """The fields that do something today."""

        model = Task
        fields = (
            "name",
            "handler",
            "description",
            "category",
            "schedule",
            "timezone",
            "anchor",
            "enabled",
            "payload",
            "queue",
            "priority",
        )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "handler" in self.fields:
            self.fields["handler"].widget = forms.Select(choices=self.handler_choices())
        if "timezone" in self.fields:
            self.fields["timezone"].widget = forms.Select(choices=zone_choices())

    def handler_choices(self) -> list[tuple[str, str]]:
        """Return the registered handlers, and the one that the row names even if it is gone."""
        keys = sorted({*registry.handlers, *filter(None, [self.instance.handler])})
        return [("", "---------"), *((key, key) for key in keys)]


def zone_choices() -> list[tuple[str, str]]:
    return [(name, name) for name in sorted(available_timezones() - {"localtime", "Factory"})]
