"""The scheduler as a command: options, queues and exit codes."""

from __future__ import annotations

import signal
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from scheduled_tasks import declare, register_task, run_task_now, scheduled_task
from scheduled_tasks.handlers.registry import HandlerRegistry
from scheduled_tasks.models import Execution, Task, TaskState, Worker
from tests.commands.conftest import Command
from tests.concurrency.runs import fresh, queue_a_run, wait_for_lines
from tests.support.processes import LONG, ended, manage, options, running, wait_until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.any_database]

LONG_AGO = datetime(2026, 3, 1, tzinfo=UTC)


def statuses() -> dict[str, str]:
    return dict(Execution.objects.values_list("task_name", "status"))


@pytest.fixture
def handlers(registry: HandlerRegistry, settings: Any) -> None:
    """Register handlers that only threads of this process have."""
    settings.SCHEDULED_TASKS = {**settings.SCHEDULED_TASKS, "EXECUTOR": "thread"}

    @scheduled_task(name="shop.cleanup")
    def cleanup() -> str:
        return "clean"

    @scheduled_task(name="shop.fail")
    def fail() -> None:
        raise ValueError


def make_due(name: str) -> None:
    TaskState.objects.filter(task__name=name).update(next_run_at=LONG_AGO)


@pytest.mark.usefixtures("handlers")
def test_once_fires_due_tasks_runs_queued_and_returns(command: Command) -> None:
    register_task("due", "shop.cleanup", f"at {LONG_AGO:%Y-%m-%d %H:%M}")
    register_task("later", "shop.cleanup", "every 1 hour")
    register_task("asked", "shop.fail")
    make_due("due")
    run_task_now("asked")
    assert command("runscheduler", "--once", "--no-sync").code == 0
    assert statuses() == {"due": "success", "asked": "failed"}
    assert Worker.objects.get().state == Worker.State.STOPPED


@pytest.mark.usefixtures("handlers")
def test_once_with_nothing_to_do_returns_at_once(command: Command) -> None:
    ran = command("runscheduler", "--once", "--no-sync")
    assert (ran.code, ran.out, ran.err) == (0, "", "")
    assert not Task.objects.exists()


@pytest.mark.usefixtures("handlers")
def test_it_syncs_first_unless_told_otherwise(command: Command) -> None:
    command("runscheduler", "--once")
    assert set(Task.objects.values_list("handler", flat=True)) == {"shop.cleanup", "shop.fail"}


@pytest.mark.usefixtures("handlers")
def test_queues_limit_what_it_claims(command: Command) -> None:
    for queue in ("default", "slow", "other"):
        register_task(queue, "shop.cleanup", queue=queue)
        run_task_now(queue)
    command("runscheduler", "--once", "--no-sync", "--queues", " slow, other,")
    assert statuses() == {"default": "queued", "slow": "success", "other": "success"}
    assert Worker.objects.get().queues == ["slow", "other"]


@pytest.mark.usefixtures("handlers")
def test_the_worker_row_records_the_options(command: Command) -> None:
    command("runscheduler", "--once", "--no-sync", "--concurrency=3", "--worker-name=blue")
    worker = Worker.objects.get()
    assert (str(worker), worker.concurrency) == ("blue", 3)
    assert worker.handlers == ["shop.cleanup", "shop.fail"]


