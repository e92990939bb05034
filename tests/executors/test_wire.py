"""Frames: whole or not at all, whatever comes in and in whatever pieces."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduled_tasks.executors.process.wire import (
    CHUNK_BYTES,
    LENGTH,
    MAX_FRAME_BYTES,
    BrokenStreamError,
    Channel,
    Decoder,
    encode,
    packed,
    packed_message,
    unpacked,
    unpacked_message,
)
from scheduled_tasks.runtime.messages import (
    Checkpoint,
    Counts,
    ExecutorNote,
    LogLine,
    Message,
    Progress,
)
from scheduled_tasks.runtime.runs import Outcome, Run
from tests.executors.runs import NOW, run_of

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
frames = st.dictionaries(st.text(), values, max_size=4)
moments = st.datetimes(timezones=st.just(UTC))


def split(data: bytes, places: list[int]) -> Iterator[bytes]:
    """Return data in pieces."""
    begin = 0
    for place in sorted(place % (len(data) + 1) for place in places):
        yield data[begin:place]
        begin = place
    yield data[begin:]


@given(st.lists(frames, max_size=4), st.lists(st.integers(0, 10_000), max_size=6))
def test_frames_come_out_whole_whatever_the_pieces_are(
    sent: list[dict[str, Any]], places: list[int]
) -> None:
    decoder = Decoder()
    data = b"".join(map(encode, sent))
    assert [frame for piece in split(data, places) for frame in decoder.feed(piece)] == sent


@given(st.binary(max_size=200))
def test_noise_is_nothing_or_a_broken_stream(noise: bytes) -> None:
    decoder = Decoder()
    try:
        found = list(decoder.feed(noise))
    except BrokenStreamError:
        return
    assert all(isinstance(frame, dict) for frame in found)


@pytest.mark.parametrize(
    "text",
    [b"[]", b"1", b"null", b"{", b"\xff", b"", b"[" * 100_000, b'{"a":' + b"1" * 5000 + b"}"],
)
def test_what_is_no_object_breaks_the_stream(text: bytes) -> None:
    with pytest.raises(BrokenStreamError):
        list(Decoder().feed(LENGTH.pack(len(text)) + text))


def test_a_frame_that_is_too_long_is_refused() -> None:
    assert list(Decoder().feed(LENGTH.pack(MAX_FRAME_BYTES))) == []
    with pytest.raises(BrokenStreamError, match=str(MAX_FRAME_BYTES + 1)):
        list(Decoder().feed(LENGTH.pack(MAX_FRAME_BYTES + 1)))


@given(
    st.builds(
        Run,
        execution_id=st.integers(0),
        attempt=st.integers(1),
        task_name=st.text(),
        handler=st.text(),
        scheduled_for=moments,
        trigger=st.text(),
        payload=frames,
        checkpoint=values,
        timeout=st.none() | st.floats(0, 1e9),
        memory_limit_mb=st.none() | st.integers(1),
    )
)
def test_a_run_comes_out_as_it_went_in(run: Run) -> None:
    assert unpacked(Run, json.loads(json.dumps(packed(run)))) == run


@given(
    st.builds(
        Outcome,
        execution_id=st.integers(0),
        attempt=st.integers(1),
        status=st.text(),
        started_at=moments,
        finished_at=moments,
        duration_ms=st.integers(0),
        result=values,
        error=st.text(),
        peak_memory_mb=st.none() | st.integers(0),
    )
)
def test_an_outcome_comes_out_as_it_went_in(outcome: Outcome) -> None:
    assert unpacked(Outcome, json.loads(json.dumps(packed(outcome)))) == outcome


@given(
    st.builds(LogLine, logged_at=moments, level=st.integers(), logger=st.text(), message=st.text())
    | st.builds(Progress, done=st.floats(allow_nan=False), total=st.none() | st.floats(0, 9))
    | st.builds(Checkpoint, value=values)
    | st.builds(Counts, processed=st.integers(), errors=st.integers())
    | st.builds(ExecutorNote, text=st.text())
)
def test_a_message_comes_out_as_it_went_in(message: Message) -> None:
    assert unpacked_message(json.loads(json.dumps(packed_message(message)))) == message


def test_a_moment_keeps_its_instant_in_any_zone() -> None:
    moment = datetime(2026, 3, 1, tzinfo=timezone(timedelta(hours=-9, minutes=-30)))
    run = replace(run_of(1), scheduled_for=moment)
    assert unpacked(Run, json.loads(json.dumps(packed(run)))).scheduled_for == moment


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"kind": "LogLine"},
        {"kind": "Nothing", "fields": {}},
        {"kind": "ExecutorNote", "fields": {"text": "a", "more": 1}},
        {"kind": "LogLine", "fields": {"logged_at": 5}},
        {"kind": ["ExecutorNote"], "fields": {}},
    ],
    ids=str,
)
def test_what_is_no_message_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        unpacked_message(given)


@pytest.fixture
def channels() -> Iterator[tuple[Channel, Channel]]:
    """Return the two ends of a channel."""
    ours, theirs = map(Channel, socket.socketpair())
    yield ours, theirs
    ours.close()
    theirs.close()


def test_a_channel_never_waits(channels: tuple[Channel, Channel]) -> None:
    ours, theirs = channels
    assert theirs.receive() == []
    for number in range(50):
        ours.send({"number": number, "text": "x" * 100_000})
    ours.flush()
    assert ours.unsent, "the other side has not taken it all"
    received: list[dict[str, Any]] = []
    while len(received) < 50:
        received += theirs.receive() or []
        ours.flush()
    assert [frame["number"] for frame in received] == list(range(50))
    assert not ours.unsent


def test_a_channel_reports_that_its_peer_is_gone(channels: tuple[Channel, Channel]) -> None:
    ours, theirs = channels
    theirs.send({"last": NOW.isoformat()})
    theirs.flush()
    theirs.close()
    assert ours.receive() == [{"last": NOW.isoformat()}]
    assert ours.receive() is None
    ours.send({})
    with pytest.raises(OSError, match="pipe"):
        ours.flush()


def test_a_frame_of_several_reads_arrives_whole() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        for end, option in ((theirs, socket.SO_SNDBUF), (ours, socket.SO_RCVBUF)):
            end.setsockopt(socket.SOL_SOCKET, option, 4 << 20)
        text = "x" * (CHUNK_BYTES + 10)
        theirs.setblocking(False)
        data = encode({"text": text})
        sent = theirs.send(data)
        if sent < len(data):
            pytest.skip("this system gives sockets no more room than one read takes")
        assert Channel(ours).receive() == [{"text": text}]
