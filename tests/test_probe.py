"""The liveness probe: what it says of each file, its exit code, and what it needs to start."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from math import inf, nan
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from scheduled_tasks import probe
from tests.support.processes import LONG, ROOT, wait_until

pytestmark = pytest.mark.without_database

NEEDED = ("__init__.py", "probe.py")

needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
needs_namespaces = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0 or shutil.which("unshare") is None,
    reason="needs root and unshare, to make a pid namespace",
)


def fields_of(pid: int, /, **changed: Any) -> dict[str, Any]:
    """Return the content of the file of a worker with this number that is alive."""
    return {
        "label": "blue",
        "pid": pid,
        "process_start": probe.process_state(pid)[1],
        "boot": probe.boot_id(),
        "pid_namespace": probe.pid_namespace(),
        "max_age": 60.0,
        "loops": {"main loop": monotonic(), "heartbeat": monotonic(), "scan": monotonic()},
        **changed,
    }


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return the path of the liveness file."""
    return tmp_path / "worker"


@pytest.fixture
def write(path: Path) -> Callable[..., None]:
    """Return a function that writes the file of this process, with other fields if given."""

    def write(**changed: Any) -> None:
        path.write_text(json.dumps(fields_of(os.getpid(), **changed)))

    return write


Look = Callable[..., tuple[int, str]]


@pytest.fixture
def look(path: Path, capfd: pytest.CaptureFixture[str]) -> Look:
    """Return a function that looks at the file; it returns the exit code and the one line."""

    def look(*options: str) -> tuple[int, str]:
        code = probe.main([str(path), *options])
        out, err = capfd.readouterr()
        assert (out.count("\n"), out[-2:], err) == (1, ".\n", ""), "one sentence"
        return code, out

    return look


def test_a_worker_that_makes_rounds_is_alive(write: Callable[..., None], look: Look) -> None:
    write()
    code, said = look()
    assert code == 0
    assert f"The worker 'blue' (pid {os.getpid()}) is alive: " in said


@pytest.mark.parametrize("loop", ["main loop", "heartbeat", "scan"])
def test_a_loop_that_stands_still_is_named(
    write: Callable[..., None], look: Look, loop: str
) -> None:
    others = fields_of(os.getpid())["loops"]
    write(loops={**others, loop: monotonic() - 75})
    code, said = look()
    assert code == 1
    assert f"its {loop} stood still for 75." in said
    assert "longer than the limit of 60 s." in said


def test_a_frozen_worker_has_no_loop_left(write: Callable[..., None], look: Look) -> None:
    then = monotonic() - 61
    write(loops={"main loop": then, "heartbeat": then, "scan": then})
    code, said = look()
    assert code == 1
    assert "its main loop, its heartbeat and its scan stood still" in said
    write(loops={"main loop": then, "heartbeat": then, "scan": monotonic()})
    assert "its main loop and its heartbeat stood still" in look()[1]


def test_the_file_decides_its_age_unless_told(write: Callable[..., None], look: Look) -> None:
    write(max_age=10, loops={"main loop": monotonic() - 20})
    assert look()[0] == 1
    assert look("--max-age=15")[0] == 1
    assert look("--max-age", "600")[0] == 0
    write(max_age=600, loops={"main loop": monotonic() - 20})
    assert look()[0] == 0
    assert look("--max-age=15")[0] == 1


@pytest.mark.parametrize("modified", [0, 4_000_000_000])
def test_times_of_the_file_decide_nothing(
    write: Callable[..., None], look: Look, path: Path, modified: int
) -> None:
    """They follow the wall clock, which may jump."""
    write()
    os.utime(path, (modified, modified))
    assert look()[0] == 0
    write(loops={"main loop": monotonic() - 75})
    os.utime(path, (modified, modified))
    assert look()[0] == 1


