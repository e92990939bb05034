"""Whether a failed execution is retried, and after which delay."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeGuard

from scheduled_tasks.exceptions import InvalidTask
from scheduled_tasks.runtime.sanitizing import safe_repr

#: The number of retries for ``retry=True``.
DEFAULT_RETRIES = 5
#: The largest integer that every database can store.
MAX_INTEGER = 2**31 - 1
#: With a larger backoff, every delay but the first would be max_delay.
MAX_BACKOFF = 1000
#: Error categories that a retry cannot fix.
NEVER_RETRIED = ("payload", "permanent")
#: Each delay is lengthened by up to this fraction, so that retries do not coincide.
JITTER = 0.1
SECOND = timedelta(seconds=1)

ErrorClasses = tuple[type[BaseException], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """How often a failed execution is retried, after which delay, and for which exceptions.

    The delay after the n-th failure is ``min(delay * backoff ** (n - 1), max_delay)``, plus up to a
    tenth; both are seconds, or timedeltas of whole seconds. If ``retry_on`` is given, only these
    exception classes are retried. Those in ``give_up_on`` are never retried, and take precedence.
    Raise InvalidTask, by field, for values out of range.
    """

    max_retries: int = DEFAULT_RETRIES
    delay: int | timedelta = 1
    backoff: float = 2.0
    max_delay: int | timedelta = 3600
    retry_on: ErrorClasses = ()
    give_up_on: ErrorClasses = ()

    def __post_init__(self) -> None:
        errors: dict[str, list[str]] = {}
        if not is_count(self.max_retries):
            errors["max_retries"] = [f"must be a whole number from 0 to {MAX_INTEGER}."]
        for name in ("delay", "max_delay"):
            if not is_count(whole_seconds(getattr(self, name))):
                errors[name] = [f"must be a whole number of seconds from 0 to {MAX_INTEGER}."]
        if not isinstance(self.backoff, (int, float)) or not 1 <= self.backoff <= MAX_BACKOFF:
            errors["backoff"] = [f"must be a number from 1 to {MAX_BACKOFF}."]
        for name in ("retry_on", "give_up_on"):
            classes = getattr(self, name)
            if not isinstance(classes, tuple) or not all(map(is_error_class, classes)):
                errors[name] = ["must be a tuple of exception classes."]
        if errors:
            raise InvalidTask(errors)

    def allows(self, error: BaseException) -> bool:
        """Whether an execution that failed with this exception may be retried."""
        if isinstance(error, self.give_up_on):
            return False
        return not self.retry_on or isinstance(error, self.retry_on)

    def wait(self, failures: int, *, key: str = "") -> timedelta | None:
        """Return the delay after this number of failures, None if there is no further retry.

        The fraction that is added depends on ``key`` only.
        """
        if failures > self.max_retries:
            return None
        delay, longest = whole_seconds(self.delay), whole_seconds(self.max_delay)
        try:
            nominal = min(delay * float(self.backoff) ** (failures - 1), longest)
        except OverflowError:
            # Many retries with a large backoff exceed what a float can hold.
            nominal = longest
        return timedelta(seconds=nominal * (1 + JITTER * fraction(key)))


def is_count(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_INTEGER


def whole_seconds(value: Any) -> Any:
    """Return the seconds of a timedelta without a fraction; anything else as it is."""
    is_whole = isinstance(value, timedelta) and not value % SECOND
    return value // SECOND if is_whole else value


def is_error_class(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, BaseException)


def retry_of(value: object) -> Retry:
    """Return the Retry for a value of ``retry=``. Raise InvalidTask for any other type."""
    match value:
        case Retry():
            return value
        case bool():
            # Before int, which bool is a subclass of.
            return Retry(max_retries=DEFAULT_RETRIES if value else 0)
        case int():
            return Retry(max_retries=value)
    shown = safe_repr(value, limit=100)
    raise InvalidTask({"retry": [f"must be True, a number of retries or a Retry, not {shown}."]})


def fraction(key: str) -> float:
    """Return a number from 0 to 1 that is the same for the same key on every machine."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:4]) / 2**32
