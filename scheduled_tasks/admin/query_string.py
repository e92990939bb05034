"""What the query string of a list may say: only what the list offers, in text that can be stored.

A lookup on any other column would tell whether a secret begins with a letter, and so the secret.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from django.contrib.admin.views.main import ERROR_FLAG, SEARCH_VAR
from django.http import HttpRequest, QueryDict
from django.utils.translation import gettext as _

#: In characters. Each word is compared with several columns, and databases limit how many.
MAX_SEARCH_LENGTH = 200
MAX_VALUE_LENGTH = 500
#: Digits of a number that fits into every column.
MAX_DIGITS = 18


def offered_lookups(list_filter: Iterable[Any]) -> Iterator[str]:
    """Yield the parameters of the filters that a list shows."""
    for item in list_filter:
        match item:
            case (str() as name) | (str() as name, _):
                yield from (name, f"{name}__exact", f"{name}__isnull")
            case _:
                yield item.parameter_name


def problem_of(query: QueryDict) -> str:
    """Return why a query string cannot be used, as a sentence; "" if it can."""
    pairs = [(name, value) for name, values in query.lists() for value in values]
    if any("\0" in text for pair in pairs for text in pair):
        return _("The address of this list contains a null character, so it was not used.")
    if len(query.get(SEARCH_VAR, "")) > MAX_SEARCH_LENGTH:
        return _("Search for at most %d characters.") % MAX_SEARCH_LENGTH
    if any(len(text) > MAX_VALUE_LENGTH for pair in pairs for text in pair):
        return _("The address of this list is too long, so it was not used.")
    return ""


def can_be_searched(term: str) -> bool:
    """Whether databases accept a search term. Django checks those of lists, not of choices."""
    return "\0" not in term and len(term) <= MAX_SEARCH_LENGTH


def is_number(text: str) -> bool:
    """Whether a text is a number that the database can compare with an id."""
    # Not isdigit(), which is true of superscripts, and int() refuses those. int() would also take
    # "1_2" and " 12".
    return text.isdecimal() and len(text) <= MAX_DIGITS


def was_refused(request: HttpRequest) -> bool:
    """Whether Django has redirected to the list without its invalid parameters."""
    return list(request.GET) == [ERROR_FLAG]