@pytest.mark.parametrize("age", [-5.0, -inf, nan])
def test_what_no_clock_of_this_boot_says(
    write: Callable[..., None], look: Look, age: float
) -> None:
    write(loops={"main loop": monotonic() - age})
    code, said = look()
    assert code == 1
    assert "before this machine was started" in said


@pytest.mark.parametrize("limit", [nan, -inf, 0])
def test_a_limit_that_is_none_is_red(write: Callable[..., None], look: Look, limit: float) -> None:
    write(max_age=limit)
    assert look()[0] == 1


@needs_proc
def test_a_file_from_before_a_reboot(write: Callable[..., None], look: Look) -> None:
    write(boot="another")
    code, said = look()
    assert code == 1
    assert "before this machine was started, or on another machine" in said


@needs_proc
def test_a_file_of_another_container(write: Callable[..., None], look: Look) -> None:
    write(pid_namespace="pid:[1]")
    code, said = look()
    assert code == 1
    assert "Run the probe in the container of the worker" in said


@needs_namespaces
def test_a_probe_in_another_pid_namespace(write: Callable[..., None], path: Path) -> None:
    """It cannot know the worker's process, so it does not say that it is alive."""
    write()
    wrapper = ["unshare", "--pid", "--fork", "--mount-proc"]
    ran = run_probe(str(path), wrapper=wrapper)
    assert (ran.returncode, ran.stderr) == (1, "")
    assert "Run the probe in the container of the worker" in ran.stdout


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "600"]) as child:
        yield child
        child.kill()


@needs_proc
def test_a_file_left_behind_is_not_alive(
    path: Path, look: Look, child: subprocess.Popen[bytes]
) -> None:
    path.write_text(json.dumps(fields_of(child.pid)))
    assert look()[0] == 0
    child.kill()
    wait_until(lambda: look()[0] == 1, within=LONG)
    assert probe.process_state(child.pid)[0] == "Z", "nobody has waited for it yet"
    assert f"'blue' (pid {child.pid}) has ended and left '{path}' behind" in look()[1]
    child.wait()
    assert "has ended" in look()[1]


@needs_proc
def test_a_later_process_of_that_number(write: Callable[..., None], look: Look) -> None:
    """In a container, the restarted worker often has the number of the one before it."""
    write(process_start="1")
    code, said = look()
    assert code == 1
    assert "has ended and left" in said


def test_a_number_that_no_process_can_have(write: Callable[..., None], look: Look) -> None:
    write(pid=10**30)
    assert look()[0] == 1


