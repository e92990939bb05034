"""What synctasks writes, prints and keeps."""

from __future__ import annotations

import pytest
from django.core.management import CommandError, call_command

from scheduled_tasks import declare, register_task, scheduled_task
from scheduled_tasks.handlers.registry import HandlerRegistry
from scheduled_tasks.models import Task
from tests.commands.conftest import Command
from tests.support.registries import isolated

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def handlers(registry: HandlerRegistry) -> None:
    @scheduled_task("0 2 * * *", name="shop.cleanup")
    def cleanup(*, days: int = 30) -> None: ...


def schedule() -> str:
    return Task.objects.get().schedule


def test_it_creates_the_tasks_and_prints_them_once(command: Command) -> None:
    assert command("synctasks").out == "create shop.cleanup\n"
    assert schedule() == "0 2 * * *"
    assert command("synctasks").out == "All tasks match the code.\n"


@pytest.mark.parametrize("option", ["--check", "--dry-run"])
def test_check_and_dry_run_change_nothing(command: Command, option: str) -> None:
    ran = command("synctasks", option)
    assert "create shop.cleanup" in ran.out + ran.err
    assert not Task.objects.exists()


def test_check_exits_with_1_while_anything_differs(command: Command) -> None:
    ran = command("synctasks", "--check")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == "Tasks differ from the code. Run synctasks to apply:\ncreate shop.cleanup"
    assert command("synctasks", "--dry-run").code == 0
    command("synctasks")
    assert command("synctasks", "--check").code == 0


def test_check_reports_a_removed_declaration(command: Command, registry: HandlerRegistry) -> None:
    command("synctasks")
    with isolated(registry):
        ran = command("synctasks", "--check")
    assert ran.code == 1
    assert "park shop.cleanup" in ran.err


def test_user_changes_are_kept_unless_forced(command: Command) -> None:
    command("synctasks")
    Task.objects.update(schedule="0 5 * * *")
    assert command("synctasks").code == 0
    assert schedule() == "0 5 * * *"
    assert "'0 5 * * *' -> '0 2 * * *'" in command("synctasks", "--force", "--dry-run").out
    assert schedule() == "0 5 * * *"
    command("synctasks", "--force")
    assert schedule() == "0 2 * * *"


def test_a_manual_task_of_that_name_conflicts(command: Command) -> None:
    register_task("nightly", "shop.cleanup")
    declare("shop.cleanup", "0 3 * * *", name="nightly")
    ran = command("synctasks")
    assert "conflict nightly is a task that a person created" in ran.out
    assert Task.objects.get(name="nightly").schedule == ""
    assert command("synctasks", "--check").code == 1


@pytest.mark.parametrize("options", [[], ["--check"], ["--dry-run"], ["--force"]])
def test_a_declaration_without_a_handler_is_an_error(command: Command, options: list[str]) -> None:
    declare("shop.clenup", name="a")
    ran = command("synctasks", *options)
    assert ran.code == 1
    assert "scheduled_tasks.E005" in ran.err
    assert not Task.objects.exists()


def test_without_checks_the_reason_is_still_given() -> None:
    declare("shop.clenup", name="a")
    with pytest.raises(CommandError, match=r"Did you mean shop\.cleanup"):
        call_command("synctasks", skip_checks=True)
    assert not Task.objects.exists()
