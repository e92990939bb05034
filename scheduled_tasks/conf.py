"""The setting of this app: the dictionary ``SCHEDULED_TASKS``, with optional keys."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from typing import Any, cast
from urllib.parse import urlsplit

from django.conf import settings
from django.core.signals import setting_changed

from scheduled_tasks.exceptions import InvalidSettings
from scheduled_tasks.mistakes import Mistakes, all_mistakes, nearest, unknown

#: The largest number that an option may be; columns and clocks can hold it.
MAX_NUMBER = 1_000_000_000
#: The shortest lease, in heartbeat intervals. Workers observe each other once per interval, plus
#: the longest sleep. A gap of half a lease breaks the observation, so these must be shorter.
MIN_BEATS_PER_LEASE = 4
#: The keys whose numbers may be 0, and those that hold lists of dictionaries.
MAY_BE_ZERO = frozenset({"KEEP_LAST"})
MAY_HOLD_SECRETS = frozenset({"HEARTBEAT_URL", "LISTEN_DSN", "NOTIFIERS"})
LISTS_OF_DICTIONARIES = frozenset({"ALERTS"})
#: What links may begin with: a scheme, a host, and the path where the project is mounted.
WEB_ADDRESS = re.compile(r"https?://[^\s/?#@]+(/[^\s?#]*)?", re.ASCII)
#: What may stand before the scheme names the service whose dialect the address speaks.
HEARTBEAT_SERVICES = ("healthchecks", "cronitor")
HEARTBEAT_URL = re.compile(rf"(?:(?:{'|'.join(HEARTBEAT_SERVICES)})\+)?(https?://[^\s/?#]+\S*)")
HEARTBEAT_FORMS = (
    "a URL that begins with https:// or http://, or with the name of its service before that: "
    f"{' or '.join(f'{name}+https://' for name in HEARTBEAT_SERVICES)}"
)
#: What may be repeated in an expression of REDACT: nested repeats take exponential time.
REPEATED_GROUP, REPEAT = re.compile(r"(?<!\\)\)[*+{]"), re.compile(r"(?<!\\)[*+{]")
MAX_REPEATS = 3
#: What a host may be called. Docker Compose has names with underscores.
HOST_LABEL = r"(?!-)[a-z0-9_-]{1,63}(?<!-)"
HOST_NAME = re.compile(rf"(?=.{{1,253}}\Z){HOST_LABEL}(\.{HOST_LABEL})*")
#: Resolvers read a host that ends with a number as an IPv4 address, in many spellings.
ENDS_WITH_NUMBER = re.compile(r"(.*\.)?(0x[0-9a-f]*|[0-9]+)")
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

#: Regular expressions for the end of a name whose value is a secret. Each begins with a letter,
#: which makes the search for them several times faster.
SECRET_NAMES = (
    "passw(or)?d",
    "passphrase",
    "passcode",
    "pass(?<![a-z]pass)",
    "(user|db)pass",
    "pass[-_ ]?key",
    "pwd",
    "pw(?<![a-z]pw)",
    "(bind|root|admin|user|db)pw",
    "secret([-_ ]?key)?([-_ ]?base)?",
    "token",
    "bearer(?<![a-z]bearer)",
    "api[-_. ]?key",
    "access[-_ ]?key",
    "private[-_ ]?key",
    "account[-_ ]?key",
    "(auth|ssh|deploy|license|consumer|subscription|fernet|hmac|app(lication)?)[-_ ]?key",
    "master[-_ ]?key",
    "shared[-_ ]?key",
    "signing[-_ ]?key",
    "encryption[-_ ]?key",
    "authorization",
    "cookie",
    "credentials?",
    "sess(ion)?[-_ ]?(id|key)",
    "auths(?<![a-z_-]auths)",
    "(amz-|goog-|sharedaccess)signature",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AppSettings:
    """All keys of ``SCHEDULED_TASKS`` with their defaults. Times are in seconds."""

    #: Modules that are imported from each installed app to find handlers.
    DISCOVER_MODULES: tuple[str, ...] = ("tasks",)
    #: Whether ``migrate`` writes the declared tasks into the database.
    SYNC_AFTER_MIGRATE: bool = True
    #: Where tasks run by default: "process", "thread", or the dotted path of an executor class.
    EXECUTOR: str = "process" if hasattr(os, "fork") else "thread"
    #: Executions that one worker runs at a time.
    CONCURRENCY: int = 10
    #: The longest time between two polls for work.
    POLL_INTERVAL: float = 1.0
    #: The address of PostgreSQL itself, if Django connects through a pooler: a URL or a libpq
    #: connection string. Workers use it to LISTEN for new work.
    LISTEN_DSN: str = ""
    #: The time between two heartbeats of a worker.
    HEARTBEAT_INTERVAL: float = 5.0
    #: A worker without a heartbeat for this long is lost, and others take its executions over.
    LEASE: float = 60.0
    #: A slot that fires later than this is a misfire.
    MISFIRE_THRESHOLD: float = 60.0
    #: Tasks are parked when no live worker has known their handler for this long.
    HANDLER_GRACE: float = 600.0
    #: How long a stopping worker waits for its runs.
    SHUTDOWN_TIMEOUT: float = 30.0
    #: How long a run may take to stop after its timeout; then it is killed.
    KILL_GRACE: float = 10.0
    #: Executions that one process of the process executor runs before it is replaced.
    MAX_EXECUTIONS_PER_CHILD: int = 1
    #: The most rows fired, claimed or ended in one transaction.
    BATCH_SIZE: int = 200
    #: The longest stored result, error or traceback, in characters; longer ones are cut.
    MAX_STORED_LENGTH: int = 100_000
    #: The most log lines stored for one execution, and the most characters of a line.
    MAX_LOG_LINES: int = 10_000
    MAX_LOG_LINE_LENGTH: int = 10_000
    #: Regular expressions for names whose values are masked, in text and in JSON.
    REDACT: tuple[str, ...] = SECRET_NAMES
    #: Days for which executions are kept, those that failed, and lines of logs.
    RETENTION_DAYS: int = 90
    FAILURE_RETENTION_DAYS: int = 365
    LOG_RETENTION_DAYS: int = 30
    #: The newest executions of each task that are kept however old they are.
    KEEP_LAST: int = 10
    #: Whether workers prune once a day.
    PRUNE: bool = True
    #: The alias in STORAGES to which executions are written before they are pruned.
    ARCHIVE_STORAGE: str = ""
    #: The address of the project in a browser, for links in notifications.
    BASE_URL: str = ""
    #: By name: the dotted path ``BACKEND`` and the ``OPTIONS`` of each notifier.
    NOTIFIERS: Mapping[str, Any] = field(default_factory=dict)
    #: Which alerts go to which notifiers. Without it, all go to every notifier.
    ALERTS: tuple[Any, ...] = ()
    #: By code: whether a condition is on, or its severity and thresholds.
    CONDITIONS: Mapping[str, Any] = field(default_factory=dict)
    #: The address that hears once a minute that a scheduler works.
    HEARTBEAT_URL: str = ""
    #: Host names, addresses and networks that outgoing requests may reach although they are not
    #: public.
    OUTGOING_ALLOW: tuple[str, ...] = ()


def load() -> AppSettings:
    """Read ``SCHEDULED_TASKS`` from the settings. Raise InvalidSettings with all that is wrong."""
    given = getattr(settings, "SCHEDULED_TASKS", {})
    if not isinstance(given, dict):
        raise InvalidSettings("SCHEDULED_TASKS must be a dictionary.")
    known = AppSettings()
    defaults = {each.name: getattr(known, each.name) for each in fields(AppSettings)}
    options: dict[str, Any] = {}
    with all_mistakes() as mistakes:
        for key, value in given.items():
            with mistakes.collected():
                if key not in defaults:
                    raise unknown("SCHEDULED_TASKS", "key", key, defaults)
                options[key] = checked(key, value, defaults[key])
        loaded = AppSettings(**options)
        if not mistakes.sentences:  # a length of time that is wrong has its default here
            with mistakes.collected():
                refuse_short_lease(loaded)
        check_contents(loaded, mistakes)
    return loaded


def check_contents(loaded: AppSettings, mistakes: Mistakes) -> None:
    """Check the texts whose form matters."""
    checks: list[tuple[Callable[[str], object], Iterable[str]]] = [
        (refuse_incomplete, [loaded.BASE_URL]),
        (refuse_unusable_heartbeat, [loaded.HEARTBEAT_URL]),
        (refuse_unusable, loaded.REDACT),
        (host_or_network, loaded.OUTGOING_ALLOW),
    ]
    for check, texts in checks:
        for text in texts:
            with mistakes.collected():
                check(text)


def refuse_short_lease(loaded: AppSettings) -> None:
    """Raise InvalidSettings for a LEASE that is too short for the heartbeats."""
    if loaded.LEASE < MIN_BEATS_PER_LEASE * loaded.HEARTBEAT_INTERVAL:
        raise InvalidSettings(
            f"SCHEDULED_TASKS['LEASE'] is {loaded.LEASE:g} s, which must be at least "
            f"{MIN_BEATS_PER_LEASE} times HEARTBEAT_INTERVAL ({loaded.HEARTBEAT_INTERVAL:g} s): "
            "otherwise live workers may be taken for lost, and lost workers never noticed."
        )


def refuse_incomplete(address: str) -> None:
    """Raise InvalidSettings for a BASE_URL that links cannot begin with."""
    if address and not WEB_ADDRESS.fullmatch(address):
        raise InvalidSettings(
            "SCHEDULED_TASKS['BASE_URL'] must be the address of the project in a browser, such as "
            f"'https://shop.example', not {address!r}."
        )


def refuse_unusable(name: str) -> None:
    """Raise InvalidSettings for a name that cannot be part of one combined expression."""
    try:
        expression = re.compile(joined((name, name)))
    except re.error as error:
        raise InvalidSettings(
            f"SCHEDULED_TASKS['REDACT'] contains {name!r}, which cannot be combined with other "
            f"regular expressions: {error}. Flags are not allowed; case is ignored anyway."
        ) from None
    if expression.groupindex or re.search(r"\\[1-9]", name):
        raise InvalidSettings(
            f"SCHEDULED_TASKS['REDACT'] contains {name!r}, which refers to groups: use (?:…)."
        )
    # Names that are compared are short, so that a few repeats take no time whatever the text is.
    if REPEATED_GROUP.search(name) or len(REPEAT.findall(name)) > MAX_REPEATS:
        raise InvalidSettings(
            f"SCHEDULED_TASKS['REDACT'] contains {name!r}, which could take for ever: repeat "
            f"single characters or sets only, not groups, and at most {MAX_REPEATS} of them."
        )


def joined(names: tuple[str, ...]) -> str:
    """Combine expressions into one; without any, it matches nothing."""
    return "|".join(f"(?:{name})" for name in names) or r"(?!)"


def host_or_network(entry: str) -> str | Network:
    """Return the network, or else the host name, of an entry of OUTGOING_ALLOW.

    An address is a network with one address. Raise InvalidSettings.
    """
    try:
        return as_network(entry)
    except ValueError:
        pass
    try:
        return host_name(entry)
    except ValueError:
        raise InvalidSettings(
            f"SCHEDULED_TASKS['OUTGOING_ALLOW'] contains {entry!r}, which is not a host name, an "
            "address or a network, such as 'intranet.example', '10.0.0.5' or '10.0.0.0/8'."
        ) from None


def as_network(entry: str) -> Network:
    """Return the network. Raise ValueError if it is none, and InvalidSettings if it is inexact."""
    if "%" in entry:
        raise ValueError("an interface is not part of a network")
    network = ipaddress.ip_network(entry, strict=False)
    if str(network.network_address) != str(ipaddress.ip_address(entry.partition("/")[0])):
        raise InvalidSettings(
            f"SCHEDULED_TASKS['OUTGOING_ALLOW'] contains {entry!r}, which is an address within a "
            f"network: write {str(network)!r} for the network, or the address alone."
        )
    return network


def host_name(text: str) -> str:
    """Return a host name in lower case, without a final dot. Raise ValueError if it is none.

    A name in another script is written with ``xn--``. An address is not a name, in any spelling.
    """
    name = text.lower().removesuffix(".") if text.isascii() else ""
    if not HOST_NAME.fullmatch(name) or ENDS_WITH_NUMBER.fullmatch(name):
        raise ValueError(f"{text!r} is not a host name")
    return name


def refuse_unusable_heartbeat(url: str) -> None:
    """Raise InvalidSettings for the address of a service that cannot be told."""
    if url and not web_address_in(url):
        # Not quoted: such addresses are secrets.
        raise InvalidSettings(
            f"SCHEDULED_TASKS['HEARTBEAT_URL'] must be {HEARTBEAT_FORMS}.{meant_service(url)}"
        )


def meant_service(url: str) -> str:
    """Return a question with the beginning that was probably meant; "" if none is near."""
    before = url.partition("//")[0].lower().removesuffix("https:").removesuffix("http:")
    near = nearest(before.rstrip("+:"), HEARTBEAT_SERVICES)
    return f" Did you mean '{near[0]}+https://…'?" if near else ""


def web_address_in(heartbeat_url: str) -> str:
    """Return the address of a web server without the name of a service; "" if it is none."""
    if not (match := HEARTBEAT_URL.fullmatch(heartbeat_url)):
        return ""
    try:
        parts = urlsplit(match[1])
        return match[1] if parts.hostname and parts.port != 0 else ""
    except ValueError:  # the brackets of an address, or the port
        return ""


def checked(key: str, value: Any, default: Any) -> Any:
    match default:
        case bool():
            wanted, fits = "True or False", isinstance(value, bool)
        case int():
            least = 0 if key in MAY_BE_ZERO else 1
            wanted = f"a whole number from {least} to {MAX_NUMBER}"
            # Not isinstance(), which is true of True and False.
            fits = type(value) is int and least <= value <= MAX_NUMBER
        case float():
            wanted = f"a number above 0 and at most {MAX_NUMBER}"
            fits = type(value) in (int, float) and 0 < value <= MAX_NUMBER
        case str():
            wanted, fits = "text", isinstance(value, str)
        case dict():
            wanted, fits = "a dictionary", isinstance(value, dict)
        case _ if key in LISTS_OF_DICTIONARIES:
            wanted, fits = "a list of dictionaries", isinstance(value, (list, tuple))
            for number, each in enumerate(value if fits else ()):
                if not isinstance(each, dict):
                    where = f"SCHEDULED_TASKS[{key!r}][{number}]"
                    raise InvalidSettings(f"{where} must be a dictionary, not {each!r}.")
        case _:
            wanted = "a list of names"
            fits = isinstance(value, (list, tuple)) and all(isinstance(name, str) for name in value)
    if not fits:
        # Addresses and options of notifiers are secrets.
        secret = key in MAY_HOLD_SECRETS and value is not None
        said = type(value).__name__ if secret else repr(value)
        raise InvalidSettings(f"SCHEDULED_TASKS[{key!r}] must be {wanted}, not {said}.")
    return type(default)(value)


class LazyAppSettings:
    """The settings of this app, read when one is first used."""

    def __getattr__(self, name: str) -> Any:
        return getattr(cached_settings(), name)


@cache
def cached_settings() -> AppSettings:
    return load()


def reset(*, setting: str, **_: Any) -> None:
    """Read the setting again after a test has changed it."""
    if setting == "SCHEDULED_TASKS":
        cached_settings.cache_clear()


app_settings = cast(AppSettings, LazyAppSettings())
setting_changed.connect(reset, dispatch_uid="scheduled_tasks.conf")
