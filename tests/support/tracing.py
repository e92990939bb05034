"""What cannot be traced: coverage leaves it out, every other run makes it."""

from __future__ import annotations

import os
import sys

import pytest

#: For tests in which an exception waits for a thread that is blocked.
untraced = pytest.mark.skipif(
    "COVERAGE_RUN" in os.environ and sys.version_info < (3, 12),
    reason="under a tracer, CPython 3.11 loops while an exception waits for a blocked thread",
)
