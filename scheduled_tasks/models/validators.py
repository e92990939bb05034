"""Validators of fields, and what people read about a value that a field refuses."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.db import models
from django.utils.translation import gettext_lazy as _

from scheduled_tasks.conf import HEARTBEAT_FORMS, meant_service, web_address_in
from scheduled_tasks.exceptions import OutgoingError
from scheduled_tasks.mistakes import advice
from scheduled_tasks.outgoing.addresses import refuse_at_sight
from scheduled_tasks.runtime.conditions import OF_TASKS, Condition
from scheduled_tasks.runtime.recipients import ADDRESSES, hold_empty_text, is_address, recipients_in
from scheduled_tasks.schedules.zones import FIRST_YEAR, LAST_YEAR

#: Of a refused value, in characters.
MAX_SHOWN = 100


def refuse_unshowable(moment: datetime) -> None:
    """Refuse years near the ends of the calendar."""
    if not FIRST_YEAR <= moment.year <= LAST_YEAR:
        said = _("Enter a date between the years %(first)d and %(last)d.")
        raise ValidationError(said, params={"first": FIRST_YEAR, "last": LAST_YEAR})


def refuse_nan(value: float) -> None:
    """Refuse NaN, which passes the bounds."""
    if value != value:  # noqa: PLR0124 -- true of nothing else
        raise ValidationError(_("Enter a number."))


def refuse_unusable_url(value: str) -> None:
    """Refuse anything but the address of a web server, perhaps after the name of a service.

    Nor may its host be an address that no request may reach. No name is resolved.
    """
    if not (url := web_address_in(value)):
        said = _("Enter %(forms)s.%(meant)s")
        params = {"forms": HEARTBEAT_FORMS, "meant": meant_service(value)}
        raise ValidationError(said, params=params)
    try:
        refuse_at_sight(url)
    except OutgoingError as error:
        raise ValidationError(str(error)) from None


def flaw_of_recipients(metadata: Any) -> str:
    """Return what is wrong with the recipients in the metadata of a task; "" if nothing is.

    None and [] stand for no recipients.
    """
    recipients = metadata.get("recipients") if isinstance(metadata, dict) else None
    if recipients in (None, []):
        return ""
    if hold_empty_text(recipients):
        said = _("The recipients must be %(wanted)s, not an empty text; for none, write [].")
        return said % {"wanted": ADDRESSES}
    for text in recipients_in(recipients):
        if not is_address(text):
            said = _("The recipients must be %(wanted)s; %(text)s is not an address.")
            # Not every text can be written into a page.
            shown = text[:MAX_SHOWN] if text.isprintable() else repr(text[:MAX_SHOWN])
            return said % {"wanted": ADDRESSES, "text": shown}
    return ""


def refuse_unknown_conditions(value: Any) -> None:
    """Refuse anything but a list of conditions of tasks."""
    if not isinstance(value, list) or not all(isinstance(code, str) for code in value):
        raise ValidationError(_("Enter a list of conditions."))
    if refusals := list(refusals_of_conditions(value)):
        raise ValidationError(refusals)


def refusals_of_conditions(codes: list[str]) -> Iterator[ValidationError]:
    for code in dict.fromkeys(codes):
        if code in OF_TASKS:
            continue
        if code in Condition.values:
            said = _(
                "The condition %(code)s is never about a task: the setting CONDITIONS turns it on "
                "and off."
            )
        else:
            said = _("There is no condition %(code)s: %(advice)s")
        params = {"code": repr(code[:MAX_SHOWN]), "advice": advice(code[:MAX_SHOWN], OF_TASKS)}
        yield ValidationError(said, params=params)


def with_advice(
    model: type[models.Model], errors: dict[str, list[ValidationError]]
) -> dict[str, list[ValidationError]]:
    """Return errors by field; those about a choice say which choices there are."""
    return {
        name: [unknown_choice(model, name, each) for each in reasons]
        for name, reasons in errors.items()
    }


def unknown_choice(model: type[models.Model], name: str, error: ValidationError) -> ValidationError:
    field = model._meta.get_field(name)  # noqa: SLF001
    if error.code != "invalid_choice" or not isinstance(field, models.Field):
        return error
    value = str((error.params or {})["value"])[:MAX_SHOWN]
    known = [str(choice) for choice, _label in field.flatchoices if choice]
    said = _("%(value)s is not a valid choice: %(advice)s")
    params = {"value": repr(value), "advice": advice(value, known)}
    return ValidationError(said, code=error.code, params=params)
