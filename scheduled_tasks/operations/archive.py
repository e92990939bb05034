"""Writes rows to a storage before they are deleted: compressed JSON lines, read back to be sure."""

from __future__ import annotations

import gzip
import hashlib
import json
import tempfile
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import IO, Any

from django.core.files import File
from django.core.files.storage import Storage, storages
from django.db import models

from scheduled_tasks.exceptions import ArchiveFailed, InvalidSettings
from scheduled_tasks.models import Attempt, Execution, ExecutionLog
from scheduled_tasks.models.sql.any_of import AnyOf
from scheduled_tasks.models.sql.windows import chunks
from scheduled_tasks.operations.records import plain
from scheduled_tasks.runtime.redaction import mask_secrets, mask_secrets_in_json

#: The folder in the storage.
FOLDER = "scheduled-tasks"
#: Executions, and log lines, whose rows are in memory at a time.
EXECUTIONS_AT_ONCE, LINES_AT_ONCE = 100, 1_000
#: Files up to this size stay in memory.
MAX_BYTES_IN_MEMORY = 4 << 20
READ_BYTES = 1 << 20
MAX_SHOWN_REASON = 200


class Archive:
    """A storage in which each file holds what one step of the pruning is about to delete.

    The name of a file has the date, the ids and a checksum of what is in it. So no file replaces
    another one, and what a crash has left undeleted is written again into the same file if it is
    the same.
    """

    def __init__(self, alias: str, *, using: str) -> None:
        self.alias = alias
        self.using = using
        self.storage = storage_of(alias)

    def save_executions(self, ids: Collection[int], now: datetime) -> int:
        """Write executions with attempts and log lines; return the bytes written.

        Raise ArchiveFailed unless the storage has all of it.
        """
        return self._save("executions", ids, now, executions_with_children(ids, self.using))

    def save_log_lines(self, ids: Collection[int], now: datetime) -> int:
        """Write log lines; return the bytes written. Raise ArchiveFailed likewise."""
        return self._save("log-lines", ids, now, log_lines(ids, self.using))

    def _save(
        self, kind: str, ids: Collection[int], now: datetime, rows: Iterable[models.Model]
    ) -> int:
        with tempfile.SpooledTemporaryFile(MAX_BYTES_IN_MEMORY) as file:
            with failing("The temporary directory", OSError):
                lines = write_lines(file, rows)
                file.seek(0)
                checksum, size = checksum_of(file), file.tell()
            name = f"{FOLDER}/{now:%Y-%m-%d}/{kind}-{min(ids)}-{max(ids)}-{checksum[:12]}.jsonl.gz"
            with failing(f"The storage {self.alias!r}", Exception):
                if not (self.storage.exists(name) and self._holds(name, checksum, lines)):
                    file.seek(0)
                    name = self.storage.save(name, File(file, name))
                    if not self._holds(name, checksum, lines):
                        raise ArchiveFailed(f"{name} could not be read back as it was written.")
        return size

    def _holds(self, name: str, checksum: str, lines: int) -> bool:
        """Whether the storage returns what was written."""
        with self.storage.open(name, "rb") as saved:
            if checksum_of(saved) != checksum:
                return False
        with self.storage.open(name, "rb") as saved:
            return count_lines(saved) == lines


@contextmanager
def failing(what: str, kind: type[Exception]) -> Iterator[None]:
    """Raise ArchiveFailed, with one sentence, in place of these exceptions."""
    try:
        yield
    except kind as error:
        reason = (str(error) or repr(error)).partition("\n")[0][:MAX_SHOWN_REASON]
        said = reason.rstrip(".")
        raise ArchiveFailed(f"{what} failed, so nothing more was deleted: {said}.") from error


def storage_of(alias: str) -> Storage:
    """Return a storage of the project. Raise InvalidSettings if it cannot be made."""
    try:
        return storages[alias]
    except Exception as error:
        # A name that STORAGES does not have, or whatever the class of the storage raises.
        raise InvalidSettings(f"SCHEDULED_TASKS['ARCHIVE_STORAGE']: {error}") from error


def executions_with_children(ids: Collection[int], using: str) -> Iterator[models.Model]:
    """Yield executions, each chunk of them followed by its attempts and its log lines."""
    for chunk in chunks(sorted(ids), EXECUTIONS_AT_ONCE):
        yield from rows_of(Execution, "pk", chunk, using)
        yield from rows_of(Attempt, "execution", chunk, using)
        lines = ExecutionLog.objects.using(using).filter(AnyOf("execution", chunk))
        yield from log_lines(list(lines.values_list("pk", flat=True)), using)


def log_lines(ids: Collection[int], using: str) -> Iterator[models.Model]:
    """Yield log lines by ascending id."""
    for chunk in chunks(sorted(ids), LINES_AT_ONCE):
        yield from rows_of(ExecutionLog, "pk", chunk, using)


def rows_of(
    model: type[models.Model], name: str, ids: Collection[int], using: str
) -> models.QuerySet[models.Model]:
    """Return the rows whose column has one of these ids, by ascending id."""
    everything = model._default_manager.using(using)  # noqa: SLF001
    return everything.filter(AnyOf(name, ids)).order_by("pk")


def write_lines(file: IO[bytes], rows: Iterable[models.Model]) -> int:
    """Write rows as compressed JSON lines; return the number of lines."""
    lines = 0
    # Without a time and a name inside, the same rows give the same bytes.
    with gzip.GzipFile(filename="", fileobj=file, mode="wb", mtime=0) as compressed:
        for row in rows:
            line = json.dumps(record(row), ensure_ascii=False, separators=(",", ":"))
            # SQLite keeps half a surrogate in JSON. Replaced like this it is JSON's own escape.
            compressed.write(f"{line}\n".encode(errors="backslashreplace"))
            lines += 1
    return lines


def record(row: models.Model) -> dict[str, Any]:
    """Return all columns of a row by name, with its model; secrets are masked, as everywhere."""
    fields = row._meta.concrete_fields  # noqa: SLF001
    return {
        "model": row._meta.model_name,  # noqa: SLF001
        **{field.attname: masked(field, getattr(row, field.attname)) for field in fields},
    }


def masked(field: Any, value: Any) -> Any:
    match field:
        case models.JSONField():
            return mask_secrets_in_json(value)
        case models.TextField() if value is not None:
            return mask_secrets(value)
    return plain(value)


def checksum_of(file: Any) -> str:
    """Read a file to its end; return the SHA-256 of what was read."""
    digest = hashlib.sha256()
    while block := file.read(READ_BYTES):
        digest.update(block)
    return digest.hexdigest()


def count_lines(file: Any) -> int:
    """Return the number of lines of a compressed file."""
    with gzip.GzipFile(fileobj=file, mode="rb") as lines:
        return sum(block.count(b"\n") for block in iter(lambda: lines.read(READ_BYTES), b""))
