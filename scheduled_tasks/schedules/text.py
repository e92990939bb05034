"""Checks of any text before it is parsed as a schedule, and how errors quote it."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable

from scheduled_tasks.exceptions import InvalidSchedule

# The column of a task holds no more.
MAX_LENGTH = 255
MAX_QUOTED = 40
#: What word processors make of ASCII, and what Unicode's own normalization leaves.
LOOKALIKES = str.maketrans(
    {**dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2212", "-"), "\u2217": "*", "\u00d7": "*"}
)


def checked(text: object, read: Callable[[str], object]) -> str:
    """Return the text with spaces collapsed. Raise InvalidSchedule for what no schedule contains.

    The length is checked before anything else, so that hostile texts cost nothing. ``read``
    raises it for any other text that cannot be read, which the error does not propose.
    """
    if not isinstance(text, str):
        raise InvalidSchedule(f"A schedule is a text, not {type(text).__name__}.")
    if len(text) > MAX_LENGTH:
        raise InvalidSchedule(
            f"A schedule has at most {MAX_LENGTH} characters, this has {len(text)}: {quoted(text)}."
        )
    if not (text.isascii() and text.isprintable()):
        raise character_refusal(text, read)
    return " ".join(text.split())


def character_refusal(text: str, read: Callable[[str], object]) -> InvalidSchedule:
    odd = next(character for character in text if not " " <= character <= "~")
    kind = "a character outside ASCII" if odd > "~" else "a control character"
    plain = " ".join(unicodedata.normalize("NFKC", text).translate(LOOKALIKES).split())
    wrong = f"A schedule cannot contain {kind} (U+{ord(odd):04X})"
    if not (plain.isascii() and plain.isprintable() and plain):
        # With a NUL or letters of another script, there is nothing to propose.
        return InvalidSchedule(f"{wrong}: {quoted(text)}.")
    try:
        read(plain)
    except InvalidSchedule as error:
        return InvalidSchedule(f"{wrong}: {quoted(text)}. {error}")
    return InvalidSchedule(f"{wrong}: write {plain!r}.")


def quoted(text: str) -> str:
    """Return the text quoted for an error message, cut to a readable length."""
    return repr(text if len(text) <= MAX_QUOTED else f"{text[: MAX_QUOTED - 3]}...")
