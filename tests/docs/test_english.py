"""Words that a native writer would not use are rare in the package, the docs and the README."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
MAX_OCCURRENCES = 25
#: Two words may be parted by the end of a line, and by the mark of a comment.
GAP = r"(?:[ \t]|\n[ \t]*(?:#:?|\*|//)?[ \t]*)"
WORDS = re.compile(
    rf"\b(so{GAP}many|so{GAP}long|of{GAP}which|whoever|anew|somebody|nobody)\b", re.IGNORECASE
)
SUFFIXES = {".py", ".md", ".html", ".js", ".txt"}
#: What a page quotes does not count: inline code, and the lines of a quotation.
QUOTED = re.compile(r"`[^`\n]+`|^>.*$", re.MULTILINE)


def files() -> Iterator[Path]:
    yield ROOT / "README.md"
    for folder in ("scheduled_tasks", "docs"):
        yield from sorted(p for p in (ROOT / folder).rglob("*") if p.suffix in SUFFIXES)


def occurrences(text: str) -> Iterator[tuple[int, str]]:
    """Yield the number of the line and the words."""
    for found in WORDS.finditer(text):
        yield text.count("\n", 0, found.start()) + 1, " ".join(found[0].split())


def found_in(path: Path) -> Iterator[str]:
    text = path.read_text()
    if path.suffix == ".md":
        text = QUOTED.sub(lambda quote: "·" * len(quote[0]), text)
    for line, words in occurrences(text):
        yield f"{path.relative_to(ROOT)}:{line}: {words}"


def test_words_that_are_not_plain_english_are_rare() -> None:
    found = [place for path in files() for place in found_in(path)]
    assert len(found) <= MAX_OCCURRENCES, "\n".join([f"{len(found)} occurrences:", *found])


def test_words_are_found_across_lines_and_in_capitals() -> None:
    text = "Nobody reads so\n    #: many lines,\nof  which none is so longer.\n"
    assert list(occurrences(text)) == [(1, "Nobody"), (1, "so #: many")]
