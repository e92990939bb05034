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
    LENGTHS,
    Channel,
    Decoder,
    Limits,
    encode,
    message_body,
    message_in,
    outcome_body,
    outcome_in,
    packed,
    unpacked,
)
from scheduled_tasks.runtime.messages import (
    Checkpoint,
    Counts,
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
headers = st.dictionaries(st.text().filter(lambda name: name != "body"), values, max_size=4)
frames = st.builds(
    lambda header, body: header | ({"body": body} if body else {}), headers, st.binary(max_size=9)
)
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
    assert all(isinstance(frame, dict) for frame in Decoder().feed(noise))


@pytest.mark.parametrize(
    "text",
    [
        b"[]",
        b"1",
        b"null",
        b"{",
        b"\xff",
        b"",
        b"[" * 100_000,
        b'{"a":' + b"1" * 5000 + b"}",
        b'{"body":1}',
    ],
)
def test_what_is_no_object_breaks_the_stream(text: bytes) -> None:
    decoder, good = Decoder(), encode({"kind": "good"})
    assert decoder.feed(good + LENGTHS.pack(len(text), 0) + text + good) == [{"kind": "good"}]
    assert decoder.flaw
    assert decoder.feed(good) == []


@pytest.mark.parametrize(("header", "body"), [(11, 0), (2, 21), (2**32 - 1, 2**32 - 1)])
def test_a_frame_that_is_too_long_is_refused(header: int, body: int) -> None:
    decoder = Decoder(Limits(header=10, body=20))
    assert decoder.feed(LENGTHS.pack(10, 20)) == []
    assert not decoder.flaw
    decoder = Decoder(Limits(header=10, body=20))
    assert decoder.feed(LENGTHS.pack(header, body)) == []
    assert decoder.flaw == f"a frame of {header} + {body} bytes"


@given(
    st.builds(
        Run,
        execution_id=st.integers(0),
        attempt=st.integers(1),
        task_name=st.text(),
        handler=st.text(),
        scheduled_for=moments,
        trigger=st.text(),
        payload=headers,
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
    assert outcome_in(outcome_body(outcome)) == outcome


@given(
    st.builds(LogLine, logged_at=moments, level=st.integers(), logger=st.text(), message=st.text())
    | st.builds(Progress, done=st.floats(allow_nan=False), total=st.none() | st.floats(0, 9))
    | st.builds(Checkpoint, value=values)
    | st.builds(Counts, processed=st.integers(), errors=st.integers())
)
def test_a_message_comes_out_as_it_went_in(message: Message) -> None:
    assert message_in(message_body(message)) == message


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
        {"kind": "Counts", "fields": {"errors": 1, "more": 1}},
        {"kind": "ExecutorNote", "fields": {"text": "a"}},
        {"kind": "LogLine", "fields": {"logged_at": 5}},
        {"kind": ["Counts"], "fields": {}},
    ],
    ids=str,
)
def test_what_is_no_message_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="it is no message"):
        message_in(json.dumps(given).encode())


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
