"""Checks of any text before it is parsed as a schedule, and how errors quote it."""

from __future__ import annotations

from scheduled_tasks.exceptions import InvalidSchedule

# The column of a task holds no more.
MAX_LENGTH = 255
MAX_QUOTED = 40


def checked(text: object) -> str:
    """Return the text with spaces collapsed. Raise InvalidSchedule for what no schedule contains.

    The length is checked before anything else, so that hostile texts cost nothing.
    """
    if not isinstance(text, str):
        raise InvalidSchedule(f"A schedule is a text, not {type(text).__name__}.")
    if len(text) > MAX_LENGTH:
        raise InvalidSchedule(
            f"A schedule has at most {MAX_LENGTH} characters, this has {len(text)}: {quoted(text)}."
        )
    for character in text:
        if not " " <= character <= "~":
            kind = "a character outside ASCII" if character > "~" else "a control character"
            raise InvalidSchedule(
                f"A schedule cannot contain {kind} (U+{ord(character):04X}): {quoted(text)}."
            )
    return " ".join(text.split())


def quoted(text: str) -> str:
    """Return the text quoted for an error message, cut to a readable length."""
    return repr(text if len(text) <= MAX_QUOTED else f"{text[: MAX_QUOTED - 3]}...")
