"""Frames on a stream socket: JSON objects, each after its length.

JSON and not pickle: what a run's process sends is read by the worker, which must not have to
trust it.
"""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import fields
from datetime import datetime
from typing import Any, TypeVar, get_args, get_type_hints

from scheduled_tasks.runtime.messages import (
    Checkpoint,
    Counts,
    ExecutorNote,
    LeaseCheck,
    LogLine,
    Message,
    Progress,
    StartedOver,
)
from scheduled_tasks.runtime.runs import Outcome, Run

Frame = dict[str, Any]
Value = TypeVar("Value")

#: One encoder for all frames: to make one takes as long as to encode a short frame.
AS_JSON = json.JSONEncoder(separators=(",", ":")).encode

LENGTH = struct.Struct("!I")
#: No frame is longer, in bytes: all that is sent is cut to MAX_STORED_LENGTH before.
MAX_FRAME_BYTES = 1 << 28
#: Bytes read or written at once.
CHUNK_BYTES = 1 << 18

MESSAGES: dict[str, type[Any]] = {
    kind.__name__: kind
    for kind in (LogLine, Progress, Checkpoint, Counts, StartedOver, LeaseCheck, ExecutorNote)
}


class BrokenStreamError(Exception):
    """What came in is no frame; the other side is broken, and nothing after it can be read."""


def encode(frame: Mapping[str, Any]) -> bytes:
    """Return a frame as it is sent."""
    text = AS_JSON(frame).encode()
    return LENGTH.pack(len(text)) + text


class Decoder:
    """Takes bytes as they come in and gives back whole frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Take bytes; return the frames that are whole now. Raise BrokenStreamError."""
        self._buffer += data
        while len(self._buffer) >= LENGTH.size:
            (length,) = LENGTH.unpack_from(self._buffer)
            if length > MAX_FRAME_BYTES:
                raise BrokenStreamError(f"a frame of {length} bytes")
            end = LENGTH.size + length
            if len(self._buffer) < end:
                return
            text = bytes(self._buffer[LENGTH.size : end])
            del self._buffer[:end]
            yield loaded(text)


def loaded(text: bytes) -> Frame:
    try:
        frame = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BrokenStreamError(str(error)) from None
    if not isinstance(frame, dict):
        raise BrokenStreamError(f"a {type(frame).__name__} instead of an object")
    return frame


class Channel:
    """A stream socket that never waits: frames go out as fast as the other side takes them."""

    def __init__(self, stream: socket.socket) -> None:
        self.stream = stream
        self.stream.setblocking(False)
        self.unsent = bytearray()
        self._decoder = Decoder()

    def fileno(self) -> int:
        """Return the descriptor, for a selector."""
        return self.stream.fileno()

    def send(self, frame: Mapping[str, Any]) -> None:
        """Put a frame behind what is unsent; ``flush`` sends it."""
        self.unsent += encode(frame)

    def flush(self) -> None:
        """Send what the other side takes now. Raise OSError where it is gone."""
        with suppress(BlockingIOError):
            while self.unsent:
                sent = self.stream.send(memoryview(self.unsent)[:CHUNK_BYTES])
                del self.unsent[:sent]

    def receive(self) -> list[Frame] | None:
        """Return the frames that have come in, None once the other side is gone.

        Raise BrokenStreamError.
        """
        frames: list[Frame] = []
        while True:
            try:
                data = self.stream.recv(CHUNK_BYTES)
            except BlockingIOError:
                return frames
            except ConnectionError:
                data = b""
            if not data:
                return frames or None
            frames += self._decoder.feed(data)
            if len(data) < CHUNK_BYTES:
                return frames

    def close(self) -> None:
        """Close the socket in this process."""
        self.stream.close()


def holds_moment(hint: Any) -> bool:
    return hint is datetime or datetime in get_args(hint)


#: The fields of each kind that hold a moment, or may.
MOMENTS: dict[Any, frozenset[str]] = {
    kind: frozenset(name for name, hint in get_type_hints(kind).items() if holds_moment(hint))
    for kind in (Run, Outcome, *MESSAGES.values())
}


def packed(value: Run | Outcome | Message) -> Frame:
    """Return a value's fields as JSON can hold them."""
    return {
        name: item.isoformat() if isinstance(item, datetime) else item
        for name, item in ((field.name, getattr(value, field.name)) for field in fields(value))
    }


def unpacked(kind: type[Value], given: Mapping[str, Any]) -> Value:
    """Build a value from what ``packed`` returned."""
    moments = MOMENTS[kind]
    build: Any = kind
    value: Value = build(
        **{
            name: datetime.fromisoformat(item) if name in moments and item is not None else item
            for name, item in given.items()
        }
    )
    return value


def packed_message(message: Message) -> Frame:
    """Return a message with its kind."""
    return {"kind": type(message).__name__, "fields": packed(message)}


def unpacked_message(given: Mapping[str, Any]) -> Message:
    """Build a message from what ``packed_message`` returned."""
    message: Message = unpacked(MESSAGES[given["kind"]], given["fields"])
    return message
