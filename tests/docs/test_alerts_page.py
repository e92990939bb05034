"""What docs/alerts.md shows is true."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from io import StringIO
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from django.core import mail
from django.core.management import call_command
from django.test import RequestFactory

from scheduled_tasks.conf import AppSettings
from scheduled_tasks.handlers.registry import HandlerRegistry
from scheduled_tasks.models import Task
from scheduled_tasks.monitoring.alerts.condition_settings import DEFAULTS, condition_settings
from scheduled_tasks.monitoring.alerts.routing import routes
from scheduled_tasks.monitoring.alerts.rules import READERS, rules
from scheduled_tasks.monitoring.notifiers import WebhookNotifier
from scheduled_tasks.monitoring.notifiers.loading import load_notifiers
from scheduled_tasks.operations.alerts import send_test_alert
from scheduled_tasks.runtime.conditions import Condition
from tests.support.notifications import make_notification
from tests.support.receivers import ALLOWED, http_receiver

PAGE = (Path(__file__).parents[2] / "docs/alerts.md").read_text()
PYTHON = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
SECRET = "correct horse"
SIGNATURE = "X-Scheduled-Tasks-Signature"


def example(*containing: str) -> str:
    [found] = [code for code in PYTHON if all(text in code for text in containing)]
    return found


@pytest.fixture(autouse=True)
def shop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the modules of the page, in the environment that its settings read."""
    monkeypatch.setenv("WEBHOOK_SECRET", SECRET)
    monkeypatch.setenv("SLACK_URL", f"slack://T{'1' * 8}/A{'1' * 8}/{'c' * 24}/#ops")
    monkeypatch.setenv("PAGERDUTY_URL", "pagerduty://integration@token")
    monkeypatch.setitem(sys.modules, "shop", ModuleType("shop"))
    for name, mark in {"alerts": "# shop/alerts.py", "notifiers": "# shop/notifiers.py"}.items():
        module = ModuleType(f"shop.{name}")
        exec(example(mark), vars(module))
        monkeypatch.setitem(sys.modules, f"shop.{name}", module)


def use(settings: Any, *containing: str) -> None:
    """Use the settings of one example."""
    names: dict[str, Any] = {"os": os}
    exec(example("SCHEDULED_TASKS", *containing), names)
    settings.SCHEDULED_TASKS = names["SCHEDULED_TASKS"]


def test_every_example_of_settings_can_be_used(settings: Any) -> None:
    shown = {}
    for code in PYTHON:
        if "SCHEDULED_TASKS" in code:
            use(settings, code)
            shown |= {name: str(notifier) for name, notifier in load_notifiers().items()}
    assert shown == {
        "ops": "ops@shop.example",
        "tidy": "back-office@shop.example",
        "hook": "https://hooks.shop.example",
        "chat": "Slack",
        "pager": "Pager Duty",
        "shop": "shop.alerts.receive",
        "file": "/var/log/shop/alerts.log",
    }


def test_the_mail_and_the_body_that_are_shown() -> None:
    notification = make_notification()
    assert f"Subject: {notification.title()}\n\n{notification.text()}\n" in PAGE
    [body] = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    assert json.loads(body) == notification.as_json()


def test_the_function_logs_what_it_gets(settings: Any, caplog: pytest.LogCaptureFixture) -> None:
    use(settings, "shop.alerts.receive")
    load_notifiers()["shop"].send(make_notification())
    assert "[error] nightly-report failed" in caplog.text


def test_a_notifier_of_ones_own(settings: Any, tmp_path: Path) -> None:
    use(settings, "FileNotifier")
    path = tmp_path / "alerts.log"
    for options, code in (({"path": "alerts.log"}, "absolute"), ({"path": 7}, "TypeError")):
        broken = {"file": {"BACKEND": "shop.notifiers.FileNotifier", "OPTIONS": options}}
        settings.SCHEDULED_TASKS = {"NOTIFIERS": broken}
        with pytest.raises(Exception, match=code):
            load_notifiers()
    working = {"file": {"BACKEND": "shop.notifiers.FileNotifier", "OPTIONS": {"path": str(path)}}}
    settings.SCHEDULED_TASKS = {"NOTIFIERS": working}
    send_test_alert("file")
    assert path.read_text().startswith("[info] test of the notifier file: ")


@pytest.fixture
def receiving(settings: Any) -> dict[str, Any]:
    """Return the names of the code for receivers."""
    settings.WEBHOOK_SECRET = SECRET
    settings.SCHEDULED_TASKS = ALLOWED
    names: dict[str, Any] = {}
    exec(example("def is_genuine") + example("def alerts"), names)
    return names


