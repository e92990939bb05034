"""Lint, types, import contracts, and the suite on every supported pair of Python and Django.

Run ``nox`` for everything, ``nox -l`` for a list, ``nox -t tests`` for the matrix alone. The matrix
runs on SQLite only; ``python -m tests`` adds PostgreSQL.
"""

from __future__ import annotations

import atexit
import os
import re
import shutil
import subprocess
from pathlib import Path

import nox

nox.options.default_venv_backend = "venv"

#: Which Python each supported Django is tested with.
PYTHONS_OF = {
    "5.2": ("3.11", "3.12", "3.13"),
    "6.0": ("3.12", "3.13"),
    "6.1": ("3.12", "3.13"),
}
MATRIX = [(python, django) for django, pythons in PYTHONS_OF.items() for python in pythons]
PYTHONS = sorted({python for python, _ in MATRIX})


def runs(python: str) -> bool:
    """Whether an interpreter is found and runs. The shim of a version manager may only be found."""
    command = f"python{python}"
    if shutil.which(command) is None:
        return False
    return subprocess.run([command, "-c", ""], capture_output=True, check=False).returncode == 0


def let_pyenv_run(pythons: list[str]) -> None:
    """Let the shims of pyenv run the newest release that is installed of each."""
    shims = Path(shutil.which("python") or "").parent
    if shims.name == "shims":  # the environment may not say where pyenv lives
        os.environ.setdefault("PYENV_ROOT", str(shims.parent))
    listed = subprocess.run(
        ["pyenv", "versions", "--bare"], capture_output=True, text=True, check=False
    )
    releases = [
        [name for name in listed.stdout.split() if re.fullmatch(rf"{re.escape(python)}\.\d+", name)]
        for python in pythons
    ]
    newest = [max(of, key=lambda name: int(name.rpartition(".")[2])) for of in releases if of]
    os.environ["PYENV_VERSION"] = ":".join(newest)


if not all(map(runs, PYTHONS)) and shutil.which("pyenv"):
    let_pyenv_run(PYTHONS)
FOUND = [python for python in PYTHONS if runs(python)]
begun: set[tuple[str, str]] = set()
passed: set[tuple[str, str]] = set()


@atexit.register
def print_what_did_not_run() -> None:
    """Print last which pairs of the matrix did not run, if any did or could not."""
    if not begun and FOUND:
        return
    left = [
        f"Django {django} on Python {python}"
        + ("" if python in FOUND else f" (python{python} is not found or does not run)")
        for python, django in MATRIX
        if (python, django) not in begun
    ]
    print(f"Passed: {len(passed)} of {len(MATRIX)} pairs. Not run: {', '.join(left) or 'none'}.")


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and format."""
    session.install("-q", "-e", ".[dev]")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Check types."""
    session.install("-q", "-e", ".[dev]")
    session.run("mypy")


@nox.session
def contracts(session: nox.Session) -> None:
    """Check which room imports which."""
    session.install("-q", "-e", ".[dev]")
    session.run("lint-imports")


@nox.session(tags=["tests"])
@nox.parametrize(["python", "django"], [pair for pair in MATRIX if pair[0] in FOUND])
def tests(session: nox.Session, django: str) -> None:
    """Run the suite on SQLite with one Python and one Django."""
    pair = str(session.python), django
    begun.add(pair)
    session.install("-q", "-e", ".[dev]", f"django=={django}.*")
    session.run("python", "-m", "tests", "--quick", *session.posargs)
    passed.add(pair)


@nox.session
def celery_beat(session: nox.Session) -> None:
    """Install next to django-celery-beat, which needs release 1 of cron-descriptor."""
    session.install("-q", "-e", ".[dev]", "django-celery-beat>=2.9")
    session.run("python", "-m", "pip", "check")
    environment = {
        "DJANGO_SETTINGS_MODULE": "tests.support.settings_with_celery_beat",
        "DATABASE_URL": f"sqlite:///{session.create_tmp()}/both.sqlite3",
    }
    session.run("python", "manage.py", "check", env=environment)
    session.run("python", "manage.py", "migrate", "--verbosity=0", env=environment)
    session.run("pytest", "-q", "tests/schedules", "tests/docs/test_schedules_page.py")


@nox.session
def schemas(session: nox.Session) -> None:
    """Check the files of Compose and Kubernetes against their schemas."""
    packages = ["check-jsonschema>=0.36", "kubernetes-validate>=1.34"]
    session.install("-q", "-e", ".[dev]", *packages)
    session.run("pytest", "-q", "tests/deploy/test_schemas.py")
