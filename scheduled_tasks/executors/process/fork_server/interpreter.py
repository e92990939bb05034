"""The command line of a fresh interpreter that becomes a fork server or one of its children."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

BOOT = (
    "import json, sys; path, arguments = map(json.loads, sys.argv[1:]); sys.path[:] = path; "
    "from scheduled_tasks.executors.process.fork_server.main import boot; boot(**arguments)"
)


def command(**arguments: Any) -> list[str]:
    """Return the command line whose interpreter calls ``main.boot`` with these arguments.

    Like a process of multiprocessing, it has the module path and the flags of this interpreter.
    """
    flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]  # noqa: SLF001
    return [sys.executable, *flags, "-c", BOOT, json.dumps(sys.path), json.dumps(arguments)]
