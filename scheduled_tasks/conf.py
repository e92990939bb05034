"""The one setting of this app: a dictionary named ``SCHEDULED_TASKS``, all of it optional."""

from __future__ import annotations

import difflib
import os
import re
from dataclasses import dataclass, fields
from typing import Any, cast

from django.conf import settings
from django.core.signals import setting_changed
from django.utils.functional import SimpleLazyObject, empty

from scheduled_tasks.exceptions import InvalidSettings

#: The largest number that an option can be: columns hold it, and clocks count so far.
MAX_NUMBER = 1_000_000_000
#: A lease is so many heartbeats long at least. Workers look at each other once a heartbeat and the
#: longest sleep, and their watch of half a lease must not break by that alone.
MIN_BEATS_PER_LEASE = 4
#: At the end of what names a secret, as regular expressions.
SECRET_NAMES = (
    "passw(or)?d",
    "passphrase",
    "secret([-_ ]?key)?",
    "token",
    "api[-_ ]?key",
    "access[-_ ]?key",
    "private[-_ ]?key",
    "authorization",
    "cookie",
    "credentials?",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Every key of ``SCHEDULED_TASKS`` with its default. Times are in seconds."""

    #: Names of the modules searched for handlers in each installed app.
    DISCOVER_MODULES: tuple[str, ...] = ("tasks",)
    #: Write what code declares into the database after each ``migrate``.
    SYNC_AFTER_MIGRATE: bool = True
    #: Where attempts run unless their task says otherwise: "process", "thread", or a dotted path.
    EXECUTOR: str = "process" if hasattr(os, "fork") else "thread"
    #: How many executions one worker runs at a time.
    CONCURRENCY: int = 10
    #: The longest a worker sleeps before it looks for work again.
    POLL_INTERVAL: float = 1.0
    #: Where workers listen to what is notified, if not in the database that Django uses: the
    #: address of PostgreSQL itself, as a URL or in libpq's words, where Django's is a pooler's.
    LISTEN_DSN: str = ""
    #: How often a worker says that it lives.
    HEARTBEAT_INTERVAL: float = 5.0
    #: How long a worker may be silent before its executions are taken from it.
    LEASE: float = 60.0
    #: A slot fired later than this after its time counts as caught up.
    MISFIRE_THRESHOLD: float = 60.0
    #: How long no live worker may know a handler before the tasks that use it are parked.
    HANDLER_GRACE: float = 600.0
    #: How long a stopping worker waits for the executions that it runs.
    SHUTDOWN_TIMEOUT: float = 30.0
    #: How long a run may take to end once it was asked to at its timeout; then it is killed.
    KILL_GRACE: float = 10.0
    #: How many executions a process of the process executor makes before a fresh one follows.
    MAX_EXECUTIONS_PER_CHILD: int = 1
    #: Rows fired, claimed or ended in one transaction.
    BATCH_SIZE: int = 200
    #: Results, errors and tracebacks longer than this many characters are cut.
    MAX_STORED_LENGTH: int = 100_000
    #: Lines of log that are kept of one execution, and characters of each.
    MAX_LOG_LINES: int = 10_000
    MAX_LOG_LINE_LENGTH: int = 10_000
    #: What stands beside these names, in texts and in JSON, is not shown; regular expressions.
    REDACT: tuple[str, ...] = SECRET_NAMES


def load() -> Options:
    """Read ``SCHEDULED_TASKS`` from the settings; raise InvalidSettings for what it cannot hold."""
    given = getattr(settings, "SCHEDULED_TASKS", {})
    if not isinstance(given, dict):
        raise InvalidSettings("SCHEDULED_TASKS must be a dictionary.")
    defaults = {field.name: field.default for field in fields(Options)}
    for key in given:
        if key not in defaults:
            raise unknown_key(key, list(defaults))
    options: dict[str, Any] = {
        key: checked(key, value, defaults[key]) for key, value in given.items()
    }
    loaded = Options(**options)
    if loaded.LEASE < MIN_BEATS_PER_LEASE * loaded.HEARTBEAT_INTERVAL:
        raise InvalidSettings(
            f"SCHEDULED_TASKS['LEASE'] is {loaded.LEASE:g} s, which must be at least "
            f"{MIN_BEATS_PER_LEASE} times HEARTBEAT_INTERVAL ({loaded.HEARTBEAT_INTERVAL:g} s): "
            "otherwise live workers may be taken for lost, and lost workers never noticed."
        )
    for name in loaded.REDACT:
        refuse_unusable(name)
    return loaded


def refuse_unusable(name: str) -> None:
    """Raise InvalidSettings for what cannot be part of the one expression that finds secrets."""
    try:
        expression = re.compile(joined((name, name)))
    except re.error as error:
        raise InvalidSettings(
            f"SCHEDULED_TASKS['REDACT'] holds {name!r}, not a regular expression that can stand "
            f"beside others: {error}. Case does not matter, and no flags can be given."
        ) from None
    if expression.groupindex or re.search(r"\\[1-9]", name):
        raise InvalidSettings(
            f"SCHEDULED_TASKS['REDACT'] holds {name!r}, which refers to its groups: use (?:…)."
        )


def joined(names: tuple[str, ...]) -> str:
    """Return one expression for all of these; for none, one that finds nothing."""
    return "|".join(f"(?:{name})" for name in names) or r"(?!)"


def unknown_key(key: object, known: list[str]) -> InvalidSettings:
    near = difflib.get_close_matches(str(key).upper(), known, n=1)
    advice = f"did you mean {near[0]!r}?" if near else f"it knows {', '.join(known)}."
    return InvalidSettings(f"SCHEDULED_TASKS has no key {key!r}: {advice}")


def checked(key: str, value: Any, default: Any) -> Any:
    match default:
        case bool():
            wanted, fits = "True or False", isinstance(value, bool)
        case int():
            wanted = f"a whole number from 1 to {MAX_NUMBER}"
            fits = type(value) is int and 0 < value <= MAX_NUMBER
        case float():
            wanted = f"a number above 0 and at most {MAX_NUMBER}"
            fits = type(value) in (int, float) and 0 < value <= MAX_NUMBER
        case str():
            wanted, fits = "text", isinstance(value, str)
        case _:
            wanted = "a list of names"
            fits = isinstance(value, (list, tuple)) and all(isinstance(name, str) for name in value)
    if not fits:
        raise InvalidSettings(f"SCHEDULED_TASKS[{key!r}] must be {wanted}, not {value!r}.")
    return type(default)(value)


app_settings = cast(Options, SimpleLazyObject(load))


def forget(*, setting: str, **_: Any) -> None:
    """Read the setting anew after a test has changed it."""
    if setting == "SCHEDULED_TASKS":
        app_settings._wrapped = empty  # type: ignore[attr-defined]  # noqa: SLF001


setting_changed.connect(forget, dispatch_uid="scheduled_tasks.conf")
