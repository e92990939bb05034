"""Run the whole suite on every database that it is meant for: ``python -m tests``.

SQLite comes with Python and PostgreSQL from a wheel, so there is nothing to set up. DATABASE_URL
points the suite at one database of your own instead. What asks for no database runs beside the
first only. Arguments go on to pytest.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time

from tests.support.servers import given, postgresql, sqlite

#: What pytest exits with when all was deselected.
NOTHING_TO_RUN = 5


def main(arguments: list[str]) -> int:
    """Run pytest once for each database, and say at the end what ran on what."""
    databases = {"SQLite": sqlite, "PostgreSQL": postgresql}
    if "DATABASE_URL" in os.environ:
        databases = {"DATABASE_URL": given}
    lines, worst, selected = [], 0, arguments
    for name, database in databases.items():
        print(f"\n━━━ {name} ━━━", flush=True)
        begun = time.monotonic()
        with database() as url:
            done = subprocess.run(
                [sys.executable, "-m", "pytest", *selected],
                env={**os.environ, "DATABASE_URL": url},
                check=False,
            )
        nothing = selected != arguments and done.returncode == NOTHING_TO_RUN
        code = 0 if nothing else done.returncode
        if "-m" not in arguments:
            selected = [*arguments, "-m", "not without_database"]
        worst = worst or code
        verdict = f"FAILED (exit {code})" if code else "passed"
        lines.append(f"  {name:<12} {verdict} in {time.monotonic() - begun:.0f} s")
    print("\nThe suite ran on\n" + "\n".join(lines), flush=True)
    return worst


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
