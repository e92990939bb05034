"""What people and code may ask for; the admin, commands and the public API call only this."""

from __future__ import annotations
