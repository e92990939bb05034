"""File systems that are read-only, full or absent, and no directory to work in."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.db import connection

from tests.concurrency.runs import fresh, queue_a_run
from tests.environment.surroundings import mounted, needs_mounts, worker, works
from tests.support.processes import LONG, wait_until

pytestmark = [pytest.mark.django_db(transaction=True), needs_mounts]

#: Everything is read-only but what is mounted at "$TMPDIR"; a second mount of it stays writable.
READ_ONLY = """
mount --bind "$TMPDIR" "$TMPDIR"
cut -d " " -f 5 /proc/self/mountinfo | grep -v "^$TMPDIR$" | while read -r place; do
    mount -o remount,bind,ro "$place" 2>/dev/null || true
done
"""
FULL = """
for place in "$TMPDIR" /dev/shm; do
    mount -t tmpfs -o size=16k none "$place"
    head -c 1000000 /dev/zero > "$place/full" 2>/dev/null || true
done
"""
WITHOUT_DIRECTORY = 'cd "$TMPDIR" && mkdir gone && cd gone && rmdir "$PWD"'


@pytest.mark.long
def test_a_full_temporary_directory(tmp_path: Path) -> None:
    works(wrapper=mounted(FULL), TMPDIR=str(tmp_path))


@pytest.mark.long
def test_a_directory_that_was_removed(tmp_path: Path) -> None:
    works(wrapper=mounted(WITHOUT_DIRECTORY), TMPDIR=str(tmp_path))


@pytest.mark.long
def test_a_read_only_system_without_a_home(tmp_path: Path) -> None:
    if connection.vendor == "sqlite":
        pytest.skip("SQLite has to write its file.")
    works(wrapper=mounted(f"{READ_ONLY}\nunset HOME"), TMPDIR=str(tmp_path))


@pytest.mark.any_database
def test_without_proc_says_what_is_missing(tmp_path: Path) -> None:
    run = queue_a_run("tell", memory_limit_mb=100)
    with worker(wrapper=mounted("mount -t tmpfs none /proc")) as surrounded:
        wait_until(lambda: fresh(run).finished, within=LONG)
        output = surrounded.stop()
    assert run.status == "partial"
    assert "/proc is not mounted. memory_limit_mb has no effect" in output
