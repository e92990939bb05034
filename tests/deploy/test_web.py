"""The example project as it is deployed: without DEBUG, behind any WSGI server."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from example_project.settings import database
from tests.support.processes import ROOT

REQUEST = """
import sys
from wsgiref.util import setup_testing_defaults
from example_project.wsgi import application

environ = {"PATH_INFO": sys.argv[1]}
setup_testing_defaults(environ)
for part in application(environ, lambda status, headers: print(status)):
    pass
"""


def request(path: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Ask the application in a process of its own, and let it print the status."""
    inherited = {name: value for name, value in os.environ.items() if name != "SECRET_KEY"}
    return subprocess.run(
        [sys.executable, "-c", REQUEST, path],
        cwd=ROOT,
        env={
            **inherited,
            "DJANGO_SETTINGS_MODULE": "example_project.settings",
            "DATABASE_URL": "sqlite://:memory:",
            "DEBUG": "false",
            **environment,
        },
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("path", ["/admin/login/", "/static/admin/css/base.css"])
def test_the_admin_is_served_with_its_styles(path: str) -> None:
    done = request(path, SECRET_KEY="of-this-test")
    assert done.stdout == "200 OK\n", done.stderr


def test_it_does_not_start_without_a_secret_key() -> None:
    done = request("/admin/login/")
    assert done.returncode == 1
    assert "SECRET_KEY" in done.stderr.splitlines()[-1]


def test_an_empty_database_url_counts_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compose passes an empty one where the variable is not set."""
    monkeypatch.setenv("DATABASE_URL", "")
    assert database("sqlite:///x.sqlite3")["NAME"] == "x.sqlite3"
