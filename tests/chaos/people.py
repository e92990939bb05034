"""What people ask for meanwhile, and the process that asks it, as the monkey speaks with it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support.processes import ROOT

RUN_NOW, CANCEL, REQUEUE, PAUSE = "run_now", "cancel", "requeue", "pause"
#: The file in which it stands what was asked for.
DEEDS = "deeds"


@dataclass(slots=True, kw_only=True)
class Deed:
    """Something asked for, and whether it was ``confirmed``; moments are by the journal's clock.

    ``execution`` is what was to be cancelled, or was made. A pause is for so many ``seconds``.
    """

    what: str
    begun: float
    seconds: float = 0.0
    execution: int = 0
    confirmed: bool = False
    ended: float = 0.0


class People:
    """The process of ``manage.py people``, which is told by lines what to do."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.folder = folder
        with (folder / "people.log").open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "manage.py", "people", str(folder / DEEDS)],
                cwd=ROOT,
                env={**os.environ, **environment},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def ask(self, what: str, pick: float, seconds: float) -> str:
        """Have one thing done; return what was, "" where there was nothing, or no database."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{json.dumps([what, pick, seconds])}\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def close(self) -> None:
        """Let them go home."""
        self.process.communicate()

    @property
    def deeds(self) -> list[Deed]:
        """Return all that was asked for, also what was not confirmed."""
        file = self.folder / DEEDS
        return [Deed(**json.loads(line)) for line in file.read_text().splitlines()]
