"""The moment by which a request must have ended, whatever the server does."""

from __future__ import annotations

from time import monotonic  # the function: a handler may replace it in the module


class Deadline:
    """The end of a request's time."""

    def __init__(self, seconds: float) -> None:
        self._end = monotonic() + seconds

    def remaining(self) -> float:
        """Return the seconds that are left. Raise TimeoutError if none are."""
        left = self._end - monotonic()
        if left <= 0:
            raise TimeoutError
        return left
