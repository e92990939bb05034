"""The units, as systemd itself judges them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy.files import FOLDER, UNITS, unit

#: Ten times the exposure that a unit may have.
MAX_EXPOSURE = 20
needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="needs systemd-analyze, of systemd"
)


@pytest.fixture
def installed(tmp_path: Path) -> list[Path]:
    """Return the units as on a host that has their programs, at another place."""
    programs = tmp_path / "srv/shop/.venv/bin"
    programs.mkdir(parents=True)
    for name in ("python", "gunicorn"):
        (programs / name).symlink_to(sys.executable)
    copies = [tmp_path / path.name for path in UNITS]
    for path, copy in zip(UNITS, copies, strict=True):
        copy.write_text(path.read_text().replace("/srv/shop", f"{tmp_path}/srv/shop"))
    return copies


def analyze(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", *map(str, arguments)], capture_output=True, text=True, check=False
    )


@needs_systemd
def test_systemd_finds_no_mistake(installed: list[Path]) -> None:
    done = analyze("verify", "--man=no", *installed)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@needs_systemd
@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_the_exposure_is_low(path: Path) -> None:
    done = analyze("security", "--offline=yes", f"--threshold={MAX_EXPOSURE}", "--no-pager", path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_both_units_have_the_same_sandbox() -> None:
    def sandbox(path: Path) -> list[tuple[str, str]]:
        found = unit(path)
        return found[found.index(("AmbientCapabilities", "")) :]

    first, second = map(sandbox, UNITS)
    assert first == second


def test_a_worker_may_read_proc() -> None:
    """Else limits of memory have no effect, and what a run leaves behind is not found."""
    found = dict(unit(FOLDER / "systemd/shop-scheduler@.service"))
    assert "ProcSubset" not in found
    assert found["ProtectProc"] == "invisible"


def test_a_run_killed_for_memory_ends_alone() -> None:
    assert dict(unit(FOLDER / "systemd/shop-scheduler@.service"))["OOMPolicy"] == "continue"
