"""Notifiers made from the setting, and what is wrong with it."""

from __future__ import annotations

from typing import Any

import pytest
from django.utils.module_loading import import_string

from scheduled_tasks.exceptions import InvalidSettings
from scheduled_tasks.monitoring import notifiers
from scheduled_tasks.monitoring.notifiers import CallableNotifier, EmailNotifier, Notifier
from scheduled_tasks.monitoring.notifiers.loading import OWN, load_notifiers
from scheduled_tasks.monitoring.notifiers.notification import Notification

PACKAGE = "scheduled_tasks.monitoring.notifiers"
EMAIL = f"{PACKAGE}.EmailNotifier"
OPS = {"BACKEND": EMAIL, "OPTIONS": {"to": "ops@shop.example"}}


class PrintNotifier(Notifier):
    """One of a project's own."""

    def __init__(self, *, prefix: str = "", **further: Any) -> None:
        if prefix == "bad":
            raise InvalidSettings("the option 'prefix' must be good.")
        if prefix == "worse":
            raise InvalidSettings
        self.prefix = {"": "> ", "> ": "> "}[prefix]
        self.further = further

    def send(self, notification: Notification) -> None:
        print(f"{self.prefix}{notification.title()}")


class SilentNotifier(Notifier):
    """One that lacks ``send``."""


class NotOne:
    """No notifier."""


def use(settings: Any, **configured: Any) -> None:
    settings.SCHEDULED_TASKS = {"NOTIFIERS": configured}


def test_without_a_setting_there_are_none() -> None:
    assert load_notifiers() == {}


def test_each_entry_becomes_a_notifier(settings: Any) -> None:
    function = {"BACKEND": f"{PACKAGE}.CallableNotifier", "OPTIONS": {"function": print}}
    use(settings, ops=OPS, function=function, own={"BACKEND": f"{__name__}.PrintNotifier"})
    loaded = load_notifiers()
    assert {name: type(notifier) for name, notifier in loaded.items()} == {
        "ops": EmailNotifier,
        "function": CallableNotifier,
        "own": PrintNotifier,
    }
    assert str(loaded["own"]) == "PrintNotifier"


def test_they_are_made_once_for_each_setting(settings: Any) -> None:
    use(settings, ops=OPS)
    first = load_notifiers()
    assert load_notifiers() is first
    use(settings, others=OPS)
    assert list(load_notifiers()) == ["others"]


def test_further_options_reach_those_that_take_them(settings: Any) -> None:
    own = {"BACKEND": f"{__name__}.PrintNotifier", "OPTIONS": {"anything": 1}}
    use(settings, own=own)
    assert load_notifiers()["own"].further == {"anything": 1}  # type: ignore[attr-defined]


