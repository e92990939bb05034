"""The commands and probes that docs/deployment.md shows can be run."""

from __future__ import annotations

import json
import re
from configparser import ConfigParser
from pathlib import Path

import pytest
from django.core.management import load_command_class

from scheduled_tasks import probe

PAGE = (Path(__file__).parents[2] / "docs/deployment.md").read_text()
[UNIT] = re.findall(r"```ini\n(.*?)```", PAGE, re.DOTALL)
LISTS = [json.loads(text) for text in re.findall(r"(?:CMD|command:|args:) (\[.*\])", PAGE)]
PROBES = [command for command in LISTS if "manage.py" not in command]


def commands() -> list[list[str]]:
    unit = ConfigParser()
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(UNIT)
    workers = [command for command in LISTS if command not in PROBES]
    return [unit["Service"]["ExecStart"].split(), *workers]


@pytest.mark.parametrize("command", commands(), ids=lambda command: command[-1])
def test_the_options_of_each_command_exist(command: list[str]) -> None:
    python, manage, name, *options = command
    assert (Path(python).name, manage, name) == ("python", "manage.py", "runscheduler")
    parser = load_command_class("scheduled_tasks", name).create_parser(manage, name)
    assert parser.parse_args(options)


def test_every_form_of_deployment_is_shown() -> None:
    assert len(commands()) == 4


def test_the_probes_read_the_workers_file() -> None:
    assert len(PROBES) == 2
    [args] = [command for command in LISTS if "--liveness-file" in command]
    for python, option, module, *arguments in PROBES:
        assert (python, option, module) == ("python", "-m", probe.__name__)
        assert probe.parser().parse_args(arguments).path in args