def sent() -> tuple[str, bytes]:
    """Return the signature and the body of a webhook that was really sent."""
    with http_receiver() as receiver:
        WebhookNotifier(url=receiver.url, secret=SECRET).send(make_notification())
    [request] = receiver.requests
    return request.headers[SIGNATURE.lower()], request.body


def test_a_receiver_knows_what_is_genuine(receiving: dict[str, Any]) -> None:
    is_genuine = receiving["is_genuine"]
    header, body = sent()
    assert is_genuine(header, body, secret=SECRET)
    assert not is_genuine(header, body + b" ", secret=SECRET)
    assert not is_genuine(header, body, secret="other")
    assert not is_genuine(header.replace("t=", "t=1"), body, secret=SECRET)
    for nonsense in ("", "t=,v1=", "t=1", f"{header},v1=", f"t={'9' * 5000},v1={'a' * 64}"):
        assert not is_genuine(nonsense, body, secret=SECRET)


def test_a_receiver_refuses_what_is_old(
    receiving: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    header, body = sent()
    now = time.time()
    for seconds, genuine in ((290, True), (310, False), (-310, False)):
        monkeypatch.setattr(time, "time", lambda seconds=seconds: now + seconds)
        assert receiving["is_genuine"](header, body, secret=SECRET) is genuine


def test_the_view_takes_what_is_genuine_only(
    receiving: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    header, body = sent()
    for signature, status in ((header, 204), (header.replace("v1=", "v1=0")[:-1], 401), ("", 401)):
        request = RequestFactory().post(
            "/alerts", body, content_type="application/json", headers={SIGNATURE: signature}
        )
        assert receiving["alerts"](request).status_code == status
    assert capsys.readouterr().out == "raised failed nightly-report\n"


def test_the_output_of_the_command(settings: Any) -> None:
    use(settings, "BASE_URL")
    out = StringIO()
    call_command("sendtestalert", "ops", stdout=out)
    assert f"$ python manage.py sendtestalert ops\n{out.getvalue()}" in PAGE
    assert len(mail.outbox) == 2


def test_the_table_of_conditions_has_the_defaults() -> None:
    table = PAGE.partition("## Conditions")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| (yes)? ?\| `(\w+)` \|", table, re.MULTILINE)
    page = {code: (bool(on), severity) for code, on, severity in rows}
    assert page == {code: (known.on, known.severity) for code, known in DEFAULTS.items()}


def test_it_says_what_to_do_about_each_condition() -> None:
    table = PAGE.partition("### What to do about them")[2].partition("\n#")[0]
    cells = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|", table, re.MULTILINE)
    named = re.findall(r"`(\w+)`", " ".join(cells))
    reserved = set(re.findall(r"^\| `(\w+)` .* reserved for ", PAGE, re.MULTILINE))
    assert sorted(named) == sorted(set(DEFAULTS) - reserved - {Condition.SUCCESS})


def test_the_thresholds_in_the_text_are_the_defaults() -> None:
    said = re.findall(r"`(alert_after_failures|workers|behind)` \((\d+)\)", PAGE)
    code = {
        name: value
        for known in DEFAULTS.values()
        for name, value in known.thresholds.items()
        if value is not None
    }
    assert {name: int(number) for name, number in said} == code


def test_the_rules_of_the_page_have_every_key() -> None:
    table = PAGE.partition("## Who is told")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == set(READERS)


def test_its_conditions_and_rules_are_valid(settings: Any) -> None:
    for mark in ('"CONDITIONS"', '"quiet_hours"'):
        use(settings, mark)
        condition_settings()
        rules()
    to_critical = [route.notifier for route in routes("worker_lost", "critical", None)]
    assert to_critical == ["pager", "ops"]
    assert [route.notifier for route in routes("failed", "error", Task(name="x"))] == ["ops"]


def test_rules_send_one_message_for_one_failure(settings: Any) -> None:
    use(settings, "ON_CALL")
    task = Task(name="x")
    for condition, notifier in (("failed", "ops"), ("dead_letter", "tidy")):
        assert [route.notifier for route in routes(condition, "error", task)] == [notifier]
    named = set(example("ON_CALL").split('"')) & set(DEFAULTS)
    assert named >= {code for code, known in DEFAULTS.items() if known.on} - {"service_down"}


def test_the_interval_of_scans_is_the_default() -> None:
    assert f"`HEARTBEAT_INTERVAL` ({AppSettings().HEARTBEAT_INTERVAL:g} s)" in PAGE


def test_its_tasks_can_be_declared(registry: HandlerRegistry) -> None:
    names: dict[str, Any] = {"__name__": "shop.tasks"}
    exec(example("def nightly_report"), names)
    report, invoices = (each.policies for each in registry.declarations)
    assert report["max_runtime"] == 3600
    assert invoices["notify_on"] == ["failed", "missed", "parked", "success"]
