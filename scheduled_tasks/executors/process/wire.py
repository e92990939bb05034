"""Frames on a stream socket: JSON objects, each preceded by its length.

JSON and not pickle, because the worker reads what a run's process sends and must not trust it.
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
    Begun,
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

#: One encoder for all frames: creating one takes as long as encoding a short frame.
AS_JSON = json.JSONEncoder(separators=(",", ":")).encode

LENGTH = struct.Struct("!I")
#: No valid frame is longer: everything that is sent is cut to MAX_STORED_LENGTH before.
MAX_FRAME_BYTES = 1 << 28
#: The number of bytes that are read or written at once.
CHUNK_BYTES = 1 << 18

MESSAGE_CLASSES: dict[str, type[Any]] = {
    kind.__name__: kind
    for kind in (
        LogLine,
        Progress,
        Checkpoint,
        Counts,
        StartedOver,
        Begun,
        LeaseCheck,
        ExecutorNote,
    )
}


class BrokenStreamError(Exception):
    """Invalid data instead of a frame; nothing after it can be read."""


def encode(frame: Mapping[str, Any]) -> bytes:
    text = AS_JSON(frame).encode()
    return LENGTH.pack(len(text)) + text


class Decoder:
    """Receives bytes and returns complete frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Receive bytes. Return the frames that are complete now. Raise BrokenStreamError."""
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
    """A non-blocking stream socket: frames are sent as fast as the other side reads them."""

    def __init__(self, stream: socket.socket) -> None:
        self.stream = stream
        self.stream.setblocking(False)
        self.unsent = bytearray()
        self._decoder = Decoder()

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
        """Return the frames that have arrived, None if the other side is gone.

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
                # What was sent before the end is handled first; the next call returns None.
                return frames or None
            frames += self._decoder.feed(data)
            # Less than asked for: there is no more yet, and another call would only say so.
            if len(data) < CHUNK_BYTES:
                return frames

    def close(self) -> None:
        self.stream.close()


def holds_datetime(hint: Any) -> bool:
    return hint is datetime or datetime in get_args(hint)


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


def packed_message(message: Message) -> Frame:
    return {"kind": type(message).__name__, "fields": packed(message)}


def unpacked_message(given: Mapping[str, Any]) -> Message:
    """Return the message that ``packed_message`` was called with."""
    message: Message = unpacked(MESSAGE_CLASSES[given["kind"]], given["fields"])
    return message
