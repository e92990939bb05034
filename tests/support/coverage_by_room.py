"""What the suite has covered, by module and by room of the package."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

#: What each room must reach, in percent of its lines and branches.
ENOUGH = 92


@dataclass
class Covered:
    """How many lines and branches there are, and how many were run."""

    there: int = 0
    run: int = 0

    @property
    def percent(self) -> float:
        """Return the share that was run; of nothing, that is all."""
        return 100 * self.run / self.there if self.there else 100.0

    def add(self, other: Covered) -> None:
        """Count another one in."""
        self.there += other.there
        self.run += other.run


def combined() -> dict[str, Covered]:
    """Combine the data of all processes; return what was covered by the name of each module."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "coverage.json"
        for command in (["combine", "--quiet"], ["json", "--quiet", "-o", str(report)]):
            subprocess.run([sys.executable, "-m", "coverage", *command], check=True)
        files = json.loads(report.read_text())["files"]
    return {path: covered(of_file["summary"]) for path, of_file in sorted(files.items())}


def covered(summary: dict[str, Any]) -> Covered:
    """Return what coverage says of one file."""
    return Covered(
        there=summary["num_statements"] + summary["num_branches"],
        run=summary["covered_lines"] + summary["covered_branches"],
    )


def room_of(path: str) -> str:
    """Return the first folder below the package, or the module that stands beside the folders."""
    return PurePosixPath(path).parts[1].removesuffix(".py")


def by_room(modules: dict[str, Covered]) -> dict[str, Covered]:
    """Return what was covered of each room."""
    rooms: dict[str, Covered] = defaultdict(Covered)
    for path, of_module in modules.items():
        rooms[room_of(path)].add(of_module)
    return rooms


def print_by_room(modules: dict[str, Covered]) -> int:
    """Print the figures; return 1 if a room has too little, else 0."""
    print("\n".join(lines(modules)), flush=True)
    return int(any(room.percent < ENOUGH for room in by_room(modules).values()))


def lines(modules: dict[str, Covered]) -> Iterator[str]:
    """Yield a table: the modules that are not covered whole, all rooms, and the total."""
    total = Covered()
    yield "\nCoverage by module, of those not covered whole"
    for path, of_module in modules.items():
        if of_module.run < of_module.there:
            yield f"  {of_module.percent:5.1f} %  {path}"
    yield "\nCoverage by room"
    for name, room in sorted(by_room(modules).items()):
        total.add(room)
        verdict = "" if room.percent >= ENOUGH else f"  BELOW {ENOUGH} %"
        yield f"  {room.percent:5.1f} %  {name}{verdict}"
    yield f"  {total.percent:5.1f} %  in all"
