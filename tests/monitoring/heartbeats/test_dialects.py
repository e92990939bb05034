"""Which requests the services understand."""

from __future__ import annotations

from typing import Any

import pytest

from scheduled_tasks.monitoring.heartbeats.cronitor import MAX_MESSAGE_LENGTH, Cronitor
from scheduled_tasks.monitoring.heartbeats.dialects import Report, Request
from scheduled_tasks.monitoring.heartbeats.healthchecks import MAX_BODY_LENGTH, Healthchecks
from scheduled_tasks.monitoring.heartbeats.plain import Plain
from scheduled_tasks.monitoring.heartbeats.run_ids import run_id
from scheduled_tasks.monitoring.heartbeats.services import addressed, is_told

HEALTHCHECKS, CRONITOR = Healthchecks(), Cronitor()
RUN = run_id(42)


@pytest.mark.parametrize(
    ("target", "dialect", "url"),
    [
        ("https://hc-ping.com/uuid", Healthchecks, "https://hc-ping.com/uuid"),
        ("https://HC-Ping.com:443/uuid", Healthchecks, "https://HC-Ping.com:443/uuid"),
        ("https://hchk.io/uuid", Healthchecks, "https://hchk.io/uuid"),
        ("healthchecks+http://checks.intern/p/u", Healthchecks, "http://checks.intern/p/u"),
        ("https://cronitor.link/p/key/job", Cronitor, "https://cronitor.link/p/key/job"),
        ("cronitor+https://proxy.intern/p/k", Cronitor, "https://proxy.intern/p/k"),
        ("https://hc-ping.com.example/uuid", Plain, "https://hc-ping.com.example/uuid"),
        ("https://uptime.intern/push/a+b", Plain, "https://uptime.intern/push/a+b"),
    ],
)
def test_the_address_tells_the_dialect(target: str, dialect: type, url: str) -> None:
    found, without_prefix = addressed(target)
    assert (type(found), without_prefix) == (dialect, url)


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("", []),
        ("https://uptime.intern/push/x", ["success"]),
        ("https://hc-ping.com/uuid", ["start", "success", "fail"]),
        ("https://cronitor.link/p/key/job", ["start", "success", "fail"]),
    ],
)
def test_services_are_told_what_they_can_use(target: str, told: list[str]) -> None:
    assert [event for event in ("start", "success", "fail") if is_told(target, event)] == told


@pytest.mark.parametrize(
    ("url", "event", "requested"),
    [
        ("https://h/uuid", "start", f"https://h/uuid/start?rid={RUN}"),
        ("https://h/uuid", "success", f"https://h/uuid?rid={RUN}"),
        ("https://h/uuid/", "fail", f"https://h/uuid/fail?rid={RUN}"),
        ("https://h/key/slug?create=1", "fail", f"https://h/key/slug/fail?create=1&rid={RUN}"),
        ("https://h/uuid#part", "start", f"https://h/uuid/start?rid={RUN}"),
    ],
)
def test_healthchecks_hears_the_event_in_the_path(url: str, event: str, requested: str) -> None:
    request = HEALTHCHECKS.request(url, event, Report(execution_id=42))
    assert (request.method, request.url) == ("POST", requested)


def test_a_start_has_no_text() -> None:
    assert HEALTHCHECKS.request("https://h/u", "start", Report(execution_id=42)).body == b""


def test_ends_say_why_and_show_the_log() -> None:
    report = ended(attempts=3, text="ValueError: boom", log="12:00:00 INFO a\n12:00:01 INFO b")
    assert said(report) == (
        "failed, execution 42, attempt 3, 1.5 s\nValueError: boom\n\n"
        "12:00:00 INFO a\n12:00:01 INFO b"
    )
    assert said(ended(status="success", duration_ms=None)) == "success, execution 42"


def test_a_body_stays_within_what_is_kept() -> None:
    """Healthchecks keeps its beginning, so the beginning of the log has to go."""
    lines = [f"12:00:00 INFO ä {number}" for number in range(2_000)]
    body = HEALTHCHECKS.request("u", "fail", ended(text="ä" * 4_000, log="\n".join(lines))).body
    assert body is not None
    head, _, log = body.decode().partition("\n\n")
    assert MAX_BODY_LENGTH - 30 < len(body) <= MAX_BODY_LENGTH
    assert head.startswith("failed, execution 42")
    assert 2_000 < head.count("ä") < 2_500
    assert log.splitlines() == lines[-len(log.splitlines()) :]


@pytest.mark.parametrize(
    ("event", "report", "query"),
    [
        ("start", {}, "state=run&series=42"),
        (
            "success",
            {"status": "success", "duration_ms": 1500},
            "state=complete&series=42&message=success&metric=duration%3A1.5",
        ),
        (
            "fail",
            {"status": "failed", "text": "a&b\nc"},
            "state=fail&series=42&message=failed%3A+a%26b%0Ac",
        ),
    ],
)
def test_cronitor_hears_the_event_in_the_query(
    event: str, report: dict[str, Any], query: str
) -> None:
    report = Report(execution_id=42, **report)
    assert CRONITOR.request("https://c/p/k/job", event, report) == Request(
        f"https://c/p/k/job?{query}"
    )
    request = CRONITOR.request("https://c/p/k/job?env=eu", event, report)
    assert request.url == f"https://c/p/k/job?env=eu&{query}"


def test_messages_to_cronitor_are_short() -> None:
    url = CRONITOR.request("https://c/j", "fail", ended(text="x" * 10_000)).url
    assert len(url) < MAX_MESSAGE_LENGTH + 100


def test_a_plain_address_is_read_as_it_is() -> None:
    assert Plain().request("https://u/x?y=1", "success", ended()) == Request("https://u/x?y=1")


@pytest.mark.parametrize(
    ("target", "request_"),
    [
        ("https://hc-ping.com/uuid", Request("https://hc-ping.com/uuid", "POST", b"")),
        ("https://cronitor.link/p/k/j", Request("https://cronitor.link/p/k/j")),
        ("https://uptime.intern/push/x", Request("https://uptime.intern/push/x")),
    ],
)
def test_a_sign_of_life_concerns_no_run(target: str, request_: Request) -> None:
    dialect, url = addressed(target)
    assert dialect.sign_of_life(url) == request_


def test_a_run_has_one_id_in_each_environment() -> None:
    assert run_id(42) == RUN
    assert len({run_id(42), run_id(43), run_id(42, environment="staging")}) == 3


def ended(status: str = "failed", **fields: Any) -> Report:
    known = {"attempts": 1, "duration_ms": 1500}
    return Report(execution_id=42, status=status, **{**known, **fields})


def said(report: Report) -> str:
    body = HEALTHCHECKS.request("https://h/u", "fail", report).body
    assert body is not None
    return body.decode()
