"""What a handler meets while it runs, and the plain values that go in and come out of a run."""

from __future__ import annotations
