"""Cronitor: https://cronitor.io/docs/telemetry-api."""

from __future__ import annotations

from scheduled_tasks.monitoring.heartbeats.addresses import with_query
from scheduled_tasks.monitoring.heartbeats.dialects import Dialect, Event, Report, Request

STATES = {Event.START: "run", Event.SUCCESS: "complete", Event.FAIL: "fail"}
#: In characters. The service takes 2,000, but an address that is too long is refused on its way.
MAX_MESSAGE_LENGTH = 500


class Cronitor(Dialect):
    """Runs, completions and failures; the execution is the series, which ties them together."""

    def request(self, url: str, event: str, report: Report) -> Request:
        """Return a GET with all that is said in its query."""
        said = {"state": STATES[Event(event)], "series": str(report.execution_id)}
        if report.status:
            message = ": ".join(filter(None, (report.status, report.text)))
            said["message"] = message[:MAX_MESSAGE_LENGTH]
        if report.duration_ms is not None:
            said["metric"] = f"duration:{report.duration_ms / 1000:g}"
        return Request(with_query(url, **said))
