"""How long a test plays: in short by default, at length with ``--long``, or as long as you say."""

from __future__ import annotations

import os
from typing import Any

import pytest


def short_and_long(variable: str, *, short: int, long: int) -> list[Any]:
    """Return the parameters of a test that has a short and a long form.

    The environment variable replaces both by a form of its own, which is not marked as long.
    """
    if variable in os.environ:
        return only_long(variable, long=long)
    return [pytest.param(short, id="short"), *only_long(variable, long=long)]


def only_long(variable: str, *, long: int) -> list[Any]:
    """Return the parameter of a test that has no short form."""
    if variable in os.environ:
        return [pytest.param(int(os.environ[variable]), id="as told")]
    return [pytest.param(long, id="long", marks=pytest.mark.long)]
