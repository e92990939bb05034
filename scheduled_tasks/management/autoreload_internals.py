"""What we use of Django's autoreloader, which is not documented.

Tested on Django 5.2 to 6.1; see tests/commands/test_reload.py.
"""

from __future__ import annotations

import sysconfig
from pathlib import Path

from django.apps import apps
from django.utils.autoreload import StatReloader, autoreload_started, get_child_arguments

__all__ = ["CodeFiles", "get_child_arguments"]


class CodeFiles:
    """The files whose changes restart a process, as ``runserver`` has them.

    In the project's own apps also those that no module has imported yet.
    """

    def __init__(self) -> None:
        self._reloader = StatReloader()
        installed = Path(sysconfig.get_path("purelib"))
        for app in apps.get_app_configs():
            if not Path(app.path).is_relative_to(installed):
                self._reloader.watch_dir(app.path, "**/*.py")
        # Directories of templates and translations are added by receivers.
        autoreload_started.send(sender=self._reloader)

    def times(self) -> dict[Path, float]:
        """Return when each file was last changed."""
        return dict(self._reloader.snapshot_files())
