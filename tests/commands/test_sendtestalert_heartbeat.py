"""A test of the heartbeat URLs of a task and of the scheduler, from the command line."""

from __future__ import annotations

from typing import Any

import pytest

from scheduled_tasks.models import Task
from tests.commands.conftest import Command
from tests.support.receivers import ALLOWED, CLOSED_PORT, HttpReceiver, http_receiver

#: The checks of Django 6.1 ask the database whether it supports JSON.
pytestmark = [pytest.mark.django_db, pytest.mark.any_database]


@pytest.fixture(autouse=True)
def allowed(settings: Any) -> None:
    settings.SCHEDULED_TASKS = ALLOWED


def backup(heartbeat_url: str) -> None:
    Task.objects.bulk_create([Task(name="backup", heartbeat_url=heartbeat_url)])


def sent(receiver: HttpReceiver) -> list[tuple[str, str]]:
    return [(request.method, request.path) for request in receiver.requests]


def test_healthchecks_writes_it_into_its_log(command: Command) -> None:
    with http_receiver() as receiver:
        backup(f"healthchecks+{receiver.url}/ping/secret/?create=1")
        ran = command("sendtestalert", "--heartbeat", "backup")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith(f"{receiver.url} has accepted a test for the task 'backup'.")
    assert "secret" not in ran.out
    assert sent(receiver) == [("POST", "/ping/secret/log?create=1")]
    assert receiver.requests[0].body == b"This is a test, sent on request."


@pytest.mark.parametrize("service", ["", "cronitor+"])
def test_others_are_only_connected_to(command: Command, service: str) -> None:
    with http_receiver() as receiver:
        backup(f"{service}{receiver.url}/p/secret")
        ran = command("sendtestalert", "--heartbeat", "backup")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith(f"{receiver.url} can be reached. Nothing was sent: ")
    assert sent(receiver) == []


@pytest.mark.parametrize(
    ("service", "port", "said"),
    [
        ("healthchecks+", None, "The service answered with status 404."),
        ("", CLOSED_PORT, f"The connection to http://127.0.0.1:{CLOSED_PORT} failed: "),
    ],
)
def test_a_failure_has_a_reason(
    command: Command, service: str, port: int | None, said: str
) -> None:
    with http_receiver(404) as receiver:
        backup(f"{service}{f'http://127.0.0.1:{port}' if port else receiver.url}/secret")
        ran = command("sendtestalert", "--heartbeat", "backup")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith(f"The heartbeat of the task 'backup' failed: {said}")
    assert "secret" not in ran.err


def test_a_task_without_an_address(command: Command) -> None:
    backup("")
    ran = command("sendtestalert", "--heartbeat", "backup")
    assert ran.err == "The heartbeat of the task 'backup' failed: It has no heartbeat_url."
    assert "Did you mean backup?" in command("sendtestalert", "--heartbeat", "bakup").err


def test_without_a_task_the_scheduler_is_tested(command: Command, settings: Any) -> None:
    with http_receiver() as receiver:
        settings.SCHEDULED_TASKS = {**ALLOWED, "HEARTBEAT_URL": f"healthchecks+{receiver.url}/x"}
        ran = command("sendtestalert", "--heartbeat")
        settings.SCHEDULED_TASKS = {**ALLOWED, "HEARTBEAT_URL": f"{receiver.url}/x"}
        plain = command("sendtestalert", "--heartbeat")
    assert (ran.code, ran.err) == (plain.code, plain.err) == (0, "")
    assert ran.out.startswith(f"{receiver.url} has accepted a test for the scheduler.")
    assert plain.out.startswith(f"{receiver.url} can be reached. Nothing was sent: ")
    assert sent(receiver) == [("POST", "/x/log")]


def test_a_scheduler_without_an_address(command: Command) -> None:
    ran = command("sendtestalert", "--heartbeat")
    assert ran.code == 1
    assert ran.err == (
        "The heartbeat of the scheduler failed: SCHEDULED_TASKS['HEARTBEAT_URL'] is not set: give "
        "it the address of a check."
    )
