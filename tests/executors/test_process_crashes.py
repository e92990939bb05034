"""Runs that crash, are killed, or break what their process talks through; the others go on."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from scheduled_tasks.executors.process.wire import LENGTHS
from tests.executors.conftest import TakeInHand
from tests.executors.processes_in_hand import Hand, pids_in
from tests.support.processes import alive


def test_a_segfault_fails_the_run_and_says_where(hand: Hand) -> None:
    outcome = hand.run("segfault")
    assert (outcome.status, outcome.error_category) == ("failed", "crash")
    assert outcome.error == "Process crashed (SIGSEGV)."
    assert "Segmentation fault" in outcome.traceback
    assert "tasks.py" in outcome.traceback
    assert " in segfault" in outcome.traceback
    for machinery in ("child.py", "runner.py", "cancellation.py", "<string>"):
        assert machinery not in outcome.traceback
    assert len(outcome.error_fingerprint) == 32
    assert outcome.finished_at >= outcome.started_at
    assert hand.run("answer", value=1).result == 1


def test_a_handler_that_ends_its_process_has_failed(hand: Hand) -> None:
    outcome = hand.run("leave", code=3)
    assert (outcome.status, outcome.error_category) == ("failed", "crash")
    assert outcome.error == "Process exited with code 3 before the run ended."
    assert hand.run("leave", code=0).error_category == "crash", "and so with code 0"


def test_sys_exit_is_an_exception_like_any_other(hand: Hand) -> None:
    outcome = hand.run("leave", code=4, politely=True)
    assert (outcome.status, outcome.error_category) == ("failed", "logic")
    assert outcome.error == "SystemExit: 4"
    assert "in leave" in outcome.traceback


def test_an_exception_that_cannot_be_pickled_survives(hand: Hand) -> None:
    outcome = hand.run("raise_unpicklable")
    assert outcome.error.endswith("LocalError: odd")
    assert "in raise_unpicklable" in outcome.traceback


def test_a_process_killed_from_outside_has_failed(hand: Hand, tmp_path: Path) -> None:
    release = tmp_path / "release"
    one = hand.start("wait_for", path=str(tmp_path / "one"), release=str(release))
    other = hand.start("wait_for", path=str(tmp_path / "other"), release=str(release))
    [pid] = hand.pids(tmp_path / "one")
    hand.pids(tmp_path / "other")
    os.kill(pid, signal.SIGKILL)
    outcome = hand.outcome_of(one)
    assert (outcome.status, outcome.error_category) == ("failed", "crash")
    assert outcome.error == "Process was killed (SIGKILL)."
    assert other not in hand.endings
    release.touch()
    assert hand.outcome_of(other).result == "released"


def test_killing_the_fork_server_loses_its_runs(
    hand: Hand, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "pids"
    path.touch()
    runs = [hand.start("leave_descendants", path=str(path), stay=True)]
    hand.pids(path, 2)
    daemon = tmp_path / "daemon"
    first = hand.server.pid
    runs.append(hand.start("write_pid", path=str(daemon)))
    children = hand.pids(daemon) + hand.spares()
    os.kill(first, signal.SIGKILL)
    for number in runs:
        loss = hand.loss_of(number)
        assert loss.charged
        assert loss.reason == "The fork server was killed."
        assert not any(alive(pid) for pid in [first, *children, *pids_in(path)])
    assert "the fork server has ended and is restarted" in caplog.text
    hand.wait(lambda: hand.executor.free == 2)
    hand.executor.check()
    assert hand.server.pid != first
    assert hand.run("answer", value=3).result == 3


@pytest.mark.long
def test_runs_submitted_between_servers_are_made_or_lost(hand: Hand) -> None:
    for _ in range(3):
        hand.server.kill()
        numbers = [hand.start("answer", value=1) for _ in range(20)]
        hand.wait(lambda numbers=numbers: all(number in hand.endings for number in numbers))
        assert hand.run("answer", value=5).result == 5


def test_a_handler_that_closes_all_descriptors_has_failed(hand: Hand) -> None:
    outcome = hand.run("close_descriptors")
    assert (outcome.status, outcome.error_category) == ("failed", "crash")
    assert hand.run("answer", value=1).result == 1


def frame(header: str, body: str = "") -> bytes:
    return LENGTHS.pack(len(header), len(body)) + header.encode() + body.encode()


def message(body: str) -> bytes:
    return frame('{"kind":"message"}', body)


RETURNED = frame('{"kind":"returned"}')
#: What a run writes into its connection, and what is on record of it; "" if it does no harm.
GARBAGE = {
    "noise": (b"\xff" * 100, "a frame of 4294967295 + 4294967295 bytes"),
    "no JSON": (frame("{]"), "no JSON"),
    "no object": (frame("[]"), "no JSON object"),
    "nothing": (frame("{}"), "an unexpected frame, None"),
    "a huge header": (frame("1" * 300), "a frame of 300 + 0 bytes"),
    "a huge kind": (frame('{"kind":"' + "x" * 200 + '"}'), "an unexpected frame, 'xxx"),
    "too deep": (frame("[" * 250), "no JSON"),
    "a kind of no text": (frame('{"kind":{"kind":[]}}'), "an unexpected frame, of the kind dict"),
    "half a frame": (frame('{"kind":"message"}')[:-1], ""),
    "a promise": (LENGTHS.pack(20, 100_000), ""),
    "a promise of too much": (LENGTHS.pack(20, 1 << 30), "a frame of 20 + 1073741824 bytes"),
    "many frames": (frame("{}") * 1000, "an unexpected frame, None"),
    "an empty message": (message(""), "an unexpected frame, 'message'"),
    "no message": (message("[]"), "an invalid message: it is no message"),
    "a deep message": (message("[" * 50_000), "an invalid message: it is no message"),
    "a huge number": (
        message('{"kind":"Counts","fields":{"errors":' + "1" * 5000 + "}}"),
        "an invalid message: it is no message",
    ),
    "an unknown message": (message('{"kind":"No","fields":{}}'), "an invalid message"),
    "the note of an executor": (
        message('{"kind":"ExecutorNote","fields":{"text":"a"}}'),
        "an invalid message",
    ),
    "a message of the wrong kind": (
        message('{"kind":"Progress","fields":{"done":"x"}}'),
        "an invalid message: done is 'x'",
    ),
    "a message of another's": (
        frame(
            '{"kind":"message","execution_id":1,"attempt":1}',
            '{"kind":"Counts","fields":{"errors":5}}',
        ),
        "",
    ),
    "an early outcome": (frame('{"kind":"outcome"}', "{}"), "an unexpected frame, 'outcome'"),
    "an empty outcome": (RETURNED + frame('{"kind":"outcome"}'), "an unexpected frame, 'outcome'"),
    "half an outcome": (RETURNED + frame('{"kind":"outcome"}', "{}"), "an invalid end"),
    "two outcomes": (RETURNED + frame('{"kind":"outcome"}', "{}") * 2, "an invalid end"),
    "a second return": (RETURNED * 2, "an unexpected frame, 'returned'"),
    "a second beginning": (frame('{"kind":"begun","resident":1}'), "an unexpected frame, 'begun'"),
}


def test_garbage_in_the_stream_harms_its_run_only(hand: Hand, tmp_path: Path) -> None:
    release, server = tmp_path / "release", hand.server
    other = hand.start("wait_for", path=str(tmp_path / "other"), release=str(release))
    for name, (data, flaw) in GARBAGE.items():
        outcome = hand.run("write_into_stream", data=data.hex())
        if flaw:
            assert (outcome.status, outcome.error_category) == ("failed", "crash"), name
            assert outcome.error.startswith("The run broke its connection to the worker: "), name
            assert flaw in outcome.error, name
        else:
            assert outcome.result == "written" or "broke its connection" in outcome.error, name
    assert hand.run("answer", value=1).result == 1
    assert hand.server == server
    release.touch()
    assert hand.outcome_of(other).result == "released"
    assert hand.said[other] == []


@pytest.mark.long
def test_many_messages_of_one_run_slow_no_other(hand: Hand) -> None:
    """Each message is answered, and the run reads no answer."""
    counts = frame('{"kind":"message","number":1}', '{"kind":"Counts","fields":{"errors":5}}')
    flood = hand.start("write_into_stream", data=(counts * 200).hex(), times=1000)
    begun = time.monotonic()
    assert hand.run("answer", value=1).result == 1
    assert time.monotonic() - begun < 10
    outcome = hand.outcome_of(flood)
    assert "messages whose answers it does not read" in outcome.error


@pytest.mark.parametrize(("raises", "runs"), [(False, 1), (True, 3)])
def test_a_fork_does_not_answer_for_the_run(
    take_in_hand: TakeInHand, *, raises: bool, runs: int
) -> None:
    hand = take_in_hand(2, MAX_EXECUTIONS_PER_CHILD=runs, KILL_GRACE=0.3)
    assert hand.run("return_twice", raises=raises).result == "from the run"


@pytest.fixture
def small_group() -> Iterator[Path]:
    """Return a control group of the kernel's in which there is little memory."""
    name = f"scheduled-tasks-{os.getpid()}"
    own = {
        controllers: path
        for _, controllers, path in (
            line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()
        )
    }
    version_1 = Path("/sys/fs/cgroup/memory")
    root = version_1 if version_1.is_dir() else Path(f"/sys/fs/cgroup{own.get('', '')}")
    group = root / name
    limit = "memory.limit_in_bytes" if version_1.is_dir() else "memory.max"
    try:
        group.mkdir()
        (group / limit).write_text(str(40 << 20))
    except OSError as error:
        if group.is_dir():
            group.rmdir()
        pytest.skip(f"it takes root and control groups that can be written to: {error}")
    yield group
    group.rmdir()


