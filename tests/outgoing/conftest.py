"""What tests of outgoing requests share: names, and which addresses are allowed."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest

Allow = Callable[..., None]


@pytest.fixture
def allow(settings: Any) -> Allow:
    """Return a function that sets OUTGOING_ALLOW."""

    def set_allowed(*entries: str) -> None:
        settings.SCHEDULED_TASKS = {"OUTGOING_ALLOW": entries}

    return set_allowed


class NameServer:
    """Answers each lookup of a name with the next of its answers, and later with the last."""

    def __init__(self) -> None:
        self.answers: dict[str, list[list[str]]] = {}
        self.lookups: list[str] = []

    def add(self, name: str, *answers: list[str]) -> None:
        self.answers[name] = list(answers)

    def getaddrinfo(self, host: str, *arguments: Any, **options: Any) -> list[Any]:
        self.lookups.append(host)
        answers = self.answers.get(host)
        if answers is None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        addresses = answers.pop(0) if len(answers) > 1 else answers[0]
        return [(None, None, None, "", (address, 0)) for address in addresses]


@pytest.fixture
def name_server(monkeypatch: pytest.MonkeyPatch) -> NameServer:
    """Resolve names by this server only, wherever in Python they are looked up."""
    server = NameServer()
    monkeypatch.setattr(socket, "getaddrinfo", server.getaddrinfo)
    return server
