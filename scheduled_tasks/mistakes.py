"""What is said about a name that is not known, and about all that is wrong with a setting."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager

from scheduled_tasks.exceptions import InvalidSettings


class Mistakes:
    """Collects what is wrong with a setting, so that all of it is reported at once."""

    def __init__(self) -> None:
        self.sentences: list[str] = []

    def add(self, sentence: str) -> None:
        """Keep a mistake."""
        self.sentences.append(sentence)

    @contextmanager
    def collected(self) -> Iterator[None]:
        """Keep the mistakes of an InvalidSettings that is raised within, and go on after it."""
        try:
            yield
        except InvalidSettings as error:
            self.sentences += error.mistakes


@contextmanager
def all_mistakes() -> Iterator[Mistakes]:
    """Collect mistakes. At the end, raise InvalidSettings with all of them, if there are any."""
    mistakes = Mistakes()
    yield mistakes
    if mistakes.sentences:
        raise InvalidSettings(*mistakes.sentences)


def unknown(where: str, noun: str, name: object, known: Collection[str]) -> InvalidSettings:
    """Return the error for a key that a dictionary of the settings must not have."""
    return InvalidSettings(f"{where} has no {noun} {name!r}: {advice(name, known)}")


def advice(name: object, known: Collection[str], *, quoted: bool = True) -> str:
    """Return which name was probably meant, or else which names there are."""
    if said := suggestion(name, known, quoted=quoted):
        return said
    return f"use {'one of ' * (len(known) > 1)}{', '.join(known)}." if known else "there are none."


def suggestion(name: object, known: Iterable[str], *, quoted: bool = True) -> str:
    """Return a question with the known name that was probably meant; "" if none is near."""
    near = nearest(name, known)
    return f"did you mean {repr(near[0]) if quoted else near[0]}?" if near else ""


def nearest(
    name: object, known: Iterable[str], *, most: int = 1, likeness: float = 0.6
) -> list[str]:
    """Return the known names that are most like another one, whatever their case."""
    spelled = {str(each).lower(): str(each) for each in known}
    near = difflib.get_close_matches(str(name).lower(), spelled, n=most, cutoff=likeness)
    return [spelled[word] for word in near]
