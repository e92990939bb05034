"""Running one task manually: the run, its record and its output."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone

from example_project.shop.models import SalesReport
from scheduled_tasks import TaskContext, disable_task, register_task, scheduled_task
from scheduled_tasks.handlers.registry import HandlerRegistry
from scheduled_tasks.models import Execution, Task, Worker
from scheduled_tasks.operations.records import execution_record
from scheduled_tasks.signals import execution_finished
from scheduled_tasks.worker.scheduler import Scheduler
from tests.commands.conftest import Command
from tests.support.processes import manage

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def handlers(registry: HandlerRegistry) -> None:
    @scheduled_task(name="shop.cleanup", payload={"days": 7})
    def cleanup(*, days: int = 30) -> dict[str, int]:
        return {"days": days}

    @scheduled_task(name="shop.fail")
    def fail() -> None:
        raise ValueError("no luck\0")

    @scheduled_task(name="shop.exit")
    def leave() -> None:
        raise SystemExit(0)

    @scheduled_task(name="shop.interrupt")
    def interrupt() -> None:
        raise KeyboardInterrupt


def test_it_runs_here_and_is_on_record(command: Command) -> None:
    register_task("weekly", "shop.cleanup", "0 2 * * *", payload={"days": 3})
    ran = command("runtask", "weekly")
    execution = Execution.objects.get()
    assert ran.code == 0
    assert ran.out.startswith(f"weekly #{execution.pk}: success")
    assert '"days": 3' in ran.out
    assert (execution.status, execution.trigger) == ("success", "cli")
    assert execution.triggered_by.startswith("cli:")
    assert (execution.attempt, execution.slot) == (1, None)
    assert execution.worker_label.startswith("runtask ")
    assert not Worker.objects.exists(), "it is no worker"


def test_a_handler_names_its_task(command: Command) -> None:
    register_task("weekly", "shop.cleanup")
    for name in ("weekly", "cleanup", "shop.cleanup"):
        assert command("runtask", name).out.startswith("weekly #")


def test_a_task_only_in_code_is_synced_first(command: Command) -> None:
    assert '"days": 7' in command("runtask", "cleanup").out
    assert Task.objects.get(handler="shop.cleanup").origin == "code"


def test_several_tasks_of_one_handler_are_named(command: Command) -> None:
    register_task("a", "shop.cleanup")
    register_task("b", "shop.cleanup")
    ran = command("runtask", "cleanup")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == "Several tasks use the handler shop.cleanup: run one of a, b."


def test_a_handler_without_a_task_says_so(command: Command, registry: HandlerRegistry) -> None:
    registry._declared.clear()
    ran = command("runtask", "cleanup")
    assert ran.code == 1
    assert "No task uses the handler shop.cleanup" in ran.err


@pytest.mark.parametrize("name", ["clenup", "shop.cleanups", "CLEANUP"])
def test_an_unknown_name_is_answered_with_near_handlers(command: Command, name: str) -> None:
    ran = command("runtask", name)
    assert ran.code == 1
    assert f"No task is called {name!r}." in ran.err
    assert "Did you mean shop.cleanup" in ran.err
    assert not Execution.objects.exists()
    assert not Worker.objects.exists()


def test_an_unknown_name_suggests_similar_tasks(command: Command) -> None:
    register_task("cleanup-eu", "shop.cleanup")
    ran = command("runtask", "cleanup-e")
    assert "Did you mean cleanup-eu?" in ran.err
    assert "Did you mean shop.cleanup?" in ran.err


def test_a_name_like_nothing_lists_registered_handlers(command: Command) -> None:
    ran = command("runtask", "zzzzzz")
    assert "Registered: shop.cleanup, shop.exit, shop.fail, shop.interrupt." in ran.err
    assert ran.code == 1


@pytest.mark.parametrize("name", ["", "a\0b", "\udcff", "x" * 100_000, "../x", "'; --"])
@pytest.mark.parametrize("options", [[], ["--queue"]], ids=["here", "queued"])
def test_what_cannot_be_a_name_is_refused_too(
    command: Command, name: str, options: list[str]
) -> None:
    ran = command("runtask", name, *options)
    assert ran.code == 1
    assert "No task is called" in ran.err
    assert len(ran.err) < 2000
    assert not Execution.objects.exists()


def test_a_given_payload_replaces_the_tasks_own(command: Command) -> None:
    register_task("weekly", "shop.cleanup", payload={"days": 3})
    assert '"days": 30' in command("runtask", "weekly", "--payload", "{}").out
    assert '"days": 5' in command("runtask", "weekly", "--payload", '{"days": 5}').out
    assert Task.objects.get().payload == {"days": 3}


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        ("", "--payload is empty"),
        ("{", "is not JSON"),
        ("{'days': 3}", "is not JSON"),
        ("[" * 100_000, "is nested more than 100 levels deep"),
        ('{"days": ' + "9" * 10_000 + "}", "is not JSON"),
        ("[]", "must be a JSON object"),
        ("null", "must be a JSON object"),
        ("3", "must be a JSON object"),
        ('"days"', "must be a JSON object"),
        ('{"days": "x"}', "days"),
        ('{"days": null}', "days: may not be null"),
        ('{"days": NaN}', "days"),
        ('{"days": Infinity}', "days"),
        ('{"days": 3, "days": 4}', "--payload has the key 'days' twice; keep one."),
        ('{"dys": 3}', "did you mean days?"),
        ('{"days": {"$date": 1}}', "days"),
        ('{"days": "a\\u0000\\ud800"}', "days"),
        ('{"days": ' + "[" * 300 + "]" * 300 + "}", "nested more than 100 levels deep"),
        ('{"\\ud800": 1}', "must name its arguments with text"),
    ],
    ids=lambda value: value[:20],
)
@pytest.mark.parametrize("options", [[], ["--queue"]], ids=["here", "queued"])
def test_a_bad_payload_is_refused_and_nothing_saved(
    command: Command, payload: str, reason: str, options: list[str]
) -> None:
    register_task("weekly", "shop.cleanup")
    ran = command("runtask", "weekly", f"--payload={payload}", *options)
    assert (ran.code, ran.out) == (1, "")
    assert reason in ran.err
    assert len(ran.err) < 1000
    assert not Execution.objects.exists()
    assert not Worker.objects.exists()


@pytest.mark.any_database
@pytest.mark.parametrize("depth", [*range(900, 1000, 7), 995, 996, 997, 998, 999])
def test_a_payload_at_the_recursion_limit_is_refused(command: Command, depth: int) -> None:
    register_task("weekly", "shop.cleanup")
    ran = command("runtask", "weekly", "--payload", '{"days": ' + "[" * depth + "]" * depth + "}")
    assert ran.code == 1
    assert not Execution.objects.exists()


def test_a_failed_run_is_recorded_and_exits_1(command: Command) -> None:
    register_task("bad", "shop.fail")
    ran = command("runtask", "bad")
    execution = Execution.objects.get()
    assert ran.code == 1
    assert f"bad #{execution.pk}: failed" in ran.out
    assert ran.err.strip() == "ValueError: no luck\N{REPLACEMENT CHARACTER}"
    assert execution.status == "failed"
    assert Task.objects.get().state.consecutive_failures == 1


@pytest.mark.parametrize("handler", ["exit", "interrupt"])
def test_exiting_in_a_handler_only_ends_its_run(command: Command, handler: str) -> None:
    register_task("bad", f"shop.{handler}")
    assert command("runtask", "bad").code == 1
    assert Execution.objects.get().status == "failed"
    assert not Worker.objects.exists(), "it is no worker"


@pytest.mark.django_db(transaction=True)
def test_a_run_over_its_timeout_is_interrupted(command: Command) -> None:
    @scheduled_task(name="shop.dawdle", timeout=1)
    def dawdle(context: TaskContext) -> None:
        try:
            while True:
                time.sleep(0.01)
        finally:
            context.logger.info("cancelled=%s", context.cancelled)

    register_task("slow", "shop.dawdle", timeout=1)
    ran = command("runtask", "slow")
    execution = Execution.objects.get()
    assert ran.code == 1
    assert ran.err.strip() == execution.error == "Timed out after 1 s."
    assert (execution.status, execution.error_category) == ("failed", "timeout")
    assert execution.reason == ""
    assert execution.log_lines.get().message == "cancelled=True"
    assert "in dawdle" in execution.traceback


@pytest.mark.django_db(transaction=True)
def test_what_a_run_says_is_on_record(command: Command) -> None:
    @scheduled_task(name="shop.tell")
    def tell(context: TaskContext) -> None:
        context.logger.warning("half way")
        context.progress(1, 2, "half")
        context.record(processed=5, errors=1)
        context.checkpoint = {"at": 5}

    register_task("tell", "shop.tell")
    assert command("runtask", "tell").code == 0
    execution = Execution.objects.get()
    assert execution.log_lines.get().message == "half way"
    assert execution.progress == {"done": 1, "total": 2, "text": "half"}
    assert (execution.processed_count, execution.error_count) == (5, 1)
    assert execution.checkpoint == {"at": 5}


def test_json_is_all_that_is_printed(command: Command) -> None:
    register_task("weekly", "shop.cleanup")
    record = json.loads(command("runtask", "weekly", "--json").out)
    assert record == execution_record(Execution.objects.get())
    assert (record["taskName"], record["status"], record["result"]) == (
        "weekly",
        "success",
        {"days": 30},
    )
    register_task("bad", "shop.fail")
    ran = command("runtask", "bad", "--json")
    assert ran.code == 1
    assert json.loads(ran.out)["errorCategory"] == "logic"


def test_a_queued_run_is_left_to_a_worker(command: Command) -> None:
    register_task("weekly", "shop.cleanup", queue="slow")
    ran = command("runtask", "weekly", "--queue", "--payload", '{"days": 1}')
    execution = Execution.objects.get()
    assert (ran.code, ran.out) == (0, f"weekly #{execution.pk}: queued\n")
    assert (execution.status, execution.queue, execution.payload) == ("queued", "slow", {"days": 1})
    assert not Worker.objects.exists()


def test_running_a_disabled_task_leaves_its_clock_alone(command: Command) -> None:
    register_task("weekly", "shop.cleanup", "0 2 * * *")
    disable_task("weekly")
    assert command("runtask", "weekly").code == 0
    assert Task.objects.get().state.next_run_at is None


def test_a_task_whose_handler_is_gone_is_refused(command: Command) -> None:
    register_task("weekly", "shop.cleanup")
    Task.objects.update(handler="shop.clenup")
    ran = command("runtask", "weekly")
    assert ran.code == 1
    assert "Did you mean shop.cleanup" in ran.err
    assert not Execution.objects.exists()


def test_the_end_is_announced_once_it_is_written(
    command: Command, django_capture_on_commit_callbacks: Any
) -> None:
    heard: list[str] = []

    def listen(execution: Execution, **_: Any) -> None:
        heard.append(Execution.objects.get(pk=execution.pk).status)

    execution_finished.connect(listen)
    try:
        register_task("weekly", "shop.cleanup")
        with django_capture_on_commit_callbacks(execute=True):
            command("runtask", "weekly")
    finally:
        execution_finished.disconnect(listen)
    assert heard == ["success"]


@pytest.mark.parametrize("arguments", [[], ["a", "b"], ["a", "--nonsense"], ["a", "--payload"]])
def test_wrong_options_are_refused(command: Command, arguments: list[str]) -> None:
    ran = command("runtask", *arguments)
    assert ran.code != 0
    assert ran.err.startswith("Error: ")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("how", ["autocommit", "atomic", "broken", "closed"])
def test_the_end_is_written_whatever_the_connections_state(command: Command, how: str) -> None:
    @scheduled_task(name="shop.rude")
    def rude() -> None:
        match how:
            case "autocommit":
                transaction.set_autocommit(False)
                SalesReport.objects.create(until=NOON, orders=1, revenue=1)
            case "atomic":
                transaction.atomic().__enter__()
                SalesReport.objects.create(until=NOON, orders=1, revenue=1)
            case "broken":
                connection.ensure_connection()
                connection.connection.close()
            case "closed":
                connection.close()

    register_task("rude", "shop.rude")
    assert command("runtask", "rude").code == 0
    assert Execution.objects.get().status == "success"
    assert not SalesReport.objects.exists()
    assert connection.get_autocommit()


@pytest.mark.django_db(transaction=True)
def test_nobody_else_claims_what_it_runs(
    command: Command, scheduler: Callable[..., Scheduler]
) -> None:
    @scheduled_task(name="shop.look")
    def look() -> int:
        return scheduler().tick(timezone.now()).claimed

    register_task("look", "shop.look")
    assert command("runtask", "look").out.rstrip().endswith("0")


@pytest.mark.any_database
@pytest.mark.django_db(transaction=True)
def test_from_the_command_line_there_is_no_traceback() -> None:
    processes = {
        "unknown": manage("runtask", "hodl"),
        "payload": manage("runtask", "hold", "--payload", '{"x": 1}'),
    }
    printed = {name: process.communicate(timeout=60)[0] for name, process in processes.items()}
    assert {process.returncode for process in processes.values()} == {1}
    assert "CommandError: No task is called 'hodl'." in printed["unknown"]
    assert "jobs.hold" in printed["unknown"]
    assert "CommandError: x: unknown argument" in printed["payload"]
    assert "Traceback" not in "".join(printed.values())
    assert not Execution.objects.exists()


@pytest.mark.parametrize("error", [KeyError, OSError])
def test_a_user_without_a_name_can_run_tasks(
    command: Command, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    def nobody() -> str:
        raise error

    monkeypatch.setattr("getpass.getuser", nobody)
    register_task("weekly", "shop.cleanup")
    assert command("runtask", "weekly").code == 0
    assert Execution.objects.get().triggered_by == "cli:unknown"
