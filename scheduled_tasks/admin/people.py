"""Who does what in the admin, as it stands in the records."""

from __future__ import annotations

from django.http import HttpRequest

#: Of the columns that keep it.
LONGEST = 200


def user_of(request: HttpRequest) -> str:
    """Return the name of the user as the records keep it: ``user:ada``."""
    return f"user:{request.user.get_username()}"[:LONGEST]
