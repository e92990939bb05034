"""Test mode from the command line."""

from __future__ import annotations

import json

import pytest

from scheduled_tasks import TaskContext, register_task, scheduled_task
from scheduled_tasks.handlers.registry import HandlerRegistry
from scheduled_tasks.models import Execution, TaskState
from tests.commands.conftest import Command

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def task(registry: HandlerRegistry) -> None:
    @scheduled_task(name="jobs.play")
    def play(context: TaskContext, *, fails: bool = False) -> bool:
        if fails:
            raise ValueError("no luck")
        return context.test_mode

    register_task("play", "jobs.play", retry=1)


def test_test_mode_is_reported_to_handler_and_user(command: Command) -> None:
    ran = command("runtask", "play", "--test-mode", "--payload", '{"fails": false}')
    execution = Execution.objects.get()
    assert (ran.code, execution.test_mode, execution.result) == (0, True, True)
    assert ran.out.partition("\n")[0].endswith(" in test mode")
    assert TaskState.objects.get().execution_count == 0
    assert " in test mode" not in command("runtask", "play").out
    assert TaskState.objects.get().execution_count == 1


def test_a_failure_is_told_and_not_counted(command: Command) -> None:
    ran = command("runtask", "play", "--test-mode", "--payload", '{"fails": true}')
    assert (ran.code, Execution.objects.get().status) == (1, "failed")
    assert TaskState.objects.get().consecutive_failures == 0


@pytest.mark.parametrize("mode", [[], ["--test-mode"]])
@pytest.mark.parametrize("queue", [[], ["--queue"]])
def test_json_says_it(command: Command, queue: list[str], mode: list[str]) -> None:
    ran = command("runtask", "play", "--json", *queue, *mode)
    assert json.loads(ran.out)["testMode"] is bool(mode)
    assert Execution.objects.get().test_mode is bool(mode)
