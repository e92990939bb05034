"""Conditions that come and go while workers start and stop: reported when they persist."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta

from scheduled_tasks.models.alert import Alert
from scheduled_tasks.monitoring.alerts.raising import Finding


class Confirmed:
    """Reports what at least two scans in a row, over ``seconds()``, have found.

    What has an open alert was confirmed before, perhaps by another worker.
    """

    def __init__(
        self,
        condition: str,
        find: Callable[..., Iterable[Finding] | None],
        *,
        seconds: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self.condition = condition
        self._find = find
        self._seconds = seconds
        #: When each finding was first made, of those that the last scan has made.
        self._since: Mapping[str, datetime] = {}

    def find(self, now: datetime, *, using: str) -> list[Finding] | None:
        """Return what is confirmed now, or None while that cannot be known."""
        found = self._find(now, using=using)
        before, self._since = self._since, {}
        if found is None:
            return None
        by_key = {each.key: each for each in found}
        self._since = {key: min(before.get(key, now), now) for key in by_key}
        seconds = timedelta(seconds=self._seconds())
        open_keys = self.open_keys(using=using) if by_key else set()
        return [
            each
            for key, each in by_key.items()
            if key in open_keys or (key in before and now - self._since[key] >= seconds)
        ]

    def open_keys(self, *, using: str) -> set[str | None]:
        alerts = Alert.objects.using(using).open().filter(condition=self.condition)
        return set(alerts.values_list("open_key", flat=True))
