"""What code says: handlers with their payloads, declared tasks, and which failures are retried."""

from __future__ import annotations
