"""Healthchecks, hosted or your own: https://healthchecks.io/docs/http_api/."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

from scheduled_tasks.exceptions import OutgoingError
from scheduled_tasks.monitoring.heartbeats.addresses import with_query
from scheduled_tasks.monitoring.heartbeats.dialects import Dialect, Event, Report, Request
from scheduled_tasks.monitoring.heartbeats.run_ids import run_id
from scheduled_tasks.outgoing.exchange import Response
from scheduled_tasks.runtime.wording import duration

#: What is added to the path of the address.
PATHS = {Event.START: "/start", Event.SUCCESS: "", Event.FAIL: "/fail"}
LOG = "/log"
TEST = b"This is a test, sent on request."
#: In bytes: what every installation keeps of a body, from its beginning; and the part of it that
#: says how the run ended, before the log.
MAX_BODY_LENGTH, MAX_HEAD_LENGTH = 10_000, 5_000
#: What the hosted service says, with status 200, when it has ignored a request.
NOT_FOUND, RATE_LIMITED = b"(not found)", b"(rate limited)"


class Healthchecks(Dialect):
    """Starts, successes and failures, each with the id of the run, ends with text and log."""

    takes_log = True

    def request(self, url: str, event: str, report: Report) -> Request:
        """Return a POST: a check can be set to ignore anything else."""
        pinged = below(url, PATHS[Event(event)])
        body = b"" if event == Event.START else body_of(report)
        return Request(with_query(pinged, rid=str(run_id(report.execution_id))), "POST", body)

    def sign_of_life(self, url: str) -> Request:
        """Return a success without a run."""
        return Request(url, "POST", b"")

    def test(self, url: str) -> Request:
        """Return an entry for the log of the check, which leaves its state as it is."""
        return Request(below(url, LOG), "POST", TEST)

    def check(self, response: Response) -> None:
        """Also notice what the hosted service ignores although it answers with 200."""
        super().check(response)
        if NOT_FOUND in response.body:
            raise OutgoingError("The service knows no such check.", permanent=True)
        if RATE_LIMITED in response.body:
            raise OutgoingError("The check was told too often within a minute.")


def below(url: str, path: str) -> str:
    """Return an address with something added to its path."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path=parts.path.rstrip("/") + path, fragment=""))


def body_of(report: Report) -> bytes:
    """Return how the run ended and why, and as much of the end of its log as there is room for."""
    took = "" if report.duration_ms is None else f", {duration(report.duration_ms / 1000)}"
    attempts = f", attempt {report.attempts}" if report.attempts > 1 else ""
    head = f"{report.status}, execution {report.execution_id}{attempts}{took}\n{report.text}"
    # What is cut within a character is not UTF-8, and would not be shown.
    said = head.rstrip().encode()[:MAX_HEAD_LENGTH].decode(errors="ignore").encode()
    room = MAX_BODY_LENGTH - len(said) - len(b"\n\n")
    log = report.log.encode()
    if len(log) > room:
        log = log[-room:].partition(b"\n")[2]
    return b"\n\n".join(part for part in (said, log) if part)
