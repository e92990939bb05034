"""A TCP proxy between a worker and its database that can stop forwarding, as broken networks do."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from pathlib import Path

CHUNK = 65_536


class Proxy:
    """Listens on a free port of the loopback, and forwards to a Unix socket, or to a host and port.

    While it is held, connections stay open, new ones come about, and nothing gets through; what
    was sent meanwhile arrives when it is let go.
    """

    def __init__(self, target: Path | tuple[str, int]) -> None:
        self.target = target
        self._flowing = threading.Event()
        self._flowing.set()
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._changing = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._accept, name="proxy", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """Return where it listens."""
        return int(self._listener.getsockname()[1])

    def hold(self) -> None:
        """Let nothing through any more."""
        self._flowing.clear()

    def let_go(self) -> None:
        """Let everything through again, first what has gathered."""
        self._flowing.set()

    def drop(self) -> int:
        """End all connections; return how many."""
        with self._changing:
            pairs = list(self._pairs)
        for pair in pairs:
            end(pair)
        return len(pairs)

    def close(self) -> None:
        """End everything, and wait until it has ended."""
        self.let_go()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        self.drop()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=[client], daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        by_path = isinstance(self.target, Path)
        server = socket.socket(socket.AF_UNIX if by_path else socket.AF_INET)
        pair = (client, server)
        with client, server:
            try:
                server.connect(str(self.target) if by_path else self.target)
            except OSError:
                return
            with self._changing:
                self._pairs.add(pair)
            back = threading.Thread(target=self._pump, args=[server, client], daemon=True)
            back.start()
            self._pump(client, server)
            back.join()
            with self._changing:
                self._pairs.discard(pair)

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(CHUNK):
                self._flowing.wait()
                sink.sendall(data)
        # The end of one side is news for the other only once anything gets through.
        self._flowing.wait()
        end((source, sink))


def end(pair: tuple[socket.socket, socket.socket]) -> None:
    """Let both sides know that it is over."""
    for side in pair:
        with suppress(OSError):
            side.shutdown(socket.SHUT_RDWR)
