"""When a fork server is taken for hung: by what it owes, not by one long absence."""

from __future__ import annotations

import pytest

from scheduled_tasks.executors.process.fork_server.liveness import (
    LOAD_TIMEOUT_SECONDS,
    LivenessMonitor,
)

LEASE = 60.0


class Watched:
    """A monitor whose clock moves only when told to."""

    def __init__(self, *, loaded: bool = True) -> None:
        self.now = 0.0
        self.liveness = LivenessMonitor(monotonic=lambda: self.now)
        if loaded:
            self.liveness.heard_from()

    def after(self, seconds: float, *, receiving: bool = True, lease: float = LEASE) -> str:
        """Look after so many seconds."""
        self.now += seconds
        return self.liveness.check(lease=lease, receiving=receiving)


@pytest.fixture
def watched() -> Watched:
    return Watched()


def test_a_server_silent_for_a_whole_lease_hangs(watched: Watched) -> None:
    for _ in range(6):
        watched.liveness.expect_echo()
        assert watched.after(9) == ""
    assert watched.after(6) == "it has echoed none of 6 leases in 1 minute"


def test_a_server_that_echoes_does_not_hang(watched: Watched) -> None:
    for turn in range(100):
        watched.liveness.expect_echo()
        if turn % 5 == 0:
            watched.liveness.heard_from()
            watched.liveness.expect_echo()
        assert watched.after(10) == ""


def test_one_that_is_asked_nothing_owes_nothing(watched: Watched) -> None:
    """A worker whose database is away does not renew its lease."""
    assert [watched.after(10) for _ in range(100)] == [""] * 100
    watched.liveness.expect_echo()
    assert [watched.after(10) for _ in range(100)] == [""] * 100, "one may be on its way"


def test_a_frozen_workers_time_counts_as_one_look(
    watched: Watched,
) -> None:
    watched.liveness.expect_echo()
    watched.liveness.expect_echo()
    for _ in range(3):
        assert watched.after(1000) == ""
    assert watched.after(0.1) == "", "what it had said meanwhile may just not be read"
    watched.liveness.heard_from()
    watched.liveness.expect_echo()
    watched.liveness.expect_echo()
    assert [watched.after(1000) == "" for _ in range(4)] == [True, True, True, False]


@pytest.mark.parametrize("loaded", [True, False])
def test_nothing_is_held_against_it_while_nobody_receiving(*, loaded: bool) -> None:
    watched = Watched(loaded=loaded)
    for _ in range(100):
        watched.liveness.expect_echo()
        assert watched.after(10, receiving=False) == ""
    assert watched.after(10) == ""


def test_a_server_that_does_not_load_hangs() -> None:
    for lease in (1.5, 3600):
        watched = Watched(loaded=False)
        for _ in range(3):
            watched.liveness.expect_echo()
            assert watched.after(LOAD_TIMEOUT_SECONDS / 4, lease=lease) == ""
        assert (
            watched.after(LOAD_TIMEOUT_SECONDS / 4, lease=lease)
            == "it did not load within 2 minutes"
        )


def test_one_that_has_loaded_in_time_begins_anew() -> None:
    watched = Watched(loaded=False)
    watched.after(29)
    watched.liveness.expect_echo()
    watched.liveness.heard_from()
    assert [watched.after(10) for _ in range(100)] == [""] * 100
