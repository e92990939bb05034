"""What a handler returns that has done its work in part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Partial:
    """Return it from a handler that did some of its work: ``result`` is kept, and why not all."""

    result: Any = None
    reason: str = ""
