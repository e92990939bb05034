"""Exceptions as text, much as Python prints them, but never more than is kept of them.

A message may be huge, a chain of causes long, a group large, and any method of an exception broken.
Each message is made once and cut at once. What is left out is counted.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Sequence
from textwrap import indent
from types import TracebackType
from typing import Any

from scheduled_tasks.runtime.bounded_repr import own_text
from scheduled_tasks.runtime.sanitizing import redacted_text
from scheduled_tasks.runtime.wording import counted

#: Exceptions that are shown: of one chain, of one group, and of everything together.
MAX_CHAIN, MAX_GROUP, MAX_EXCEPTIONS = 20, 15, 100
#: Exceptions of one chain that are counted.
MAX_COUNTED = 1_000_000
#: Frames of one exception that are shown, half of them the outermost, half the innermost.
MAX_FRAMES = 1_000
MAX_NOTES = 20
#: The most characters of a message or a note, and of a line of source code.
MAX_MESSAGE_LENGTH, MAX_SOURCE_LENGTH = 20_000, 2_000

CAUSE = "\nThe above exception was the direct cause of the following exception:\n\n"
CONTEXT = "\nDuring handling of the above exception, another exception occurred:\n\n"


def describe(error: BaseException) -> str:
    """Return the class and the message of an exception, and its notes."""
    return f"{place_of_syntax_error(error)}{name_of(error)}{message_of(error)}{notes_of(error)}"


def format_error(error: BaseException, frames: TracebackType | None) -> str:
    """Return an exception with its traceback, after those that led to it."""
    return "".join(Formatter().chain(error, frames))


class Formatter:
    """Formats one exception and what belongs to it, up to a number of exceptions."""

    def __init__(self) -> None:
        self._left = MAX_EXCEPTIONS

    def chain(self, error: BaseException, frames: TracebackType | None) -> Iterator[str]:
        """Yield an exception, after those that led to it, the oldest first."""
        chain, omitted = led_to(error)
        for number, (each, link) in enumerate(reversed(chain)):
            if self._left <= 0:
                yield "… more exceptions are not shown …\n"
                return
            self._left -= 1
            yield from self._one(each, frames if each is error else each.__traceback__)
            if omitted and number == 0:
                yield f"\n… {counted(omitted, 'exception')} in between not shown …\n"
            yield link

    def _one(self, error: BaseException, frames: TracebackType | None) -> Iterator[str]:
        if frames is not None:
            group = "Exception Group " if isinstance(error, BaseExceptionGroup) else ""
            yield f"{group}Traceback (most recent call last):\n"
            yield from format_frames(frames)
        yield f"{describe(error)}\n"
        if isinstance(error, BaseExceptionGroup):
            # Not what a class derived from it says: that may have no end.
            yield from self._group(vars(BaseExceptionGroup)["exceptions"].__get__(error))

    def _group(self, errors: tuple[BaseException, ...]) -> Iterator[str]:
        shown = 0
        for error in errors[:MAX_GROUP]:
            if self._left <= 0:
                break
            shown += 1
            yield f"  +---------------- {shown} ----------------\n"
            yield indent("".join(self.chain(error, error.__traceback__)), "  | ", lambda _: True)
        if shown < len(errors):
            yield f"  +---------------- and {len(errors) - shown} more\n"


def led_to(error: BaseException) -> tuple[list[tuple[BaseException, str]], int]:
    """Return an exception and those that led to it, and how many of them were left out.

    The newest come first, each with the sentence that links it to the one before it.
    """
    chain: list[tuple[BaseException, str]] = []
    seen: set[int] = set()
    earlier: BaseException | None = error
    link = ""
    while earlier is not None and id(earlier) not in seen and len(chain) < MAX_COUNTED:
        seen.add(id(earlier))
        chain.append((earlier, link))
        if earlier.__cause__ is not None:
            earlier, link = earlier.__cause__, CAUSE
        else:
            earlier, link = None if earlier.__suppress_context__ else earlier.__context__, CONTEXT
    omitted = max(len(chain) - MAX_CHAIN, 0)
    return chain[: MAX_CHAIN - 1] + chain[MAX_CHAIN - 1 :][-1:], omitted


def format_frames(frames: TracebackType) -> Iterator[str]:
    """Yield the frames of a traceback; those of very many are left out."""
    omitted = count_of(frames) - MAX_FRAMES
    if omitted <= 0:
        shown = traceback.format_tb(frames)
    else:
        shown = traceback.format_tb(frames, MAX_FRAMES // 2)
        shown.append(f"  … {counted(omitted, 'frame')} not shown …\n")
        shown += traceback.format_tb(frames, -(MAX_FRAMES // 2))
    for frame in shown:
        # Without secrets before it is cut: a password in an address ends at its "@".
        long = len(frame) > MAX_SOURCE_LENGTH
        yield f"{redacted_text(frame, limit=MAX_SOURCE_LENGTH)}\n" if long else frame


def count_of(frames: TracebackType | None) -> int:
    count = 0
    while frames is not None:
        count, frames = count + 1, frames.tb_next
    return count


def name_of(error: BaseException) -> str:
    module, name = type(error).__module__, str(type(error).__qualname__)
    if module in ("__main__", "builtins"):
        return name
    return f"{module}.{name}" if isinstance(module, str) else name


def message_of(error: BaseException) -> str:
    """Return the message with a colon before it; "" if it has none."""
    try:
        message = str(error.msg) if isinstance(error, SyntaxError) else str(error)
    except BaseException as broken:  # noqa: BLE001 -- an exception may be as broken as any object
        return f" (its text cannot be shown: {type(broken).__name__})"
    return f": {redacted_text(message, limit=MAX_MESSAGE_LENGTH)}" if message else ""


def place_of_syntax_error(error: BaseException) -> str:
    """Return where a syntax error is; "" for any other exception."""
    if not isinstance(error, SyntaxError) or error.lineno is None:
        return ""
    place = f'  File "{error.filename or "<string>"}", line {error.lineno}\n'
    line = error.text.strip() if isinstance(error.text, str) else ""
    line = redacted_text(line, limit=MAX_SOURCE_LENGTH)
    return f"{place}    {line}\n" if line else place


def notes_of(error: BaseException) -> str:
    notes = first_of(getattr(error, "__notes__", None), MAX_NOTES)
    texts = (redacted_text(own_text(str, note), limit=MAX_MESSAGE_LENGTH) for note in notes)
    return "".join(f"\n{text}" for text in texts)


def first_of(items: Any, count: int) -> Sequence[Any]:
    """Return the first items of a list or tuple; none of anything else."""
    for kind in (list, tuple):
        if issubclass(type(items), kind):
            # Not by the methods of a class derived from it, which may never end.
            return kind.__getitem__(items, slice(count))
    return ()
