"""How fast the app is, beside its peers and a plain loop: ``python -m benchmarks --help``."""

from __future__ import annotations
