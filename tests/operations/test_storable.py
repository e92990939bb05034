"""What no database can store is refused at every door, by field, and nothing is saved."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from fractions import Fraction
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from scheduled_tasks import (
    cancel_execution,
    change_task,
    declare,
    disable_task,
    get_task,
    lock,
    pause_task,
    register_task,
    requeue_execution,
    resolve_execution,
    run_task_now,
    scheduled_task,
    task_history,
    unregister_task,
)
from scheduled_tasks.exceptions import (
    InvalidName,
    InvalidPayload,
    InvalidTask,
    ScheduledTasksError,
    UnknownExecution,
    UnknownTask,
)
from scheduled_tasks.handlers.declarations import as_json
from scheduled_tasks.handlers.registry import HandlerRegistry
from scheduled_tasks.models import Execution, Pause, Task, TaskChange
from scheduled_tasks.models.storable import flaw_of_json
from scheduled_tasks.operations.executions import (
    cancel_executions,
    requeue_executions,
    resolve_executions,
)
from scheduled_tasks.operations.pauses import pause_all_tasks, resume_all_tasks
from scheduled_tasks.operations.sync import sync
from scheduled_tasks.operations.tasks import enable_task, reset_task_to_code, resume_task

pytestmark = [pytest.mark.django_db, pytest.mark.any_database]

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


DEEP = nested(100_000)
BAD_TEXTS = ["a\0b", "\ud800", "x" * 2_000_000, b"\xff", None, 5]
BAD_VALUES = [
    "a\0b",
    "\udfff",
    float("nan"),
    float("-inf"),
    nested(100),
    DEEP,
    10**5000,
    "x" * 2_000_000,
    {"\0": 1},
    object(),
]


@pytest.fixture(autouse=True)
def handlers(registry: HandlerRegistry) -> None:
    @scheduled_task(name="shop.cleanup")
    def cleanup(*, days: int = 30, **more: Any) -> None: ...


@pytest.fixture
def failed() -> Execution:
    register_task("one", "cleanup", "0 2 * * *", category="kept")
    execution = run_task_now("one")
    Execution.objects.update(status="failed", finished_at=NOON)
    return execution


def everything() -> list[Any]:
    rows = [Task, Execution, TaskChange, Pause]
    return [list(model.objects.order_by("pk").values()) for model in rows]


def refused(operation: Callable[..., Any], *args: Any, **given: Any) -> dict[str, list[str]]:
    """Return the errors by field of an operation that must change nothing."""
    before = everything()
    with pytest.raises(ScheduledTasksError) as error:
        operation(*args, **given)
    assert everything() == before
    assert len(str(error.value)) < 500
    assert "Traceback" not in str(error.value)
    found: dict[str, list[str]] = getattr(error.value, "errors", {})
    return found


@pytest.mark.parametrize("text", BAD_TEXTS, ids=lambda text: repr(text)[:10])
def test_unstorable_texts_are_refused_by_field(failed: Execution, text: Any) -> None:
    for field in ("description", "category", "queue", "pause_reason", "handler"):
        assert field in refused(register_task, **{"name": "b", "handler": "cleanup", field: text})
        assert field in refused(change_task, "one", **{field: text})
    assert "name" in refused(register_task, text, "cleanup")
    assert list(refused(pause_task, "one", NOON, reason=text)) == ["reason"]
    assert list(refused(pause_all_tasks, reason=text)) == ["reason"]
    assert list(refused(resolve_execution, failed.pk, text)) == ["reason"]
    assert list(refused(cancel_execution, failed.pk, reason=text)) == ["reason"]


@pytest.mark.parametrize("name", [*BAD_TEXTS, "x" * 201], ids=lambda text: repr(text)[:10])
def test_unstorable_names_of_people_are_refused(failed: Execution, name: Any) -> None:
    for operation in (
        lambda: register_task("one", "cleanup", category="new", by=name),
        lambda: register_task("two", "cleanup", by=name),
        lambda: change_task("one", category="new", by=name),
        lambda: unregister_task("one", by=name),
        lambda: disable_task("one", by=name),
        lambda: enable_task("one", by=name),
        lambda: pause_task("one", NOON, by=name),
        lambda: resume_task("one", by=name),
        lambda: reset_task_to_code("one", by=name),
        lambda: run_task_now("one", by=name),
        lambda: cancel_execution(failed.pk, by=name),
        lambda: requeue_execution(failed.pk, by=name),
        lambda: resolve_execution(failed.pk, "Done.", by=name),
        lambda: pause_all_tasks(by=name),
        lambda: resume_all_tasks(by=name),
    ):
        assert list(refused(operation)) == ["by"]


@pytest.mark.parametrize("value", BAD_VALUES, ids=lambda value: type(value).__name__)
def test_unstorable_json_is_refused_by_field(failed: Execution, value: Any) -> None:
    for field in ("metadata", "payload"):
        given = {field: {"more": value}}
        assert list(refused(register_task, "two", "cleanup", **given)) == [field]
        assert list(refused(register_task, "one", "cleanup", **given)) == [field]
        assert list(refused(change_task, "one", **given)) == [field]
    for payload in ({"more": value}, {"days": value}):
        assert len(refused(run_task_now, "one", payload)) == 1
        assert len(refused(requeue_execution, failed.pk, payload)) == 1


def test_length_counts_all_letters_alike() -> None:
    fits, too_long = {"a": "é" * 999_991}, {"a": "é" * 999_992}
    assert as_json("payload", fits) == fits
    assert flaw_of_json(fits) is None
    with pytest.raises(InvalidPayload, match="has 1000001 characters as JSON"):
        as_json("payload", too_long)
    assert str(flaw_of_json(too_long)).startswith("has 1000001 characters")


def test_anything_but_an_object_is_no_payload(failed: Execution) -> None:
    for payload in ([1], "x", 5, [("days", 1)]):
        for operation, subject in ((run_task_now, "one"), (requeue_execution, failed.pk)):
            with pytest.raises(InvalidPayload, match="payload: must be a JSON object, not"):
                operation(subject, payload)


@pytest.mark.parametrize(
    "name", [*BAD_TEXTS, [], object(), 10**5000], ids=lambda n: type(n).__name__
)
def test_what_is_no_name_is_unknown(failed: Execution, name: Any) -> None:
    for operation in (get_task, run_task_now, unregister_task, enable_task):
        with pytest.raises(UnknownTask, match="No task is called"):
            operation(name)
    assert not task_history(name).exists()
    if name != 5:
        with pytest.raises(UnknownExecution, match="ids are positive whole numbers"):
            cancel_execution(name)
        with pytest.raises(InvalidName, match="A name of a lock is text of 1 to 200 characters"):
            lock(name)


def test_ids_may_be_text_but_not_anything(failed: Execution) -> None:
    assert requeue_execution(str(failed.pk)).requeue_of_id == failed.pk
    for given in ("x", "", "-1", -1, 0, 2**63, "9" * 30, True, 1.5):
        with pytest.raises(UnknownExecution):
            resolve_execution(given, "Done.")


@pytest.mark.parametrize(
    "ids",
    [["x"], [True], [2**63], [float("nan")], [0], [None], [[1]], [-1], "12", b"12", 12, None],
)
def test_one_impossible_id_refuses_them_all(failed: Execution, ids: Any) -> None:
    given = [failed.pk, *ids] if isinstance(ids, list) else ids
    for operation in (
        cancel_executions,
        requeue_executions,
        lambda ids: resolve_executions(ids, "Done."),
    ):
        with pytest.raises(UnknownExecution):
            operation(given)
    failed.refresh_from_db()
    assert failed.may_be_requeued


def test_many_ids_may_be_text_or_unknown(failed: Execution) -> None:
    assert resolve_executions([str(failed.pk), 2**63 - 1], "Done.") == [failed.pk]


@pytest.mark.parametrize("moment", ["2030-01-01", datetime(2030, 1, 1), 5])
def test_moments_need_a_time_zone(failed: Execution, moment: Any) -> None:
    assert list(refused(run_task_now, "one", now=moment)) == ["now"]
    assert list(refused(pause_task, "one", moment)) == ["until"]
    assert list(refused(pause_all_tasks, until=moment)) == ["until"]
    assert list(refused(resume_all_tasks, now=moment)) == ["now"]
    if moment != "2030-01-01":
        assert "starts_at" in refused(change_task, "one", starts_at=moment)


@pytest.mark.parametrize(
    "value",
    [
        "",
        " ",
        [],
        {},
        (),
        [1],
        {"a": 1},
        "9" * 5000,
        DEEP,
        Fraction(3, 2),
        b"1",
        object(),
    ],
    ids=lambda value: type(value).__name__,
)
def test_wrong_kinds_of_numbers_and_moments_are_refused(failed: Execution, value: Any) -> None:
    change_task("one", starts_at=NOON)
    numbers = ("timeout", "jitter", "priority", "misfire_grace", "memory_limit_mb", "retry_delay")
    for field in (*numbers, "starts_at", "ends_at", "anchor", "paused_until", "enabled", "retry"):
        assert list(refused(change_task, "one", **{field: value})) == [field]
        assert list(refused(register_task, "two", "cleanup", **{field: value})) == [field]
    assert list(refused(run_task_now, "one", test_mode=value)) == ["test_mode"]


def test_a_truth_value_is_no_number(failed: Execution) -> None:
    for field in ("timeout", "priority", "retry_backoff"):
        assert list(refused(change_task, "one", **{field: True})) == [field]


def test_a_name_that_is_no_text_is_refused(registry: HandlerRegistry) -> None:
    for name in (5, [1], b"x"):
        with pytest.raises(InvalidTask, match="name: must be text, not"):
            scheduled_task(name=name)
        with pytest.raises(InvalidTask, match="name: must be text, not"):
            declare("shop.cleanup", name=name)


def test_operations_do_not_save_a_new_task(failed: Execution) -> None:
    new = Task(name="new", handler="shop.cleanup")
    for operation in (enable_task, disable_task, resume_task, change_task, run_task_now):
        with pytest.raises(UnknownTask, match="No task is called 'new'"):
            operation(new)


def test_commands_say_it_in_one_sentence(failed: Execution) -> None:
    for arguments in (
        ("runtask", "one", "--queue", "--payload", '{"days": NaN}'),
        ("runtask", "one", "--queue", "--payload", '{"more": "\\ud800"}'),
        ("runtask", "one", "--queue", "--payload", '{"more": ' + "[" * 900 + "]" * 900 + "}"),
        ("runtask", "one", "--queue", "--payload", '{"more": ' + "9" * 5000 + "}"),
        ("runtask", "one", "--queue", "--payload", ""),
        ("runtask", "one", "--queue", "--payload", "[1]"),
        ("pausescheduler", "--reason", "a\0b"),
        ("pausescheduler", "--reason", "\udcff"),
        ("pausescheduler", "--reason", "x" * 256),
    ):
        before = everything()
        with pytest.raises(CommandError) as error:
            call_command(*arguments)
        assert everything() == before
        assert len(str(error.value)) < 300


def test_a_declaration_that_cannot_be_stored_is_reported(settings: Any) -> None:
    settings.SCHEDULED_TASKS = {}
    declare("shop.cleanup", name="good")
    declare("shop.cleanup", name="bad", description="a\0b", metadata={"a": float("nan")})
    out = StringIO()
    call_command("migrate", stdout=out)
    said = out.getvalue()
    assert "create good" in said
    assert "refuse bad description: has a NUL" in said
    assert "metadata: must be finite" in said
    assert set(Task.objects.values_list("name", flat=True)) == {"shop.cleanup", "good"}


def test_an_unstorable_declared_change_changes_nothing(registry: HandlerRegistry) -> None:
    declare("shop.cleanup", name="good", category="old")
    sync()
    registry._declared.pop()
    declare("shop.cleanup", name="good", category="new", queue="\ud800")
    assert [change.action for change in sync()] == ["refuse"]
    assert get_task("good").category == "old"


def test_tasks_that_are_invalid_can_be_paused(failed: Execution) -> None:
    Task.objects.update(schedule="nonsense", handler="shop.gone")
    assert pause_task("one", NOON, reason="Stocktaking").paused_until == NOON
    with pytest.raises(InvalidTask, match="until: must be a moment between the years"):
        pause_task("one", NOON.replace(year=9999))
