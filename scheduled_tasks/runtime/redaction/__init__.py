"""Masks secrets: texts and JSON go in, and come out with ``[redacted]`` for each secret.

``names`` decides which names are secret, by the REDACT setting. ``scan`` finds the places of a text
where a secret may begin, and ``values`` where it ends. ``in_json`` walks through JSON. Everything
takes time in proportion to the length of what it is given, whatever that is. Read ``scan`` first.
"""

from __future__ import annotations

from scheduled_tasks.runtime.redaction.in_json import mask_secrets_in_json
from scheduled_tasks.runtime.redaction.scan import mask_secrets, mask_secrets_in_halves
from scheduled_tasks.runtime.redaction.values import MARK

__all__ = ["MARK", "mask_secrets", "mask_secrets_in_halves", "mask_secrets_in_json"]
