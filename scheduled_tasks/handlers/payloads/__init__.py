"""Payloads: the JSON keyword arguments of a run, checked against the handler's signature.

A function goes in, a ``PayloadSpec`` comes out. It turns JSON into the arguments of a call
(``clean``, in the process of a run and wherever a payload is stored) and builds the form in which
a person fills them in (``form``, in the web process).

Read ``payload_spec`` first, then ``signature``, ``annotations`` and ``argument_types``.
"""

from __future__ import annotations

from scheduled_tasks.handlers.payloads.payload_spec import PayloadSpec
from scheduled_tasks.handlers.payloads.signature import Parameter

__all__ = ["Parameter", "PayloadSpec"]
