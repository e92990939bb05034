"""How rows are locked, written in bulk and asked for: transactions and compiled queries."""

from __future__ import annotations
