"""What runs log and print: caught, kept within bounds, and passed on to the project's logging."""

from __future__ import annotations
