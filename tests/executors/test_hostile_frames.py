"""Frames that hypothesis invents, written into the connection of a real run.

FRAMES sets the number of examples of the long form.
"""

from __future__ import annotations

import json
import os
import time
from typing import Any

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scheduled_tasks.executors.process.wire import LENGTHS
from scheduled_tasks.runtime.messages import Message
from scheduled_tasks.runtime.validation import KINDS
from tests.executors.processes_in_hand import Hand

FRAMES = int(os.environ.get("FRAMES", "300"))
#: What a run that has sent anything may cost its fork server.
MAX_CPU_SECONDS, MAX_GROWTH_BYTES = 1.0, 64 << 20

numbers = st.integers() | st.floats() | st.sampled_from([2**63, -(2**63), 10**400, -1, 1e308])
values = st.recursive(
    st.none() | st.booleans() | numbers | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=8,
)
names = [kind.__name__ for kind in KINDS]
fields = st.sampled_from(sorted({name for kind in KINDS.values() for name in kind} | {"value"}))
reports = st.fixed_dictionaries(
    {"kind": st.sampled_from(names) | values, "fields": st.dictionaries(fields, values) | values}
)
headers = st.fixed_dictionaries(
    {"kind": st.sampled_from(["begun", "message", "returned", "outcome"]) | values},
    optional={"number": values, "resident": values, "execution_id": values, "attempt": values},
)
bodies = st.binary(max_size=40) | (reports | st.dictionaries(fields, values) | values).map(
    lambda value: json.dumps(value).encode()
)


def frame(header: Any, body: bytes) -> bytes:
    text = json.dumps(header).encode()
    return LENGTHS.pack(len(text), len(body)) + text + body


streams = st.lists(st.builds(frame, headers, bodies) | st.binary(max_size=30), max_size=6)


def check(hand: Hand, stream: list[bytes], times: int) -> None:
    """Write into a run's connection, and see that its server and its neighbours are well."""
    server = hand.server
    before, resident = sum(server.cpu_times()[:2]), server.memory_info().rss
    begun = time.monotonic()
    outcome = hand.run("write_into_stream", data=b"".join(stream).hex(), times=times)
    assert outcome.status in ("success", "failed", "partial", "skipped", "cancelled")
    assert outcome.started_at <= outcome.finished_at
    assert hand.run("answer", value=1).result == 1
    assert time.monotonic() - begun < 30
    assert psutil.pid_exists(server.pid)
    assert hand.server.pid == server.pid
    assert sum(server.cpu_times()[:2]) - before < MAX_CPU_SECONDS
    assert server.memory_info().rss - resident < MAX_GROWTH_BYTES
    for said in hand.said.values():
        assert all(isinstance(message, Message) for message in said)


one_hand = (HealthCheck.function_scoped_fixture, HealthCheck.too_slow)


@settings(max_examples=15, suppress_health_check=one_hand)
@given(stream=streams, times=st.sampled_from([1, 1, 50]))
def test_no_frames_harm_the_server_or_others(hand: Hand, stream: list[bytes], times: int) -> None:
    check(hand, stream, times)


@pytest.mark.long
@settings(max_examples=FRAMES, suppress_health_check=one_hand)
@given(stream=streams, times=st.sampled_from([1, 1, 50, 2000]))
def test_many_frames_harm_nobody(hand: Hand, stream: list[bytes], times: int) -> None:
    check(hand, stream, times)
