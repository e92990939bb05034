"""Who is measured: the app, the plain loop, and the peers that are installed."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec

from django.db import connection

from benchmarks.contestants.base import Contestant


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """Where a peer's contestant is, and what ``pip install`` needs to be told to get it."""

    name: str
    module: str
    contestant: str
    requirements: str
    only_postgresql: bool = True


PEERS = (
    Peer(
        name="django-tasks-db",
        module="django_tasks_db",
        contestant="DjangoTasksDb",
        requirements="django-tasks django-tasks-db",
        only_postgresql=False,
    ),
    Peer(
        name="procrastinate",
        module="procrastinate",
        contestant="Procrastinate",
        requirements="procrastinate",
    ),
    Peer(
        name="pgqueuer",
        module="pgqueuer",
        contestant="Pgqueuer",
        requirements="pgqueuer asyncpg",
    ),
)


def find_peers() -> tuple[list[Contestant], dict[str, str]]:
    """Return the peers that can be measured here, and of the others, by name, why they cannot."""
    present, absent = [], {}
    for peer in PEERS:
        if not find_spec(peer.module):
            absent[peer.name] = f"not installed: pip install {peer.requirements}"
        elif peer.only_postgresql and connection.vendor != "postgresql":
            absent[peer.name] = "needs PostgreSQL"
        else:
            module = import_module(f"benchmarks.contestants.{peer.module}")
            present.append(getattr(module, peer.contestant)())
    return present, absent
