"""What a scan of the invariants finds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Invariant(StrEnum):
    """The rules that are checked, by what breaks them. docs/health.md explains each."""

    NOT_FIRED = "not_fired"
    UNKNOWN_HANDLER = "unknown_handler"
    NO_NEXT_RUN = "no_next_run"
    STALE_LEASE = "stale_lease"
    SLOT_NOT_UNIQUE = "slot_not_unique"
    UNCLAIMABLE = "unclaimable"
    CLOCK_DIFFERS = "clock_differs"


@dataclass(frozen=True, slots=True)
class Violation:
    """One rule that is broken, by whom, and a sentence that says so.

    ``about`` stays the same while the violation lasts; the task, the worker and the execution are
    given where there is one.
    """

    code: Invariant
    about: str
    message: str
    task_id: int | None = None
    task_name: str = ""
    worker: str = ""
    execution_id: int | None = None

    @property
    def key(self) -> str:
        """The text that identifies it from one scan to the next."""
        return f"{self.code}:{self.about}"


def still_found(before: Sequence[Violation], after: Sequence[Violation]) -> list[Violation]:
    """Return the violations of a scan that an earlier scan has made, too."""
    known = {violation.key for violation in before}
    return [violation for violation in after if violation.key in known]
