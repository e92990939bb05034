"""The form for the definition of a task."""

from __future__ import annotations

import json
from typing import Any

from django import forms
from django.contrib.admin.widgets import AdminTextareaWidget
from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.forms.fields import InvalidJSONInput
from django.utils import timezone
from django.utils.html import format_html
from django.utils.text import capfirst
from django.utils.translation import gettext as _

from scheduled_tasks.admin.form_page import MAX_FORM_LENGTH, json_length
from scheduled_tasks.admin.long_select import LongSelect
from scheduled_tasks.exceptions import InvalidSchedule, ScheduledTasksError
from scheduled_tasks.handlers.payloads.json_values import (
    TOO_DEEP,
    RepeatedKeyError,
    StrictDecoder,
)
from scheduled_tasks.handlers.registry import registry
from scheduled_tasks.models import Task
from scheduled_tasks.models.policies import Policies
from scheduled_tasks.models.storable import flaw_of_json
from scheduled_tasks.runtime.conditions import OF_TASKS
from scheduled_tasks.schedules import Once, parse, zone_names

BLANK = ("", "---------")
NOTIFY_ON = Task._meta.get_field("notify_on")  # noqa: SLF001


class JSONObjectField(forms.JSONField):
    """A JSON object with indented lines.

    Django's field crashes on text that is nested too deeply and on numbers that are too long.
    """

    widget = AdminTextareaWidget

    def __init__(self, **options: Any) -> None:
        super().__init__(**options | {"decoder": StrictDecoder})

    def to_python(self, value: Any) -> Any:
        """Return the parsed text, {} for no text."""
        try:
            cleaned = super().to_python(value)
            json.dumps(cleaned)  # Django does the same later, and may fail then
        except RecursionError:
            raise ValidationError(TOO_DEEP, code="invalid") from None
        except RepeatedKeyError as error:
            raise ValidationError(str(error), code="invalid") from None
        except ValueError:
            raise ValidationError(self.error_messages["invalid"], code="invalid") from None
        return {} if cleaned is None and not value else cleaned

    def bound_data(self, data: Any, initial: Any) -> Any:
        """Return the submitted text, unchanged if it is invalid."""
        try:
            bound = super().bound_data(data, initial)
        except (ValueError, RecursionError):
            return InvalidJSONInput(data)
        # Half a surrogate pair cannot be written into a page, except as it was typed.
        return InvalidJSONInput(data) if flaw_of_json(bound) else bound

    def prepare_value(self, value: Any) -> Any:
        if isinstance(value, InvalidJSONInput):
            return value
        return json.dumps(value, ensure_ascii=False, indent=2 if value else None)


class ConditionsField(forms.MultipleChoiceField):
    """A choice of conditions. None chosen is None: the settings decide."""

    def clean(self, value: Any) -> list[str] | None:
        """Return the codes, None for none."""
        return super().clean(value) or None