def test_without_proc_the_number_alone_decides(
    write: Callable[..., None],
    path: Path,
    look: Look,
    child: subprocess.Popen[bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(probe, "read_proc", lambda name: "")
    monkeypatch.setattr(probe, "pid_namespace", lambda: "")
    write()
    assert look()[0] == 0
    path.write_text(json.dumps(fields_of(child.pid)))
    child.kill()
    child.wait()
    assert look()[0] == 1


def test_a_missing_file(look: Look, path: Path) -> None:
    code, said = look()
    assert code == 1
    assert f"Start a worker with --liveness-file '{path}': there is no such file" in said


def test_a_path_that_leads_through_a_file(look: Look, path: Path) -> None:
    path.parent.rmdir()
    path.parent.touch()
    assert "there is no such file" in look()[1]


def test_a_file_that_cannot_be_read(look: Look, path: Path) -> None:
    path.mkdir()
    code, said = look()
    assert code == 1
    assert "it cannot be read (Is a directory)" in said


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes with a name")
@pytest.mark.parametrize("writers", [0, 1])
def test_a_pipe_is_not_waited_for(path: Path, look: Look, writers: int) -> None:
    os.mkfifo(path)
    held = [os.open(path, os.O_RDWR) for _ in range(writers)]
    try:
        code, said = look()
    finally:
        for descriptor in held:
            os.close(descriptor)
    assert code == 1
    assert f"'{path}' is not a file that it writes" in said


@pytest.mark.parametrize("kind", ["/dev/null", "/dev/zero", "socket"])
def test_only_regular_files_are_read(
    tmp_path: Path, kind: str, capfd: pytest.CaptureFixture[str]
) -> None:
    if kind == "socket":
        kind = str(tmp_path / "s")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(kind)
    assert probe.main([kind]) == 1
    assert capfd.readouterr().out.count("\n") == 1


BROKEN = [
    "",
    "{",
    "null",
    "[]",
    "7",
    '"text"',
    "\xff\xfe",
    "[" * 60_000,
    " " * 70_000,
    *(
        json.dumps(fields_of(1) | changed)
        for changed in (
            {"pid": 0},
            {"pid": -1},
            {"pid": None},
            {"pid": "x"},
            {"pid": inf},
            {"max_age": []},
            {"max_age": 10**400},
            {"loops": {}},
            {"loops": []},
            {"loops": {"main loop": None}},
        )
    ),
    *(
        json.dumps({key: value for key, value in fields_of(1).items() if key != missing})
        for missing in probe.Liveness._fields
    ),
]


@pytest.mark.parametrize("content", BROKEN, ids=lambda content: ascii(content)[:40])
def test_what_is_not_a_liveness_file(look: Look, path: Path, content: str) -> None:
    path.write_text(content, "latin-1")
    code, said = look()
    assert code == 1
    assert f"'{path}' is not a file that it writes" in said


@pytest.mark.parametrize("age", ["0", "-1", "nan", "inf", "x", ""])
def test_wrong_options_exit_with_2(
    path: Path, age: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        probe.main([str(path), f"--max-age={age}"])
    assert ended.value.code == 2
    assert "argument --max-age: " in capsys.readouterr().err


def run_probe(
    *arguments: str, wrapper: list[str] | None = None, package: Path = ROOT, **changed: Any
) -> subprocess.CompletedProcess[str]:
    """Run the probe in an interpreter that has nothing installed."""
    command = [*(wrapper or []), sys.executable, "-S", "-W", "error", "-m", "scheduled_tasks.probe"]
    environment = {"PYTHONPATH": str(package), "PATH": os.environ["PATH"]}
    return subprocess.run(
        [*command, *arguments],
        cwd="/",
        env=environment,
        timeout=LONG,
        check=False,
        text=True,
        encoding="utf-8",
        **({"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | changed),
    )


def test_it_needs_two_files_and_no_site(
    write: Callable[..., None], path: Path, tmp_path: Path
) -> None:
    package = tmp_path / "alone"
    (package / "scheduled_tasks").mkdir(parents=True)
    for name in NEEDED:
        shutil.copy(ROOT / "scheduled_tasks" / name, package / "scheduled_tasks")
    write()
    ran = run_probe(str(path), package=package)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "is alive" in ran.stdout


@pytest.mark.parametrize("code", [0, 1])
def test_who_reads_the_output_changes_nothing(
    write: Callable[..., None], path: Path, code: int
) -> None:
    write(max_age=600 if code == 0 else 1e-9)
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w") as without_reader:  # noqa: PTH123
        assert run_probe(str(path), stdout=without_reader).returncode == code
    closed = ["sh", "-c", 'exec "$@" >&-', "sh"]
    ran = run_probe(str(path), wrapper=closed)
    assert (ran.returncode, ran.stdout, ran.stderr) == (code, "", "")


def test_a_label_in_greek_is_no_error(write: Callable[..., None], path: Path) -> None:
    write(label="\u03b1\n\ud800")
    wrapper = ["env", "PYTHONIOENCODING=ascii", "LC_ALL=POSIX"]
    ran = run_probe(str(path), wrapper=wrapper)
    assert (ran.returncode, ran.stderr, ran.stdout.count("\n")) == (0, "", 1)
    assert "'\u03b1\\n\\ud800'" in ran.stdout
