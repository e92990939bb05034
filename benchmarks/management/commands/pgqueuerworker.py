"""Run a worker of pgqueuer."""

from __future__ import annotations

import asyncio
from typing import Any

from django.core.management.base import BaseCommand

from benchmarks.contestants.pgqueuer import work


class Command(BaseCommand):
    """Run the jobs of pgqueuer, for ever."""

    help = __doc__

    def handle(self, *args: Any, **options: Any) -> None:
        """Work."""
        asyncio.run(work())
