"""Runs in processes of their own, forked from a server that bounds and ends them."""

from __future__ import annotations