@pytest.mark.parametrize(
    "options",
    [
        *([f"--concurrency={value}"] for value in ("0", "-1", "x", "", "1.5", "nan", "9" * 20)),
        *([f"--poll-interval={value}"] for value in ("0", "-1", "x", "nan", "inf", "1e300")),
        *([f"--shutdown-timeout={value}"] for value in ("-1", "-0.1", "x", "", "nan", "inf")),
        *([f"--max-executions={value}"] for value in ("0", "-1", "1.5", "x", "nan", "9" * 20)),
        *([f"--max-age={value}"] for value in ("0", "-1", "x", "nan", "inf", "1h")),
        *(["--queues", value] for value in ("", ",", " , ,", "a\udcff")),
        *(["--worker-name", value] for value in ("x" * 201, "a\udcff")),
        *(["--metrics-port", value] for value in ("0", "99999", "x", "http://localhost:9100")),
        ["--liveness-file="],
        ["--nonsense"],
        ["extra"],
    ],
    ids=lambda options: ascii(" ".join(options))[:30],
)
def test_options_out_of_range_are_refused_by_name(command: Command, options: list[str]) -> None:
    ran = command("runscheduler", "--once", *options)
    assert ran.code == 1
    assert ran.err.startswith("Error: ")
    assert options[0].partition("=")[0] in ran.err
    assert not Worker.objects.exists()


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize("limit", ["--max-age", "--max-executions"])
def test_a_reloading_worker_has_no_limits(command: Command, limit: str) -> None:
    ran = command("runscheduler", "--reload", f"{limit}=5")
    assert ran.code == 1
    assert f"--reload cannot be combined with {limit}: " in ran.err


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize("value", ["0", "0.0", "0.5", "1e9"])
def test_a_shutdown_timeout_may_be_nothing(command: Command, value: str) -> None:
    assert command("runscheduler", "--once", f"--shutdown-timeout={value}").code == 0


@pytest.mark.usefixtures("handlers")
def test_a_declaration_error_stops_it_before_it_starts(command: Command) -> None:
    declare("shop.clenup", name="a")
    ran = command("runscheduler", "--once")
    assert ran.code == 1
    assert "scheduled_tasks.E005" in ran.err
    assert not Worker.objects.exists()


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.long)]
)
def test_a_signal_stops_it_with_exit_code_0(number: signal.Signals) -> None:
    with running("--worker-name=blue") as process:
        process.send_signal(number)
        code, output = ended(process)
    assert code == 0, output
    assert Worker.objects.get().state == Worker.State.STOPPED
    assert "worker started label=blue" in output
    assert "worker stopped label=blue" in output


@pytest.mark.parametrize("executor", ["process", pytest.param("thread", marks=pytest.mark.long)])
def test_a_worn_worker_lets_its_runs_end(tmp_path: Path, executor: str) -> None:
    held = {"MARK_FILE": str(tmp_path / "marks"), "RELEASE_FILE": str(tmp_path / "release")}
    runs = [queue_a_run("hold", name=name) for name in ("first", "second", "third")]
    slow = {"TEST_OPTIONS": options(EXECUTOR=executor), **held}
    with running("--max-executions=2", "--shutdown-timeout=0", **slow) as process:
        wait_for_lines(held["MARK_FILE"], 2)
        wait_until(Worker.objects.filter(state="stopping").exists, within=LONG)
        assert process.poll() is None
        Path(held["RELEASE_FILE"]).touch()
        code, output = ended(process)
    assert code == 0, output
    assert "stops when its runs have ended: it has claimed 2 executions" in output
    assert [fresh(run).status for run in runs] == ["success", "success", "queued"]
    assert Worker.objects.get().state == Worker.State.STOPPED


def test_an_idle_worker_ends_at_its_age() -> None:
    with running("--max-age=0.5", "--poll-interval=600") as process:
        code, output = ended(process)
    assert code == 0, output
    assert "stops when its runs have ended: it is older than 0.5 s" in output


def test_a_worker_given_up_exits_with_1() -> None:
    with running() as process:
        Worker.objects.update(state=Worker.State.LOST)
        code, output = ended(process)
    assert code == 1
    assert "given up as lost" in output


def test_a_fork_server_that_cannot_load_exits_1() -> None:
    process = manage(
        "runscheduler", DJANGO_SETTINGS_MODULE="tests.support.settings_without_fork_server"
    )
    output, _ = process.communicate(timeout=LONG)
    assert process.returncode == 1
    assert "RuntimeError: this project cannot be loaded twice" in output
    assert "CommandError: The fork server could not load the project" in output


def test_bad_options_on_the_command_line_print_usage() -> None:
    process = manage("runscheduler", "--concurrency=0")
    output, _ = process.communicate(timeout=LONG)
    assert process.returncode == 2
    assert "argument --concurrency: must be above 0" in output
    assert "Traceback" not in output


@pytest.mark.usefixtures("handlers")
def test_the_longest_worker_name_fits_its_column(command: Command) -> None:
    assert command("runscheduler", "--once", "--no-sync", "--worker-name", "ü" * 200).code == 0
    assert Worker.objects.get().label == "ü" * 200
