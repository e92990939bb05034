"""Which names say that their value is a secret."""

from __future__ import annotations

import re
from enum import Enum, auto
from functools import cache

from scheduled_tasks.conf import joined

#: Characters of a name that are compared, counted from its end.
MAX_NAME_LENGTH = 40
#: Names whose kind is remembered.
MAX_KNOWN_NAMES = 4_096
#: ``apiKey`` and ``APIKey`` are compared as ``api_Key`` and ``API_Key`` as well.
HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
#: What may follow a name without changing its meaning: ``password2``, ``password_confirmation``.
SUFFIX = re.compile(
    r"(?:[-_. ]?(?:v?\d{1,3}|confirm(?:ation)?|again|repeat|hash|value"
    r"|old|new|current|previous|plain|fallbacks?)"
    r"|[-_]?(?:text|string)|[-_](?:prod(?:uction)?|staging|test|dev|live)){1,2}\Z",
    re.IGNORECASE,
)
#: Names next to which a path is no secret but a shell's directory. ODBC has passwords there.
DIRECTORIES = frozenset({"PWD", "OLDPWD"})


class Kind(Enum):
    """What a name says about its value. That of a PLURAL name is no secret if it is a count."""

    PUBLIC = auto()
    SECRET = auto()
    PLURAL = auto()


class SecretNames:
    """The names that the REDACT setting describes by regular expressions for their ends."""

    def __init__(self, patterns: tuple[str, ...]) -> None:
        # They see nothing but the end of a name: what they cost does not depend on the text.
        lower = tuple(pattern for pattern in patterns if pattern == pattern.lower())
        others = tuple(pattern for pattern in patterns if pattern not in lower)
        # Compared with lower case: a search that ignores case is several times slower.
        self._lower = re.compile(rf"(?:{joined(lower)})\Z")
        self._others = re.compile(rf"(?:{joined(others)})\Z", re.IGNORECASE) if others else None
        self._known: dict[str, Kind] = {}

    def kind_of(self, name: str) -> Kind:
        """Return the kind of a name, as it stands next to its value."""
        name = name[-MAX_NAME_LENGTH:]
        kind = self._known.get(name)
        if kind is None:
            if len(self._known) >= MAX_KNOWN_NAMES:
                self._known.clear()
            kind = self._known[name] = self._find_kind(name.strip(" .-_"))
        return kind

    def _find_kind(self, name: str) -> Kind:
        if not any(map(str.isalpha, name.rpartition(" ")[2])):  # a date or a time, for example
            return Kind.PUBLIC
        if self._matches(name):
            return Kind.SECRET
        if (suffix := SUFFIX.search(name)) and self._matches(name[: suffix.start()]):
            return Kind.SECRET
        if name[-1:] in ("s", "S") and self._matches(name[:-1]):
            return Kind.PLURAL
        return Kind.PUBLIC

    def _matches(self, name: str) -> bool:
        forms = (name,) if name.islower() else (name, HUMP.sub("_", name))
        if any(self._lower.search(form.lower()) for form in forms):
            return True
        return self._others is not None and any(self._others.search(form) for form in forms)


@cache
def secret_names(patterns: tuple[str, ...]) -> SecretNames:
    """Return the names that these expressions describe."""
    return SecretNames(patterns)
