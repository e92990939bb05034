"""A plain GET for each success, for whatever wants nothing else."""

from __future__ import annotations

from scheduled_tasks.monitoring.heartbeats.dialects import Dialect, Event, Report, Request


class Plain(Dialect):
    """Says only that a run has succeeded: the address has no way to say anything else."""

    events = (Event.SUCCESS,)

    def request(self, url: str, event: str, report: Report) -> Request:
        """Return a GET of the address as it is."""
        return Request(url)
