"""Loads Django and all handlers, for a forkserver that forks processes which have them."""

from __future__ import annotations

import django

django.setup()