def own(name: str, **options: Any) -> dict[str, Any]:
    return {"BACKEND": f"{__name__}.{name}", "OPTIONS": options}


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (None, "it must be a dictionary with BACKEND and OPTIONS."),
        ({}, f"it needs a BACKEND, such as '{PACKAGE}.AppriseNotifier'."),
        ({"BACKEND": EmailNotifier}, "it needs a BACKEND, such as"),
        ({**OPS, "OPTION": {}}, "there is no key 'OPTION': did you mean 'OPTIONS'?"),
        ({**OPS, 7: {}}, "there is no key 7: use one of BACKEND, OPTIONS."),
        ({**OPS, "OPTIONS": ["to"]}, "OPTIONS must be a dictionary."),
        (
            {"BACKEND": f"{PACKAGE}.EmailNotifer"},
            f"the BACKEND '{PACKAGE}.EmailNotifer' cannot be imported: ImportError: Module",
        ),
        ({"backend": EMAIL}, "there is no key 'backend': did you mean 'BACKEND'?"),
        (
            {"BACKEND": "notifiers.EmailNotifier"},
            "the BACKEND 'notifiers.EmailNotifier' cannot be imported: ModuleNotFoundError",
        ),
        ({"BACKEND": "nowhere.Sms"}, "the BACKEND 'nowhere.Sms' cannot be imported: Mod"),
        ({"BACKEND": ""}, f"its BACKEND is empty: name one, such as '{PACKAGE}."),
        (
            own("NotOne"),
            f"the BACKEND '{__name__}.NotOne' is not a subclass of {PACKAGE}.",
        ),
        (own("PACKAGE"), f"the BACKEND '{__name__}.PACKAGE' is not a subclass"),
        (own("SilentNotifier"), f"the BACKEND '{__name__}.SilentNotifier' lacks send."),
        ({"BACKEND": EMAIL}, "EmailNotifier needs the option 'to'."),
        (
            {**OPS, "OPTIONS": {"to": "ops@shop.example", "from_mail": "x"}},
            "there is no option 'from_mail': did you mean 'from_email'?",
        ),
        (
            {**OPS, "OPTIONS": {"url": "https://shop.example"}},
            "there is no option 'url': use one of to, from_email, subject_prefix.",
        ),
        ({**OPS, "OPTIONS": {"to": "ops"}}, "the option 'to' must be an address"),
        (own("PrintNotifier", prefix="bad"), "the option 'prefix' must be good."),
        (own("PrintNotifier", prefix="worse"), "it is invalid."),
        (own("PrintNotifier", prefix="x"), "PrintNotifier refuses its OPTIONS: KeyError: 'x'"),
    ],
)
def test_what_is_wrong_is_said(settings: Any, config: Any, said: str) -> None:
    use(settings, ops=config)
    with pytest.raises(InvalidSettings) as caught:
        load_notifiers()
    assert str(caught.value).startswith(f"SCHEDULED_TASKS['NOTIFIERS']['ops']: {said}")


@pytest.mark.parametrize("path", ["EmailNotifier", "shop.EmailNotifer", f"{EMAIL}s"])
def test_the_backend_that_is_meant(settings: Any, path: str) -> None:
    [said] = sentences(settings, ops={"BACKEND": path})
    assert said.endswith(f"; did you mean '{EMAIL}'?")


def sentences(settings: Any, **configured: Any) -> list[str]:
    use(settings, **configured)
    with pytest.raises(InvalidSettings) as caught:
        load_notifiers()
    return [said.partition("]: ")[2] for said in caught.value.mistakes]


def test_all_mistakes_are_said(settings: Any) -> None:
    wrong = {"BACKEND": f"{PACKAGE}.WebhookNotifier", "OPTIONS": {"tiemout": 5, "xyz": 1}}
    assert sentences(settings, ops=OPS, hook=wrong, pager={"BACKEND": 7, "OPTIONS": []}) == [
        "there is no option 'tiemout': did you mean 'timeout'?",
        "there is no option 'xyz': use one of url, secret, headers, timeout.",
        "WebhookNotifier needs the option 'url'.",
        "OPTIONS must be a dictionary.",
        f"it needs a BACKEND, such as '{PACKAGE}.AppriseNotifier'.",
    ]


def test_a_misspelled_name_is_one_mistake(settings: Any) -> None:
    assert len(sentences(settings, ops={"backend": EMAIL, "options": {}})) == 2
    assert len(sentences(settings, ops={**OPS, "OPTIONS": {"too": "ops@shop.example"}})) == 1
    assert len(sentences(settings, ops={"BACKEND": EMAIL, "options": {}})) == 1


@pytest.mark.parametrize("name", ["", " ", 7])
def test_a_name_must_be_text(settings: Any, name: Any) -> None:
    settings.SCHEDULED_TASKS = {"NOTIFIERS": {name: OPS}}
    with pytest.raises(InvalidSettings, match="the name of a notifier must be text"):
        load_notifiers()


def test_exported_names_are_sorted_and_documented() -> None:
    assert notifiers.__all__ == sorted(notifiers.__all__)
    assert all(getattr(notifiers, name).__doc__ for name in notifiers.__all__)
    assert all(issubclass(import_string(path), Notifier) for path in OWN)
    assert len(OWN) == 4
