"""Alerts: their list, their page with what was sent of them, and the page that sends a test."""

from __future__ import annotations
