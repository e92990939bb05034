"""The page that sends a test alert by one of the notifiers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from django import forms
from django.contrib import messages
from django.http import HttpResponse, HttpResponseRedirect
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from scheduled_tasks.admin import display
from scheduled_tasks.admin.form_page import FormPage
from scheduled_tasks.admin.links import url
from scheduled_tasks.exceptions import InvalidSettings, NotSent, UnknownNotifier
from scheduled_tasks.monitoring.notifiers import Notifier
from scheduled_tasks.monitoring.notifiers.loading import load_notifiers
from scheduled_tasks.operations.alerts import send_test_alert
from scheduled_tasks.runtime.sanitizing import redacted_text, safe_str

#: Characters of the addresses of a notifier that are shown.
MAX_ADDRESS_LENGTH = 200


class SendTestForm(forms.Form):
    """The notifier to be tested."""

    notifier = forms.ChoiceField(
        label=gettext_lazy("Notifier"),
        widget=forms.RadioSelect,
        help_text=gettext_lazy("It sends at once, and needs no scheduler."),
    )

    def __init__(self, data: Mapping[str, str] | None, notifiers: Mapping[str, Notifier]) -> None:
        super().__init__(data, initial={"notifier": next(iter(notifiers), None)})
        field = self.fields["notifier"]
        assert isinstance(field, forms.ChoiceField)  # noqa: S101 -- tells mypy
        field.choices = list(choices(notifiers))


class SendTestPage(FormPage):
    """One request to the page."""

    template = "admin/scheduled_tasks/alert/send_test.html"

    def respond(self) -> HttpResponse:
        """Show the form, or send the test and say whether it arrived."""
        notifiers, problem = usable_notifiers()
        form = SendTestForm(self.request.POST if self.request.method == "POST" else None, notifiers)
        if not problem and form.is_valid():
            self.send(form.cleaned_data["notifier"])
            return HttpResponseRedirect(self.request.path)
        return self.render(
            form,
            title=_("Send test alert"),
            submit_label=_("Send test alert"),
            back_url=url(self.site, "alert_changelist"),
            problem=problem,
            may_submit=not problem,
        )

    def send(self, name: str) -> None:
        try:
            notifier = send_test_alert(name)
        except (NotSent, UnknownNotifier) as error:
            said = _("The notifier “%(name)s” could not send the test alert: %(reason)s")
            messages.error(self.request, said % {"name": name, "reason": error})
        else:
            said = _("The notifier “%(name)s” has sent a test alert to %(address)s.")
            messages.success(self.request, said % {"name": name, "address": address(notifier)})


def usable_notifiers() -> tuple[Mapping[str, Notifier], str]:
    """Return the notifiers by name, and why none of them can be tested, "" if they can."""
    try:
        notifiers = load_notifiers()
    except InvalidSettings as error:
        return {}, str(error)
    if notifiers:
        return notifiers, ""
    return {}, _("SCHEDULED_TASKS['NOTIFIERS'] has no notifiers.")


def choices(notifiers: Mapping[str, Notifier]) -> Iterator[tuple[str, str]]:
    for name, notifier in notifiers.items():
        yield name, f"{name} {display.TO} {address(notifier)}"


def address(notifier: Notifier) -> str:
    """Return where a notifier sends to, even if a class of the project fails to say so."""
    return display.truncated(redacted_text(safe_str(notifier)), MAX_ADDRESS_LENGTH)
