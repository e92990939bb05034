"""What is measured, one module each: ``SIZE``, ``SECONDS``, ``WITH_PEERS`` and ``cases``."""

from __future__ import annotations
