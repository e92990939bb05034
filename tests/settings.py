"""Settings of the test suite: the example project's, on the database named by DATABASE_URL."""

from __future__ import annotations

from example_project.settings import *  # noqa: F403
