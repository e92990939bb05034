"""What runs say on their way to the worker: in order, all of it, and not more than it can take."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from scheduled_tasks.executors.base import MAX_UNWRITTEN_MESSAGES
from scheduled_tasks.executors.process.fork_server.selector import MAX_UNREAD_BYTES
from scheduled_tasks.runtime.messages import Checkpoint, Counts, LogLine, Progress
from tests.executors.conftest import TakeInHand
from tests.executors.processes_in_hand import Hand, pids_in
from tests.support.processes import LONG, alive, wait_until

#: A crash that was found so came once in two hundred runs, on a machine that was busy.
ASKED_RUNS = int(os.environ.get("ASKED_RUNS", "20"))
LEASE_LOST = "This worker no longer holds the execution."


def lines_of(hand: Hand, number: int) -> list[str]:
    return [said.message for said in hand.said[number] if isinstance(said, LogLine)]


@pytest.mark.django_db(transaction=True)
def test_messages_arrive_in_order_despite_a_rollback(hand: Hand) -> None:
    number = hand.start("tell", checkpoint={"page": 3})
    checkpoint = {"before": {"page": 3}, "attempt": 1}
    assert hand.outcome_of(number).result == {"checkpoint": checkpoint}
    *lines, progress, first, second, last = hand.said[number]
    assert lines_of(hand, number) == ["line 0", "line 1", "line 2", "from elsewhere"]
    *own, other = [(line.level, line.logger) for line in lines if isinstance(line, LogLine)]
    assert own == [(logging.INFO, "scheduled_tasks.run.one")] * 3
    assert other == (logging.WARNING, "elsewhere")
    assert progress == Progress(done=1, total=4, text="one of four")
    assert [first, second] == [Counts(processed=3, errors=1), Counts(processed=7, errors=1)]
    assert last == Checkpoint(value=checkpoint)


def test_an_async_handler_can_send_messages(hand: Hand) -> None:
    number = hand.start("tell_async")
    assert hand.outcome_of(number).result == "said"
    assert lines_of(hand, number) == ["from async"]
    assert hand.said[number][-1] == Checkpoint(value=[1, 2])


def test_a_checkpoint_is_written_when_assigned(hand: Hand, tmp_path: Path) -> None:
    path = tmp_path / "said"
    number = hand.start("leave_checkpoint", path=str(path))
    hand.wait_uncollected(hand.executor._messages)
    assert path.read_text().split() == ["asked"]
    assert hand.outcome_of(number).status == "success"
    assert path.read_text().split() == ["asked", "written"]


def test_a_refused_message_ends_the_run(hand: Hand, tmp_path: Path) -> None:
    path = tmp_path / "said"
    number = hand.start("keep_telling", path=str(path))
    hand.wait(lambda: len(hand.said[number]) > 3)
    hand.accepts = lambda sent: False
    outcome = hand.outcome_of(number)
    assert (outcome.status, outcome.error_category) == ("failed", "lost")
    assert outcome.error == LEASE_LOST
    assert path.read_text().split()[1:] == ["LeaseLost"]
    hand.accepts = lambda sent: True
    assert hand.run("answer", value=1).result == 1


def test_a_refused_checkpoint_raises_where_it_was_left(hand: Hand, tmp_path: Path) -> None:
    hand.accepts = lambda sent: False
    for handler in ("leave_checkpoint", "leave_checkpoint_async"):
        path = tmp_path / handler
        outcome = hand.run(handler, path=str(path))
        assert (outcome.error_category, outcome.error) == ("lost", LEASE_LOST)
        assert path.read_text().split() == ["asked", "LeaseLost"]


def test_stopping_a_run_that_switches_threads_is_safe(hand: Hand, tmp_path: Path) -> None:
    hand.accepts = lambda sent: False
    for number in range(ASKED_RUNS):
        outcome = hand.run("leave_checkpoint_async", path=str(tmp_path / str(number)))
        assert (outcome.error_category, outcome.error) == ("lost", LEASE_LOST)


def test_a_run_ignoring_a_refused_message_is_lost(take_in_hand: TakeInHand, tmp_path: Path) -> None:
    hand = take_in_hand(2, KILL_GRACE=2)
    hand.accepts = lambda sent: False
    path = tmp_path / "said"
    number = hand.start("say_and_swallow", path=str(path))
    loss = hand.loss_of(number)
    assert loss.charged
    assert path.read_text().count("caught") == 2
    assert not alive(pids_in(path)[0])


def test_another_run_is_not_refused_with_it(hand: Hand, tmp_path: Path) -> None:
    numbers = [hand.start("keep_telling", path=str(tmp_path / str(number))) for number in range(2)]
    hand.wait(lambda: all(len(hand.said[number]) > 3 for number in numbers))
    hand.accepts = lambda sent: sent.execution_id != numbers[0]
    assert hand.outcome_of(numbers[0]).error == LEASE_LOST
    said = len(hand.said[numbers[1]])
    hand.wait(lambda: len(hand.said[numbers[1]]) > said + 3)
    hand.accepts = lambda sent: False
    assert hand.outcome_of(numbers[1]).error == LEASE_LOST


def test_a_result_of_ten_megabytes_comes_back_cut(hand: Hand) -> None:
    result = hand.run("large_answer", megabytes=10).result
    assert len(result) <= 100_000
    assert "characters cut" in result
    assert result.startswith("xxx")


class Drain(threading.Thread):
    """Reads a pipe to its end and counts."""

    def __init__(self) -> None:
        super().__init__()
        self.end, self.pipe = os.pipe()
        self.count = 0

    def run(self) -> None:
        while data := os.read(self.end, 1 << 20):
            self.count += len(data)
        os.close(self.end)

    @contextmanager
    def as_stdout(self) -> Iterator[None]:
        """Let processes that are started inside write into it."""
        before = os.dup(1)
        os.dup2(self.pipe, 1)
        os.close(self.pipe)
        try:
            yield
        finally:
            os.dup2(before, 1)
            os.close(before)


@pytest.mark.long
def test_a_flood_on_standard_output_harms_nothing(take_in_hand: TakeInHand) -> None:
    drain = Drain()
    drain.start()
    with drain.as_stdout():
        hand = take_in_hand(2)
    flood = hand.start("flood", megabytes=64)
    assert hand.run("answer", value=1).result == 1
    assert hand.outcome_of(flood).status == "success"
    hand.executor.close()
    drain.join(LONG)
    assert drain.count == 0, "it is in the log, and nowhere else"
    assert 10_000 < len(lines_of(hand, flood)) < 10_200


@pytest.mark.long
def test_lines_the_worker_has_not_read_are_kept(
    take_in_hand: TakeInHand, monkeypatch: pytest.MonkeyPatch
) -> None:
    count, width = 12_000, 1_000
    monkeypatch.setenv("TEST_OPTIONS", f'{{"MAX_LOG_LINES": {count}}}')
    hand = take_in_hand(2)
    server = hand.server
    before = server.memory_info().rss
    number = hand.start("log_many", count=count, width=width)
    wait_until(lambda: hand.executor.backlogged, within=LONG)
    most, end = 0, time.monotonic() + 2
    while time.monotonic() < end:
        most = max(most, server.memory_info().rss - before)
        assert hand.executor._messages.qsize() < 2 * MAX_UNWRITTEN_MESSAGES
        time.sleep(0.05)
    # What is unread, and a copy of it while the buffer grows; all lines are 12 MB.
    assert most < 4 * MAX_UNREAD_BYTES
    assert hand.outcome_of(number).result == count
    assert lines_of(hand, number) == [f"{line:{width}}" for line in range(count)]


def test_forks_and_threads_do_not_garble_logs(hand: Hand) -> None:
    count = 500
    number = hand.start("log_from_all_sides", count=count)
    assert hand.outcome_of(number).status == "success"
    assert not [said for said in hand.said[number] if not isinstance(said, LogLine)]
    lines = lines_of(hand, number)
    for name in ("main", "thread 0", "thread 1", "thread 2"):
        own = [line for line in lines if line.startswith(f"{name} ")]
        assert own == [f"{name} {line}" for line in range(count)]
    assert len(lines) == 4 * count, "what a forked process says is nobody's"


def test_a_line_that_cannot_be_formatted_fails_nothing(hand: Hand) -> None:
    number = hand.start("log_oddly")
    assert hand.outcome_of(number).status == "success"
    first, second, third = lines_of(hand, number)
    assert (first, third) == ("a\N{REPLACEMENT CHARACTER}b?", "after")
    assert "could not be formatted" in second


def test_refused_messages_do_not_interrupt_cleaning_up(hand: Hand, tmp_path: Path) -> None:
    path = tmp_path / "said"
    hand.accepts = lambda sent: False
    number = hand.start("say_much_and_clean_up", path=str(path))
    assert hand.outcome_of(number).error == LEASE_LOST
    assert path.read_text().split("\n") == ["LeaseLost", "cleaned up", ""]
