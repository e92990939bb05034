"""The database of the benchmarks: SQLite, a PostgreSQL from a wheel, or the one that is given."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.servers import given, postgresql, sqlite

DATABASES = {"sqlite": sqlite, "postgresql": postgresql}


@contextmanager
def prepared(kind: str | None) -> Iterator[None]:
    """Make a database with all tables, set Django up on it, and remove it at the end.

    ``kind`` is a key of DATABASES; None takes the one that DATABASE_URL names, whose own data stay
    as they are, or else PostgreSQL.
    """
    if kind is None and "DATABASE_URL" in os.environ:
        database = given
    else:
        database = DATABASES[kind or "postgresql"]
    with database() as url:
        os.environ |= {"DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "benchmarks.settings"}
        import django  # noqa: PLC0415 -- the settings read what was just set

        django.setup()
        from django.db import connection  # noqa: PLC0415

        own = connection.settings_dict["NAME"]
        connection.creation.create_test_db(verbosity=0, autoclobber=True, serialize=False)
        try:
            yield
        finally:
            connection.creation.destroy_test_db(own, verbosity=0)
