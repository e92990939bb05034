"""The command line of a fresh interpreter that becomes a fork server or one of its children."""

from __future__ import annotations

import json
import sys
from typing import Any

from scheduled_tasks.runtime.cpython_internals import interpreter_flags

BOOT = (
    "import json, sys; path, arguments = map(json.loads, sys.argv[1:]); sys.path[:] = path; "
    "from scheduled_tasks.executors.process.fork_server.main import boot; boot(**arguments)"
)


def command(**arguments: Any) -> list[str]:
    """Return the command line whose interpreter calls ``main.boot`` with these arguments.

    Like a process of multiprocessing, it has the module path and the flags of this interpreter.
    """
    return [
        sys.executable,
        *interpreter_flags(),
        "-c",
        BOOT,
        json.dumps(sys.path),
        json.dumps(arguments),
    ]
