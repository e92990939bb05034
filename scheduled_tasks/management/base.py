"""The base of our commands: they end well when the reader of their output is gone."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

from django.core.management.base import BaseCommand, CommandError, OutputWrapper
from django.db import DatabaseError, InterfaceError

from scheduled_tasks.models.sql.transactions import AWAY, is_unusable

#: What a write fails with once a pipe has no reader, or a terminal was closed.
GONE = (errno.EPIPE, errno.EIO)
UNUSABLE = (
    "This database cannot be used. Is it the right one, did migrate run on it, and may this user "
    "use the tables?"
)
UNAVAILABLE = "The database does not answer, or cannot do this now."


class OutputCommand(BaseCommand):
    """A command whose work and exit code do not depend on who reads its output.

    What cannot be written because the reader is gone is dropped. If standard output cannot be
    written for another reason, such as a full disk, the command fails, after it has done its work.
    """

    #: Whether the process ends with this command.
    ends_process = False

    def __init__(
        self, stdout: TextIO | None = None, stderr: TextIO | None = None, **options: Any
    ) -> None:
        open_missing_streams()
        super().__init__(stdout, stderr, **options)
        self.stdout = Output(stdout or sys.stdout)
        style = self.stderr.style_func
        self.stderr = Output(stderr or sys.stderr, needed=False)
        self.stderr.style_func = style

    def run_from_argv(self, argv: list[str]) -> None:
        self.ends_process = True
        try:
            super().run_from_argv(argv)
        finally:
            # Otherwise the interpreter fails to write the rest, and exits with 120.
            for stream in (sys.stdout, sys.stderr):
                try:
                    stream.flush()
                except OSError:
                    discard(stream)

    def execute(self, *args: Any, **options: Any) -> str | None:
        with explaining_database_errors():
            output: str | None = super().execute(*args, **options)
        self.stdout.flush()
        return output


@contextmanager
def explaining_database_errors() -> Iterator[None]:
    """Raise CommandError if the database cannot be used, or not now."""
    try:
        yield
    except (DatabaseError, InterfaceError) as error:
        if not isinstance(error, AWAY) and not is_unusable(error):
            raise
        said = UNUSABLE if is_unusable(error) else UNAVAILABLE
        first_line = str(error).partition("\n")[0]
        raise CommandError(f"{said} ({first_line})") from error


class Output(OutputWrapper):
    """A stream of a command. What it cannot write is dropped, or fails a command that needs it."""

    def __init__(self, stream: Any, *, needed: bool = True) -> None:
        super().__init__(stream)
        # A terminal without UTF-8 must not fail a command that names a task in Greek.
        with suppress(AttributeError, ValueError):
            stream.reconfigure(errors="backslashreplace")
        self.needed = needed

    def write(self, *args: Any, **options: Any) -> None:  # type: ignore[override]
        with self.dropped_if_refused():
            super().write(*args, **options)

    def flush(self) -> None:
        with self.dropped_if_refused():
            super().flush()

    @contextmanager
    def dropped_if_refused(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            discard(self._out)
            if self.needed and error.errno not in GONE:
                reason = f"The output could not be written: {error.strerror}."
                raise CommandError(reason) from None


def discard(stream: Any) -> None:
    """Send what a stream still holds, and everything later, to the null device."""
    with suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)


def open_missing_streams() -> None:
    """Open the null device for each standard stream that this process was started without.

    The next file or connection would get its number, and receive what is printed.
    """
    for number in range(3):
        with suppress(OSError):
            os.fstat(number)
            continue
        os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    for number, name in {1: "stdout", 2: "stderr"}.items():
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "w", closefd=False))  # noqa: SIM115
