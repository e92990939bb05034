"""Makes the notifiers of the NOTIFIERS setting, once per process."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from functools import cache
from inspect import Parameter, signature
from typing import Any

from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from scheduled_tasks.conf import app_settings
from scheduled_tasks.exceptions import InvalidSettings
from scheduled_tasks.mistakes import Mistakes, advice, all_mistakes, nearest, suggestion
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
    """Return the notifiers by name. Raise InvalidSettings with all that is wrong with them."""
    found: dict[str, Notifier] = {}
    with all_mistakes() as mistakes:
        for name, config in app_settings.NOTIFIERS.items():
            with mistakes.collected():
                found[name] = notifier(name, config)
    return found


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
        where = f"SCHEDULED_TASKS['NOTIFIERS'][{name!r}]"
        raise InvalidSettings(*(f"{where}: {said}" for said in error.mistakes)) from None


def made(name: str, config: Any) -> Notifier:
    if not isinstance(name, str) or not name.strip():
        raise InvalidSettings("the name of a notifier must be text.")
    if not isinstance(config, Mapping):
        raise InvalidSettings("it must be a dictionary with BACKEND and OPTIONS.")
    options = config.get(OPTIONS, {})
    with all_mistakes() as mistakes:
        meant = refuse_unknown("key", config, KEYS, mistakes)
        if not isinstance(options, Mapping):
            mistakes.add("OPTIONS must be a dictionary.")
        if BACKEND not in meant:
            with mistakes.collected():
                backend = backend_class(config)
                if isinstance(options, Mapping) and OPTIONS not in meant:
                    check_options(backend, options)
    return with_options(backend, options)


def with_options(backend: type[Notifier], options: Mapping[str, Any]) -> Notifier:
    try:
        return backend(**options)
    except InvalidSettings:
        raise
    except Exception as error:  # noqa: BLE001 -- a class of the project may raise anything
        raise InvalidSettings(
            f"{backend.__name__} refuses its OPTIONS: {error_text(error).rstrip('.')}."
        ) from None


def backend_class(config: Mapping[str, Any]) -> type[Notifier]:
    """Return the class that BACKEND names. Raise InvalidSettings."""
    if not isinstance(path := config.get(BACKEND), str):
        raise InvalidSettings(f"it needs a BACKEND, such as {OWN[0]!r}.")
    if not path.strip():
        raise InvalidSettings(f"its BACKEND is empty: name one, such as {OWN[0]!r}.")
    try:
        found = import_string(path)
    except Exception as error:  # noqa: BLE001 -- a bad name, or whatever its module raises
        said = f"the BACKEND {path!r} cannot be imported: {error_text(error).rstrip('.')}"
        meant = meant_path(path)
        raise InvalidSettings(f"{said}; {meant}" if meant else f"{said}.") from None
    if not (isinstance(found, type) and issubclass(found, Notifier)):
        raise InvalidSettings(
            f"the BACKEND {path!r} is not a subclass of {notifiers.__name__}.{Notifier.__name__}."
        )
    if missing := sorted(found.__abstractmethods__):
        raise InvalidSettings(f"the BACKEND {path!r} lacks {', '.join(missing)}.")
    return found


def meant_path(path: str) -> str:
    """Return a question with the backend of this package that was probably meant, or ""."""
    by_name = {own.rpartition(".")[2]: own for own in OWN}
    near = nearest(path.rpartition(".")[2], by_name)
    return f"did you mean {by_name[near[0]]!r}?" if near else suggestion(path, OWN)


def check_options(backend: type[Notifier], options: Mapping[str, Any]) -> None:
    """Raise InvalidSettings for options that are unknown, and for those that are missing."""
    taken = signature(backend).parameters.values()
    named = [each for each in taken if each.kind is not Parameter.VAR_KEYWORD]
    with all_mistakes() as mistakes:
        meant: set[str] = set()
        if len(named) == len(taken):
            meant = refuse_unknown("option", options, [each.name for each in named], mistakes)
        for each in named:
            if each.default is Parameter.empty and each.name not in {*options, *meant}:
                mistakes.add(f"{backend.__name__} needs the option {each.name!r}.")


def refuse_unknown(
    kind: str, given: Iterable[Any], known: Collection[str], mistakes: Mistakes
) -> set[str]:
    """Add the names that are not known to the mistakes; return those that were probably meant."""
    unknown = [name for name in given if name not in known]
    for name in unknown:
        mistakes.add(f"there is no {kind} {name!r}: {advice(name, known)}")
    return {near for name in unknown for near in nearest(name, known)}
