"""What a task refuses of its alerts and heartbeats, and what was meant."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import override_settings

from scheduled_tasks.exceptions import InvalidTask
from scheduled_tasks.models import Task

pytestmark = pytest.mark.without_database


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("notify_on", ["faild"], "There is no condition 'faild': did you mean 'failed'?"),
        ("notify_on", ["zzz"], "There is no condition 'zzz': use one of failed, dead_letter, "),
        ("notify_on", ["worker_lost"], "'worker_lost' is never about a task: the setting COND"),
        ("notify_on", "failed", "Enter a list of conditions."),
        ("severity", "eror", "'eror' is not a valid choice: did you mean 'error'?"),
        ("severity", "info", "'info' is not a valid choice: use one of warning, error, critical."),
        ("overlap_policy", "skipp", "'skipp' is not a valid choice: did you mean 'skip'?"),
        ("executor", "proces", "'proces' is not a valid choice: did you mean 'process'?"),
        ("heartbeat_url", "healthcheck:https://x.example/y", "mean 'healthchecks+https://…'?"),
        ("heartbeat_url", "Cronitor+https://x.example/y", "mean 'cronitor+https://…'?"),
        ("heartbeat_url", "ftp://x.example/y", "healthchecks+https:// or cronitor+https://."),
        ("heartbeat_url", "http://127.0.0.1/y", "http://127.0.0.1 is not a public address."),
        ("heartbeat_url", "healthchecks+https://[::1]/y", "https://[::1] is not a public address."),
        ("heartbeat_url", "http://0x7f.1/y", "'0x7f.1' is not a host that may be reached."),
    ],
)
def test_a_refusal_says_what_was_meant(field: str, value: Any, said: str) -> None:
    with pytest.raises(InvalidTask) as refused:
        Task(**{field: value}).validate_fields([field])
    assert said in str(refused.value)


def test_addresses_of_heartbeats_that_are_allowed() -> None:
    with override_settings(SCHEDULED_TASKS={"OUTGOING_ALLOW": ["10.0.0.0/8"]}):
        Task(heartbeat_url="http://10.1.2.3/x").validate_fields(["heartbeat_url"])
    # Its addresses are not known yet.
    Task(heartbeat_url="http://localhost/x").validate_fields(["heartbeat_url"])


@pytest.mark.parametrize(
    ("recipients", "named"),
    [
        (5, "5"),
        (0, "0"),
        ({"a": 1}, "{'a': 1}"),
        ("ops", "ops"),
        (["ada@shop.example", "ops", 7], "ops"),
        ([["ada@shop.example"]], "['ada@shop.example']"),
        ("a@b.example\x01", r"'a@b.example\x01'"),
        (["x" * 200], "x" * 100),
    ],
)
def test_recipients_that_are_no_addresses(recipients: Any, named: str) -> None:
    with pytest.raises(InvalidTask) as refused:
        Task(metadata={"recipients": recipients}).validate_fields(["metadata"])
    wanted = "an address, or a list of addresses, such as 'ops@shop.example'"
    said = f"The recipients must be {wanted}; {named} is not an address."
    assert refused.value.errors == {"metadata": [said]}


@pytest.mark.parametrize("recipients", ["", ", ", ["", "a@b.example"], ["a@b.example", " ;\n"]])
def test_recipients_that_are_empty_texts(recipients: Any) -> None:
    """An empty environment variable must not switch mails off unnoticed."""
    with pytest.raises(InvalidTask) as refused:
        Task(metadata={"recipients": recipients}).validate_fields(["metadata"])
    wanted = "an address, or a list of addresses, such as 'ops@shop.example'"
    said = f"The recipients must be {wanted}, not an empty text; for none, write []."
    assert refused.value.errors == {"metadata": [said]}


@pytest.mark.parametrize(
    "recipients", [None, [], "a@b.example, Ada <c@d.example>\n", ["a@b.example"]]
)
def test_recipients_that_may_be(recipients: Any) -> None:
    Task(metadata={"recipients": recipients}).validate_fields(["metadata"])


def test_each_unknown_condition_is_named_once() -> None:
    with pytest.raises(InvalidTask) as refused:
        Task(notify_on=["faild", "misssed", "faild", "failed"]).validate_fields(["notify_on"])
    assert len(refused.value.errors["notify_on"]) == 2


def test_conditions_that_need_a_threshold() -> None:
    listed = ["no_success", "not_started", "failed"]
    assert Task(notify_on=listed).errors_of_conditions() == {
        "notify_on": [
            "'not_started' needs start_within: set it for this task too, in seconds.",
            "'no_success' needs no_success_for: set it for this task too, in seconds.",
        ]
    }
    own = Task(notify_on=listed, start_within=60, no_success_for=3600)
    assert own.errors_of_conditions() == {}
    assert Task().errors_of_conditions() == {}


def test_the_threshold_of_the_settings_is_enough() -> None:
    conditions = {"no_success": {"no_success_for": 3600}}
    with override_settings(SCHEDULED_TASKS={"CONDITIONS": conditions}):
        assert Task(notify_on=["no_success"]).errors_of_conditions() == {}
