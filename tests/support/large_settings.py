"""Settings of a project that takes much memory, which all its runs share."""

from __future__ import annotations

import os

from tests.settings import *  # noqa: F403

HELD = os.urandom(200 << 20)
