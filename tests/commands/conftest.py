"""Fixtures for the tests of commands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command


@dataclass(frozen=True, slots=True)
class Ran:
    """The output and the exit code of a command."""

    out: str
    err: str
    code: int


Command = Callable[..., Ran]


@pytest.fixture
def command() -> Command:
    """Return a function that runs a command as the command line does."""

    def run(name: str, *arguments: str, **options: Any) -> Ran:
        out, err, code = StringIO(), StringIO(), 0
        try:
            call_command(name, *arguments, stdout=out, stderr=err, skip_checks=False, **options)
        except SystemExit as exit_:
            code = int(exit_.code or 0)
        except CommandError as error:
            err.write(str(error))
            code = error.returncode
        return Ran(out.getvalue(), err.getvalue(), code)

    return run
