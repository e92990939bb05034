"""Makes the notifiers of the NOTIFIERS setting, once per process."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from inspect import Parameter, signature
from typing import Any

from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from scheduled_tasks.conf import app_settings, suggestion
from scheduled_tasks.exceptions import InvalidSettings
from scheduled_tasks.monitoring import notifiers
from scheduled_tasks.monitoring.notifiers.base import Notifier
from scheduled_tasks.monitoring.notifiers.errors import error_text

BACKEND, OPTIONS = KEYS = ("BACKEND", "OPTIONS")
#: The dotted paths of the backends of this package.
OWN = [
    f"{notifiers.__name__}.{name}"
    for name in notifiers.__all__
    if name.endswith("Notifier") and name != "Notifier"
]


@cache
def load_notifiers() -> Mapping[str, Notifier]:
    """Return the notifiers by name. Raise InvalidSettings for the first that cannot be made."""
    return {name: notifier(name, config) for name, config in app_settings.NOTIFIERS.items()}


def reset(*, setting: str, **_: Any) -> None:
    """Make them again after a test has changed the setting."""
    if setting == "SCHEDULED_TASKS":
        load_notifiers.cache_clear()


setting_changed.connect(reset, dispatch_uid="scheduled_tasks.monitoring.notifiers.loading")


def notifier(name: str, config: Any) -> Notifier:
    """Return the notifier of one entry of the setting. Raise InvalidSettings with its name."""
    try:
        return made(name, config)
    except InvalidSettings as error:
        raise InvalidSettings(f"SCHEDULED_TASKS['NOTIFIERS'][{name!r}]: {error}") from None


def made(name: str, config: Any) -> Notifier:
    if not isinstance(name, str) or not name.strip():
        raise InvalidSettings("the name of a notifier must be text.")
    if not isinstance(config, Mapping):
        raise InvalidSettings("it must be a dictionary with BACKEND and OPTIONS.")
    refuse_unknown("key", config, KEYS)
    if not isinstance(path := config.get(BACKEND), str):
        raise InvalidSettings(f"it needs a BACKEND, such as {OWN[0]!r}.")
    backend, options = backend_class(path), config.get(OPTIONS, {})
    if not isinstance(options, Mapping):
        raise InvalidSettings("OPTIONS must be a dictionary.")
    check_options(backend, options)
    try:
        return backend(**options)
    except InvalidSettings:
        raise
    except Exception as error:  # noqa: BLE001 -- a class of the project may raise anything
        raise InvalidSettings(
            f"{backend.__name__} refuses its OPTIONS: {error_text(error)}"
        ) from None


def backend_class(path: str) -> type[Notifier]:
    try:
        found = import_string(path)
    except Exception as error:  # noqa: BLE001 -- a bad name, or whatever its module raises
        raise InvalidSettings(
            f"the BACKEND {path!r} cannot be imported: {suggestion(path, OWN) or error_text(error)}"
        ) from None
    if not (isinstance(found, type) and issubclass(found, Notifier)):
        raise InvalidSettings(
            f"the BACKEND {path!r} is not a subclass of {notifiers.__name__}.{Notifier.__name__}."
        )
    if missing := sorted(found.__abstractmethods__):
        raise InvalidSettings(f"the BACKEND {path!r} lacks {', '.join(missing)}.")
    return found


def check_options(backend: type[Notifier], options: Mapping[str, Any]) -> None:
    """Raise InvalidSettings for options that are unknown, and for those that are missing."""
    taken = signature(backend).parameters.values()
    named = [each for each in taken if each.kind is not Parameter.VAR_KEYWORD]
    if len(named) == len(taken):
        refuse_unknown("option", options, [each.name for each in named])
    for each in named:
        if each.default is Parameter.empty and each.name not in options:
            raise InvalidSettings(f"{backend.__name__} needs the option {each.name!r}.")


def refuse_unknown(kind: str, given: Iterable[Any], known: Iterable[str]) -> None:
    for name in given:
        if name not in known:
            advice = (
                suggestion(str(name), known) or f"the {kind}s are {', '.join(known) or 'none'}."
            )
            raise InvalidSettings(f"there is no {kind} {name!r}: {advice}")