class TaskForm(forms.ModelForm):
    """The definition of a task, with a choice of the registered handlers."""

    notify_on = ConditionsField(
        choices=[(code.value, code.label) for code in OF_TASKS],
        widget=forms.CheckboxSelectMultiple,
        required=False,
        label=capfirst(NOTIFY_ON.verbose_name),
        help_text=NOTIFY_ON.help_text,
    )

    class Meta:
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
            "paused_until",
            "pause_reason",
            "metadata",
            *Policies.DECLARED_FIELDS,
        )
        field_classes = {"payload": JSONObjectField, "metadata": JSONObjectField}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "handler" in self.fields:
            self.fields["handler"].widget = forms.Select(
                choices=handler_choices(self.instance.handler)
            )
        if "timezone" in self.fields:
            self.fields["timezone"].widget = LongSelect(
                choices=zone_choices(self.instance.timezone)
            )
        for name in {"payload", "metadata"}.intersection(self.fields):
            self.fields[name].widget.attrs |= {"rows": 4, "spellcheck": "false"}
        if "payload" in self.fields:
            self.fields["payload"].help_text = self.payload_help()
        if "description" in self.fields:
            self.fields["description"].widget.attrs["rows"] = 2

    def payload_help(self) -> str:
        """Return the help text of the payload, with the names of the arguments."""
        text = str(self.fields["payload"].help_text)
        try:
            names = registry.get(self.instance.handler).spec.names
        except ScheduledTasksError:
            return text
        if not names:
            return format_html("{} {}", text, _("This handler takes no arguments."))
        return format_html("{} {}", text, _("Arguments: %s.") % ", ".join(names))

    def clean(self) -> dict[str, Any]:
        """Keep unchanged times exactly as they are: the form has no fractions of a second."""
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        for name in {"anchor", *Policies.MOMENTS}.intersection(self.fields):
            if name not in self.changed_data:
                # Nor does it tell the hours apart that a clock shows twice.
                self.errors.pop(name, None)
                cleaned[name] = getattr(self.instance, name)
        if "notify_on" not in self.changed_data:
            # Nor can it tell an empty list, which raises nothing, from None.
            cleaned["notify_on"] = self.instance.notify_on
        self.refuse_past_moment(cleaned)
        self.refuse_past_pause(cleaned)
        return cleaned

    def refuse_past_moment(self, cleaned: dict[str, Any]) -> None:
        """Refuse to enter a single moment that has passed; one that was stored may stay."""
        text, zone = (cleaned.get(name) or "" for name in ("schedule", "timezone"))
        if (text, zone) == (self.instance.schedule, self.instance.timezone):
            return
        try:
            schedule = parse(text, zone)
        except InvalidSchedule:
            return  # the model says why
        if isinstance(schedule, Once) and schedule.next_after(timezone.now()) is None:
            said = _("“%s” is in the past: enter a later moment, or nothing, and run the task now.")
            self.add_error("schedule", said % schedule)

    def refuse_past_pause(self, cleaned: dict[str, Any]) -> None:
        """Refuse to enter the end of a pause that has passed; one that was stored may stay."""
        until = cleaned.get("paused_until")
        if until and "paused_until" in self.changed_data and until <= timezone.now():
            said = _("Enter a time in the future, or nothing to end the pause.")
            self.add_error("paused_until", said)

    def add_error(self, field: str | None, error: Any) -> None:
        """Add errors of the model, each once and at a field of the form."""
        if field is None and hasattr(error, "error_dict"):
            error = ValidationError(self.by_form_field(error.error_dict))
        super().add_error(field, error)

    def by_form_field(self, errors: dict[str, list[ValidationError]]) -> dict[str, list[Any]]:
        """Return errors by field; errors of fields that the form lacks are non-field errors."""
        # Django raises ValueError for errors of fields that the form does not have.
        found: dict[str, list[Any]] = {}
        for name, reasons in errors.items():
            if name == NON_FIELD_ERRORS or name in self.fields:
                if name not in self.errors:
                    found.setdefault(name, []).extend(reasons)
            else:
                named = [f"{name}: {' '.join(reason.messages)}" for reason in reasons]
                found.setdefault(NON_FIELD_ERRORS, []).extend(named)
        return found


def too_long(task: Task) -> list[str]:
    """Return the fields of a task that are too long to be edited in a form."""
    lengths = {
        "payload": json_length(task.payload),
        "metadata": json_length(task.metadata),
        "description": len(task.description),
    }
    return [name for name, length in lengths.items() if length > MAX_FORM_LENGTH]


def handler_choices(current: str) -> list[tuple[str, str]]:
    """Return the registered handlers, and the current one even if it is not registered."""
    try:
        known = set(registry.handlers)
    except ScheduledTasksError:
        # Check E003 reports it, and the page has to work all the same.
        known = set()
    keys = sorted(known | set(filter(None, [current])))
    # Without a blank choice, browsers select the first handler for a new task.
    return [BLANK, *((key, key) for key in keys)]


def zone_choices(current: str) -> list[tuple[str, str]]:
    """Return all time zones, and the current one even if it is unknown."""
    return [(name, name) for name in sorted(zone_names() | {current})]
