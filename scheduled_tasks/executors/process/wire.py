"""Frames on a stream socket: a header, which is a JSON object, and a body of any bytes.

JSON and not pickle, because the worker reads what a run's process sends and must not trust it. What
a run reports is in the body, which the fork server passes on without reading it: nothing that a run
writes takes the server any time.
"""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, TypeVar, get_args, get_type_hints

from scheduled_tasks.conf import app_settings
from scheduled_tasks.runtime.messages import (
    Begun,
    Checkpoint,
    Counts,
    LeaseCheck,
    LogLine,
    Message,
    Progress,
    StartedOver,
)
from scheduled_tasks.runtime.runs import Outcome, Run

#: The header of a frame. ``body`` is not part of the header: it holds the bytes of the body.
Frame = dict[str, Any]
Value = TypeVar("Value")

#: One encoder for all frames: creating one takes as long as encoding a short frame.
AS_JSON = json.JSONEncoder(separators=(",", ":")).encode

#: The lengths of the header and of the body, before both.
LENGTHS = struct.Struct("!II")
#: The number of bytes that are read or written at once, and how often one call reads.
CHUNK_BYTES, MAX_READS = 1 << 18, 4
#: JSON has at most this many bytes for a character: two escapes like \\ud83d.
MAX_BYTES_PER_CHARACTER = 12
#: What a report may have besides its texts: names of fields, numbers, short texts.
MAX_EXTRA_BYTES = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The longest header and body that are accepted, in bytes."""

    header: int
    body: int


#: Between the worker and its fork server, which trust each other.
TRUSTED = Limits(header=1 << 28, body=1 << 28)


def limits_of_run() -> Limits:
    """Return what a run's process may send: its texts are cut before they are sent."""
    longest = 3 * app_settings.MAX_STORED_LENGTH + app_settings.MAX_LOG_LINE_LENGTH
    return Limits(header=256, body=MAX_BYTES_PER_CHARACTER * longest + MAX_EXTRA_BYTES)


def encode(frame: Mapping[str, Any]) -> bytes:
    header = AS_JSON({name: item for name, item in frame.items() if name != "body"}).encode()
    body: bytes = frame.get("body", b"")
    return LENGTHS.pack(len(header), len(body)) + header + body


class Decoder:
    """Receives bytes and returns complete frames.

    ``flaw`` says what is wrong with the bytes, "" as long as nothing is. Nothing that follows a
    flaw can be read.
    """

    def __init__(self, limits: Limits = TRUSTED) -> None:
        self.limits = limits
        self.flaw = ""
        self._buffer = bytearray()

    @property
    def incomplete(self) -> bool:
        """Whether a frame has arrived in part."""
        return bool(self._buffer)

    def feed(self, data: bytes) -> list[Frame]:
        """Receive bytes. Return the frames that are complete now."""
        frames: list[Frame] = []
        if not self.flaw:
            self._buffer += data
        while not self.flaw and len(self._buffer) >= LENGTHS.size:
            header, body = LENGTHS.unpack_from(self._buffer)
            if header > self.limits.header or body > self.limits.body:
                self.flaw = f"a frame of {header} + {body} bytes"
                break
            begin, end = LENGTHS.size + header, LENGTHS.size + header + body
            if len(self._buffer) < end:
                break
            with memoryview(self._buffer) as view:
                text, rest = bytes(view[LENGTHS.size : begin]), bytes(view[begin:end])
            del self._buffer[:end]
            try:
                frames.append(loaded(text) | ({"body": rest} if rest else {}))
            except ValueError as error:
                self.flaw = str(error)
        return frames


def loaded(text: bytes) -> Frame:
    """Return the JSON object in a text. Raise ValueError with what it is instead."""
    try:
        frame = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("no JSON") from None
    if not isinstance(frame, dict) or "body" in frame:
        raise ValueError("no JSON object with a body of its own")
    return frame