@pytest.fixture
def hand_in_group(small_group: Path, take_in_hand: TakeInHand) -> Hand:
    """Return an executor whose runs are in the small group, as its fork server is."""
    hand = take_in_hand(2)
    hand.wait(lambda: len(hand.spares()) == 2)
    for pid in (hand.server.pid, *hand.spares()):
        (small_group / "cgroup.procs").write_text(str(pid))
    return hand


def test_a_run_killed_out_of_memory_says_so(hand_in_group: Hand) -> None:
    outcome = hand_in_group.run("fill_memory", megabytes=200)
    assert (outcome.status, outcome.error_category) == ("failed", "memory")
    assert outcome.error == "Killed by the kernel: the machine was out of memory."
    assert outcome.peak_memory_mb is not None
    assert 20 < outcome.peak_memory_mb < 100  # of the 200 that it wanted


def test_two_runs_out_of_memory_both_say_so(hand_in_group: Hand, tmp_path: Path) -> None:
    hand, path, go = hand_in_group, tmp_path / "pids", tmp_path / "go"
    runs = [hand.start("fill_memory", megabytes=200, path=str(path), go=str(go)) for _ in range(2)]
    pids = hand.pids(path, 2)
    hand.server.suspend()
    go.touch()
    hand.wait(lambda: not any(alive(pid) for pid in pids))
    hand.server.resume()
    assert [hand.outcome_of(number).error_category for number in runs] == ["memory", "memory"]


def test_a_later_kill_is_not_out_of_memory(hand_in_group: Hand, tmp_path: Path) -> None:
    hand = hand_in_group
    assert hand.run("fill_memory", megabytes=200).error_category == "memory"
    number = hand.start("write_pid", path=str(tmp_path / "pid"))
    os.kill(hand.pids(tmp_path / "pid")[0], signal.SIGKILL)
    assert hand.outcome_of(number).error_category == "crash"


def test_another_group_out_of_memory_explains_no_kill(
    hand_in_group: Hand, hand: Hand, tmp_path: Path
) -> None:
    number = hand.start("write_pid", path=str(tmp_path / "pid"))
    [pid] = hand.pids(tmp_path / "pid")
    assert hand_in_group.run("fill_memory", megabytes=200).error_category == "memory"
    os.kill(pid, signal.SIGKILL)
    assert hand.outcome_of(number).error_category == "crash"
