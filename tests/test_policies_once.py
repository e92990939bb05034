"""A policy is described once: the places that name one cannot differ.

``handlers/policies.py`` has the option, ``models/policies.py`` or ``models/alert_policies.py`` the
column, its default, its help text and its place in the admin. All else is derived, or compared
here, docs/policies.md included.
"""

from __future__ import annotations

import re
from ast import literal_eval
from dataclasses import fields
from datetime import datetime, timedelta
from typing import get_args, get_type_hints

import pytest
from django.contrib.admin import site
from django.contrib.admin.utils import flatten
from django.db import models

from scheduled_tasks.admin.tasks.admin import TaskAdmin
from scheduled_tasks.handlers.declarations import ABOUT_THE_TASK, Options, retry_fields
from scheduled_tasks.handlers.policies import MOMENTS, UNITS, PolicyOptions
from scheduled_tasks.handlers.retries import Retry
from scheduled_tasks.models import Execution, Task, TaskState
from scheduled_tasks.models.policies import Policies
from scheduled_tasks.operations.definitions import FURTHER_FIELDS
from scheduled_tasks.runtime.runs import Run
from tests.support.processes import ROOT

pytestmark = pytest.mark.without_database

RETRY_FIELDS = set(retry_fields(Retry()))
PAUSE = {"paused_until", "pause_reason"}
HINTS = get_type_hints(PolicyOptions)
PAGE = (ROOT / "docs" / "policies.md").read_text()
COLUMNS = {field.name: field for field in Policies._meta.fields}
PYTHON_TYPES = {
    models.CharField: str,
    models.IntegerField: int,
    models.PositiveIntegerField: int,
    models.FloatField: float,
    models.DateTimeField: datetime,
    models.JSONField: list[str],
}


def test_each_column_has_an_option_and_admin_field() -> None:
    declared = set(Policies.DECLARED_FIELDS)
    assert len(Policies.DECLARED_FIELDS) == len(declared)
    assert declared == set(COLUMNS) - PAUSE
    assert declared == (set(HINTS) - {"retry"}) | RETRY_FIELDS
    sections = flatten([name for _, options in TaskAdmin.fieldsets for name in options["fields"]])
    assert declared <= set(sections)
    assert declared <= set(TaskAdmin(Task, site).form.base_fields)


@pytest.mark.parametrize("name", sorted(set(HINTS) - {"retry"}))
def test_an_option_has_the_type_of_its_column(name: str) -> None:
    kinds = set(get_args(HINTS[name])) or {HINTS[name]}
    column = COLUMNS[name]
    assert (type(None) in kinds) == column.null
    assert kinds - {type(None), timedelta} == {PYTHON_TYPES[type(column)]}
    assert (timedelta in kinds) == (UNITS.get(name) == "seconds")
    assert (name in MOMENTS) == (name in Policies.MOMENTS) == (datetime in kinds)


@pytest.mark.parametrize("name", sorted(set(COLUMNS) - PAUSE))
def test_each_column_explains_itself_in_the_admin(name: str) -> None:
    assert str(COLUMNS[name].help_text).endswith(".") or COLUMNS[name].choices


def test_functions_that_define_tasks_take_every_policy() -> None:
    assert set(Options.__annotations__) == set(HINTS) | set(ABOUT_THE_TASK)
    assert set(FURTHER_FIELDS) >= {*Policies.DECLARED_FIELDS, "retry"}


def test_fields_read_of_a_task_are_columns() -> None:
    columns = {field.name for field in Task._meta.concrete_fields}
    for read in (Execution.READ_TO_CLAIM, TaskState.READ_TO_FIRE):
        of_task = [name.removeprefix("task__") for name in read if name.startswith("task__")]
        assert set(of_task) <= columns
        assert len(of_task) == len(set(of_task))


def test_runs_are_told_policies_under_their_names() -> None:
    run = {field.name: field.default for field in fields(Run)}
    told = {name: COLUMNS[name].get_default() for name in Policies.TOLD_TO_RUNS}
    assert {name: run[name] for name in told} == told


def test_the_page_has_every_policy_with_its_default() -> None:
    """The contract has the options; tests/docs/test_contract.py compares them."""
    page = re.findall(r"^\| `(\w+)` \| `([^`]+)` \|", PAGE, re.MULTILINE)
    code = {name: COLUMNS[name].get_default() for name in Policies.DECLARED_FIELDS}
    assert {name: literal_eval(default) for name, default in page} == code
    assert len(page) == len(code)


@pytest.mark.parametrize("name", ["misfire_policy", "overlap_policy"])
def test_the_page_explains_every_value_of(name: str) -> None:
    _, explained, *_ = PAGE.partition(f"**`{name}`**")[2].split("\n\n")
    page = re.findall(r"^- `(\w+)`( \(default\))?:", explained, re.MULTILINE)
    default = COLUMNS[name].get_default()
    values = [str(value) for value, _ in COLUMNS[name].choices or ()]
    assert sorted(page) == sorted((v, " (default)" if v == default else "") for v in values)


def test_numbers_in_the_text_are_the_defaults() -> None:
    said = re.findall(r"`(\w+)` \((\d+)\)", PAGE)
    assert {name: COLUMNS[name].get_default() for name, _ in said} == {
        name: int(number) for name, number in said
    }
