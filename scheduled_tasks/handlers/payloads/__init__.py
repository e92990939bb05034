"""Payloads: the JSON keyword arguments of a run, checked by a form made from the handler."""

from __future__ import annotations

from scheduled_tasks.handlers.payloads.payload_spec import PayloadSpec
from scheduled_tasks.handlers.payloads.signature import Parameter

__all__ = ["Parameter", "PayloadSpec"]
