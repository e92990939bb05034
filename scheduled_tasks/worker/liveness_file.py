"""The file that tells ``python -m scheduled_tasks.probe`` whether a worker is alive."""

from __future__ import annotations

import json
import logging
import os
import threading
from contextlib import suppress
from pathlib import Path

from scheduled_tasks import probe
from scheduled_tasks.conf import app_settings
from scheduled_tasks.models.sql.transactions import MIN_LEASE
from scheduled_tasks.worker.watchdog import Watchdog, check_interval, longest_round

logger = logging.getLogger(__name__)

#: How long the end of a worker waits for the removal of its file.
MAX_REMOVAL_SECONDS = 5.0


class LivenessFileError(RuntimeError):
    """The file cannot be written, or must not be, so its worker does not start."""


class LivenessFile:
    """Says when each loop of a worker was last active.

    A thread writes it twelve times per lease. It is a thread of its own, since a file system may
    hang, which must stop neither a loop nor the watchdog. If a loop stands still, its moment grows
    old. If the whole process is frozen, nothing is written, and all moments grow old.
    """

    def __init__(self, path: str, label: str, watchdog: Watchdog) -> None:
        self.path = path
        self.label = label
        self.loops = {
            "main loop": watchdog.rounds,
            "heartbeat": watchdog.beats,
            "scan": watchdog.scans,
        }
        self._failing = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="liveness file", daemon=True)

    def start(self) -> None:
        """Write the file once, and start the thread. Raise LivenessFileError.

        The main loop must have begun a round.
        """
        try:
            # A handler may change the working directory.
            self.path = os.path.abspath(self.path)  # noqa: PTH100 -- resolves .. as well
            self._refuse_other_files()
            self.write()
        except OSError as error:
            raise LivenessFileError(
                f"The liveness file {self.path!r} cannot be written ({error.strerror}). Choose a "
                "path in a directory that this user may write to, such as /dev/shm."
            ) from None
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread, which removes the file."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(MAX_REMOVAL_SECONDS)

    def write(self) -> None:
        """Replace the file as a whole: a probe never reads half of it. Raise OSError."""
        path = Path(self.path)
        new = path.with_name(f".{path.name}.new")
        # Never opened if it exists: in a directory of all users, it may be a link to another file.
        new.unlink(missing_ok=True)
        try:
            with new.open("x", encoding="utf-8") as file:
                json.dump(self.content()._asdict(), file)
            new.replace(path)
        except OSError:
            with suppress(OSError):
                new.unlink(missing_ok=True)
            raise

    def content(self) -> probe.Liveness:
        return probe.Liveness(
            label=self.label,
            pid=os.getpid(),
            process_start=probe.process_state(os.getpid())[1],
            boot=probe.boot_id(),
            pid_namespace=probe.pid_namespace(),
            max_age=self.max_age,
            loops={
                name: rounds.active_at
                for name, rounds in self.loops.items()
                if rounds.active_at is not None
            },
        )

    @property
    def max_age(self) -> float:
        """How long a loop may stand still.

        While the worker starts, it has no heartbeat yet, and loading handlers may take longer than
        a lease. The watchdog ends a start that hangs.
        """
        if self.loops["heartbeat"].active_at is None:
            return longest_round()
        return max(app_settings.LEASE, MIN_LEASE)

    def _refuse_other_files(self) -> None:
        """Raise LivenessFileError for a file of another worker, or one that is something else."""
        path = Path(self.path)
        try:
            found = probe.read(self.path)
        except FileNotFoundError:
            return
        except ValueError:
            if path.is_file() and not path.stat().st_size:
                return
            raise LivenessFileError(
                f"{self.path!r} exists and is not a liveness file. Choose another path."
            ) from None
        own = self.content()
        if found.pid != own.pid and is_known_to_live(found, own):
            raise LivenessFileError(
                f"{self.path!r} is the liveness file of worker {found.label!r} (pid {found.pid}), "
                "which is running. Give each worker a file of its own."
            )

    def _run(self) -> None:
        while not self._stop.wait(check_interval()):
            self._try_to_write()
        with suppress(OSError):
            Path(self.path).unlink(missing_ok=True)

    def _try_to_write(self) -> None:
        try:
            self.write()
        except OSError as error:
            if not self._failing:
                logger.error("the liveness file cannot be written: %s", error)  # noqa: TRY400
            self._failing = True
        else:
            self._failing = False


def is_known_to_live(found: probe.Liveness, own: probe.Liveness) -> bool:
    """Whether the process that wrote a file certainly lives: a file may be left over."""
    comparable = found.boot == own.boot and found.pid_namespace == own.pid_namespace
    return comparable and bool(found.process_start) and not probe.has_ended(found)
