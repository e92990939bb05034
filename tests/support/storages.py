"""Storages that fail as real ones do."""

from __future__ import annotations

from typing import Any

from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage


class FullStorage(FileSystemStorage):
    """A storage that has no room left."""

    def _save(self, name: str, content: Any) -> str:
        raise OSError(28, "No space left on device")


class CuttingStorage(FileSystemStorage):
    """A storage that loses the end of what it is given."""

    def _save(self, name: str, content: Any) -> str:
        return super()._save(name, ContentFile(content.read()[:-1]))


class SilentStorage(FileSystemStorage):
    """A storage that claims to have saved what it has not."""

    def _save(self, name: str, content: Any) -> str:
        return name