class Channel:
    """A non-blocking stream socket: frames are sent as fast as the other side reads them."""

    def __init__(self, stream: socket.socket, limits: Limits = TRUSTED) -> None:
        self.stream = stream
        self.stream.setblocking(False)
        self.unsent = bytearray()
        self.decoder = Decoder(limits)

    def fileno(self) -> int:
        return self.stream.fileno()

    def send(self, frame: Mapping[str, Any]) -> None:
        """Append a frame to the unsent bytes; ``flush`` sends them."""
        self.unsent += encode(frame)

    def flush(self) -> None:
        """Send what the other side accepts now. Raise OSError if it is gone."""
        with suppress(BlockingIOError):
            while self.unsent:
                sent = self.stream.send(memoryview(self.unsent)[:CHUNK_BYTES])
                del self.unsent[:sent]

    def receive(self) -> list[Frame] | None:
        """Return frames that have arrived, None if the other side is gone.

        ``decoder.flaw`` says why no other frames will come.
        """
        frames: list[Frame] = []
        # Not without end: the other side may write as fast as this one reads.
        for _ in range(MAX_READS):
            try:
                data = self.stream.recv(CHUNK_BYTES)
            except BlockingIOError:
                break
            except ConnectionError:
                data = b""
            if not data:
                # What was sent before the end is handled first; the next call returns None.
                return frames or None
            frames += self.decoder.feed(data)
            # Less than asked for: there is no more yet, and another call would only say so.
            if len(data) < CHUNK_BYTES:
                break
        return frames

    def close(self) -> None:
        self.stream.close()


def holds_datetime(hint: Any) -> bool:
    return hint is datetime or datetime in get_args(hint)


#: What a run may send while it is in progress. The notes of executors are not among it.
MESSAGE_CLASSES: dict[str, type[Any]] = {
    kind.__name__: kind
    for kind in (LogLine, Progress, Checkpoint, Counts, StartedOver, Begun, LeaseCheck)
}
#: The fields of each class that may hold a datetime.
DATETIME_FIELDS: dict[Any, frozenset[str]] = {
    kind: frozenset(name for name, hint in get_type_hints(kind).items() if holds_datetime(hint))
    for kind in (Run, Outcome, *MESSAGE_CLASSES.values())
}


def packed(value: Run | Outcome | Message) -> Frame:
    """Return the fields of a value as JSON."""
    return {
        name: item.isoformat() if isinstance(item, datetime) else item
        for name, item in ((field.name, getattr(value, field.name)) for field in fields(value))
    }


def unpacked(kind: type[Value], given: Mapping[str, Any]) -> Value:
    """Return the value that ``packed`` was called with."""
    moments = DATETIME_FIELDS[kind]
    build: Any = kind
    value: Value = build(
        **{
            name: datetime.fromisoformat(item) if name in moments and item is not None else item
            for name, item in given.items()
        }
    )
    return value


def outcome_body(outcome: Outcome) -> bytes:
    return AS_JSON(packed(outcome)).encode()


def outcome_in(body: bytes) -> Outcome:
    """Return the outcome that ``outcome_body`` was called with. Raise ValueError for any other."""
    try:
        return unpacked(Outcome, loaded(body))
    except Exception as error:  # noqa: BLE001 -- whatever is wrong with what a run has sent
        raise ValueError(f"it is no outcome ({type(error).__name__})") from None


def message_body(message: Message) -> bytes:
    return AS_JSON({"kind": type(message).__name__, "fields": packed(message)}).encode()


def message_in(body: bytes) -> Message:
    """Return the message that ``message_body`` was called with. Raise ValueError for any other."""
    try:
        given = loaded(body)
        message: Message = unpacked(MESSAGE_CLASSES[given["kind"]], given["fields"])
    except Exception as error:  # noqa: BLE001 -- whatever is wrong with what a run has sent
        raise ValueError(f"it is no message ({type(error).__name__})") from None
    return message
